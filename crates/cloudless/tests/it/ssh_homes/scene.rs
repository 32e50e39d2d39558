//! autossh as home in the test bed, by the command that `relay allow-ssh` prints.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use cloudless_testbed::{Bed as Network, Conditions, Family, RELAY, missing};
use rustix::process::Signal;

use super::{Bed, HOSTNAME, Place, Running, web_server};
use crate::client::Client;
use crate::corpus;
use crate::network::name_server::{NAME, NameServer};
use crate::network::outages::within;
use crate::network::prober::Prober;
use crate::ssh::sshd::Machine;

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// Wherever the relay's machine is.
const ANYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];

/// A web server and autossh at home behind a router, a relay that home knows by a name, and a phone.
pub(super) struct Scene {
    // Processes end before their machines.
    autossh: Running,
    _nginx: Running,
    pub(super) bed: Bed,
    pub(super) dns: NameServer,
    family: Family,
    pub(super) network: Network,
}

impl Scene {
    /// Returns once the relay has the name.
    pub(super) fn start(family: Family) -> Option<Self> {
        if let Some(what) = missing() {
            corpus::missing(&what);
            return None;
        }
        if !web_server::is_installed() {
            return None;
        }
        let network = Network::new(Conditions::default());
        let dns = NameServer::start(&network, RELAY[family as usize]);
        let bed = Bed::start_at(Place {
            relay: Machine::of(&network.relay),
            home: Machine::of(&network.home),
            host: NAME.to_owned(),
            address: ANYWHERE[family as usize],
            ports: [443, 80, 2222],
        })?;
        let allowed = bed.allow("id");
        let known_hosts = allowed["known_hosts"][0].as_str().unwrap();
        assert!(known_hosts.starts_with(&format!("[{NAME}]:2222 ")));
        let nginx = web_server::start(&bed, "127.0.0.1:443".parse().unwrap());
        let mut autossh = bed.ssh_by("autossh", "id");
        let printed = allowed["autossh"].as_str().unwrap();
        autossh
            .args(options(printed))
            .args(["-N", "-R", &format!("{HOSTNAME}:443:127.0.0.1:443")])
            .arg(format!("relay@{NAME}"));
        let autossh = Running::start(&mut autossh, &bed.path("autossh.log"));
        bed.is_online(true);
        Some(Self {
            autossh,
            _nginx: nginx,
            bed,
            dns,
            family,
            network,
        })
    }

    /// A phone for which all is well.
    pub(super) fn prober(&self) -> Prober {
        self.prober_at(RELAY).calm()
    }

    /// The same that only begins.
    pub(super) fn prober_at(&self, relay: [IpAddr; 2]) -> Prober {
        let address = SocketAddr::from((relay[self.family as usize], 443));
        let client = Client::through_relay(address, &self.bed.path("web.pem"), "any");
        Prober::start(&self.network.phone, client)
    }

    /// Nothing gets through for so long.
    pub(super) fn black_hole(&self, prober: &Prober, duration: Duration) {
        self.network.internet.set(Conditions::BLACK_HOLE);
        let cut = Instant::now();
        assert_eq!(prober.go_on_for(duration, cut), 0);
        self.network.internet.set(Conditions::default());
    }

    /// ssh stands still for a while, as on a suspended machine as far as processes can tell. The router
    /// forgets its connection, as it does in an hour.
    pub(super) fn suspend(&self, prober: &Prober) {
        self.autossh.signal_all(Signal::STOP);
        let asleep = Instant::now();
        self.network.forget_mappings();
        assert_eq!(prober.go_on_for(13 * SECOND, asleep), 0);
        self.autossh.signal_all(Signal::CONT);
    }

    #[track_caller]
    pub(super) fn within(&self, promise: Duration, event: &str, took: Duration) {
        within(
            promise,
            &format!("autossh as home, {event}"),
            self.family,
            took,
        );
    }
}

/// Those of a command that `ssh` knows by names, with `-o` before each.
fn options(command: &str) -> Vec<&str> {
    let words: Vec<_> = command.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == "-o");
    let options: Vec<_> = pairs.flatten().copied().collect();
    assert!(
        options
            .iter()
            .any(|it| it.starts_with("ServerAliveInterval=")),
        "{command}"
    );
    options
}
