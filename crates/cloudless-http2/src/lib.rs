//! The HTTP/2 (RFC 9113) of a tunnel: one task moves the bytes of all streams.
//!
//! A tunnel has a stream for each visitor, and at the other end of most streams is a socket. So the
//! task that drives a connection also reads from those sockets, straight into the frames that it
//! sends ([`SendStream::send_from`]), and writes to them what it receives, straight from where it was
//! received ([`RecvStream::deliver_to`]): for bytes that move no other task wakes, and all that is
//! ready at the same moment leaves in one write. Streams can as well be written and read by whoever
//! holds their handles.
//!
//! [`client`] and [`server`] are the two ends of a connection. Neither does anything but while its
//! connection is polled.
//!
//! This is the part of HTTP/2 that a tunnel needs: no server push, no priorities, no dynamic table
//! for what is sent. What a peer may send is all understood. Whatever waits for a peer has a bound:
//! what it sends waits in its window, what it is sent waits in the socket or the caller, and a peer
//! that has more answered than it reads loses its connection.

pub mod client;
mod config;
mod driver;
mod error;
mod frame;
mod head;
mod hpack;
mod ping;
mod readiness;
mod receive;
mod recv_stream;
mod send_stream;
pub mod server;
mod settings;
mod sink;
mod socket;
mod source;
mod state;
mod stream;
mod transmit;
mod waiting;

pub use config::Config;
pub use error::{Error, Reason, Side};
pub use ping::PingPong;
pub use recv_stream::{Delivery, DeliveryError, RecvStream};
pub use send_stream::{SendFrom, SendFromError, SendStream};
pub use sink::Observer;

#[cfg(test)]
mod tests;
