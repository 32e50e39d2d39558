//! Both ends of a connection in one process, ours or h2's, and peers that write their frames by hand.

mod abandoned;
mod ended;
mod flow;
mod frames;
mod h2_peers;
mod heads;
mod held;
mod leaving;
mod misbehaved;
mod peers;
mod pieces;
mod sockets;
mod wakes;
mod writes;
