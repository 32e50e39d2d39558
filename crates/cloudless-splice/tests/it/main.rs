//! Both directions of connections between real sockets, forwarded.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ends;
mod schedules;
mod support;
