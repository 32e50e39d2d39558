//! Both ends of a connection in one process, ours or tokio-rustls' own.

mod calls;
mod close;
mod dribble;
mod keys;
mod misbehaved;
mod peers;
mod shake;
mod transfer;
