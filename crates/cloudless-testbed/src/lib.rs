//! Machines for tests and benchmarks, made of network namespaces on one Linux.
//!
//! [`Bed`] is the whole scene, over IPv4 and IPv6 at once: phone ─ relay ─ internet ─ router with
//! NAT and a stateful firewall ─ home. The internet is a [`Link`], whose [`Conditions`] (delay, loss,
//! reordering, rate) are made in user space, because many kernels come without netem. Each
//! [`Namespace`] runs programs ([`Namespace::command`]) and parts of the test itself
//! ([`Namespace::enter`], [`Namespace::spawn`]). Whoever needs another scene lays [`Namespace`]s,
//! [`cable`]s and [`Link`]s by hand.
//!
//! ```no_run
//! use std::time::Duration;
//! use cloudless_testbed::{Bed, Conditions, missing};
//!
//! assert_eq!(missing(), None);
//! // 40 ms there and back, and 1 % loss each way.
//! let conditions = Conditions { delay: Duration::from_millis(20), loss: 0.01, ..Conditions::default() };
//! let bed = Bed::new(conditions);
//! let relay = bed.relay.command("cloudless");
//! let listener = bed.relay.enter(|| std::net::TcpListener::bind("203.0.113.1:443")).unwrap();
//! let home = bed.home.spawn(|| std::net::TcpStream::connect("203.0.113.1:443"));
//! bed.internet.set(Conditions::BLACK_HOLE);
//! ```
//!
//! It needs root and Debian's iproute2, nftables and conntrack; [`missing`] says what is not there.
//! Every name carries the number of the process that made it, so that tests run beside each other.
//! All is removed when dropped, after a panic too; what a killed process left goes when the next
//! namespace is made. A mistake in the scene is a mistake of the test, so everything here panics
//! with what the system said.

#![cfg(target_os = "linux")]

mod bed;
mod cable;
mod line;
mod link;
mod namespace;
mod tool;

pub use bed::{Bed, Family, HOME_LAN_V6, PHONE, RELAY, RELAY_MOVED};
pub use cable::cable;
pub use line::Conditions;
pub use link::Link;
pub use namespace::Namespace;

/// What this machine lacks for a namespace; `None` when all is there. Ask before anything is made.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("root, for network namespaces".to_owned());
    }
    let programs = [
        ("iproute2", "ip", "-V"),
        ("nftables", "nft", "--version"),
        ("conntrack", "conntrack", "--version"),
    ];
    let absent = programs
        .iter()
        .find(|(_, program, flag)| !tool::succeeds(program, &[flag]))
        .map(|(package, ..)| format!("the package {package}"));
    absent.or_else(|| {
        let has_tun = std::path::Path::new("/dev/net/tun").exists();
        (!has_tun).then(|| "/dev/net/tun".to_owned())
    })
}
