//! An sshd as the relay in the test bed: phone, router, server and home on machines of their own, as for
//! a relay of cloudless.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use cloudless_testbed::{Bed, Conditions, Family, RELAY, missing};
use rustix::process::{Pid, Signal, kill_process};

use crate::corpus;
use crate::network::name_server::{NAME, NameServer};
use crate::network::outages::within;
use crate::network::prober::Prober;
use crate::ssh::home::Home;
use crate::ssh::sshd::{Machine, Sshd};

/// Wherever sshd's host is.
pub(super) const ANYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];
pub(super) const SECOND: Duration = Duration::from_secs(1);
/// As docs/sshd.md advises.
pub(super) const ADVISED: &str =
    "StreamLocalBindUnlink yes\nClientAliveInterval 5\nClientAliveCountMax 2\n";

/// An sshd, a home behind a router, and a phone.
pub(super) struct Scene {
    // Processes end before their machines.
    front: Option<Front>,
    pub(super) home: Home,
    pub(super) sshd: Sshd,
    pub(super) dns: NameServer,
    family: Family,
    pub(super) bed: Bed,
}

/// HAProxy before a Unix socket.
struct Front(Child);

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Scene {
    /// sshd listens for visitors itself.
    pub(super) fn start(family: Family, settings: &str) -> Option<Self> {
        Self::start_at(family, settings, |_| "*:443".to_owned())
    }

    /// It listens at a Unix socket, with HAProxy in front.
    pub(super) fn start_with_a_socket(family: Family) -> Option<Self> {
        let program = "/usr/sbin/haproxy";
        if !Path::new(program).exists() {
            corpus::missing(program);
            return None;
        }
        let socket = |sshd: &Sshd| format!("unix:{}", sshd.path("home.sock").display());
        let mut scene = Self::start_at(family, ADVISED, socket)?;
        let config = scene.sshd.path("haproxy.cfg");
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             listen https\n  bind [::]:443 v4v6\n  server home unix@{}\n",
            scene.sshd.path("home.sock").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Machine::of(&scene.bed.relay).command(program);
        command.arg("-db").arg("-f").arg(&config);
        scene.front = Some(Front(command.spawn().unwrap()));
        Some(scene)
    }

    fn start_at(family: Family, settings: &str, forward: impl Fn(&Sshd) -> String) -> Option<Self> {
        if let Some(what) = missing() {
            corpus::missing(&what);
            return None;
        }
        let bed = Bed::new(Conditions::default());
        let dns = NameServer::start(&bed, RELAY[family as usize]);
        let address = SocketAddr::from((ANYWHERE[family as usize], 22));
        let sshd = Sshd::start_at(&Machine::of(&bed.relay), settings, || address)?;
        let forward = forward(&sshd);
        let mut home = Home::set_up_at(&Machine::of(&bed.home), &sshd, NAME, &forward);
        home.start();
        home.await_tunnel();
        Some(Self {
            front: None,
            home,
            sshd,
            dns,
            family,
            bed,
        })
    }

    /// A phone for which all is well.
    pub(super) fn prober(&self) -> Prober {
        self.first_try().calm()
    }

    /// The same that only begins.
    pub(super) fn first_try(&self) -> Prober {
        self.prober_at(RELAY)
    }

    pub(super) fn prober_at(&self, addresses: [IpAddr; 2]) -> Prober {
        let address = SocketAddr::from((addresses[self.family as usize], 443));
        Prober::start(&self.bed.phone, self.home.phone(address))
    }

    /// Home stands still for a while, as a suspended machine does as far as processes can
    /// tell. The router forgets the session, as it does in an hour.
    pub(super) fn suspend(&self, prober: &Prober) {
        let signal = |signal| {
            let pid = i32::try_from(self.home.role().pid()).ok();
            kill_process(pid.and_then(Pid::from_raw).unwrap(), signal).unwrap();
        };
        signal(Signal::STOP);
        let asleep = Instant::now();
        self.bed.forget_mappings();
        assert_eq!(prober.go_on_for(13 * SECOND, asleep), 0);
        signal(Signal::CONT);
    }

    /// Nothing gets through for so long.
    pub(super) fn black_hole(&self, prober: &Prober, duration: Duration) {
        self.bed.internet.set(Conditions::BLACK_HOLE);
        let cut = Instant::now();
        assert_eq!(prober.go_on_for(duration, cut), 0);
        self.bed.internet.set(Conditions::default());
    }

    #[track_caller]
    pub(super) fn within(&self, promise: Duration, event: &str, took: Duration) {
        within(
            promise,
            &format!("sshd as the relay, {event}"),
            self.family,
            took,
        );
    }
}
