//! The scene: phone, relay, router and home.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cable::cable;
use crate::line::Conditions;
use crate::link::Link;
use crate::namespace::Namespace;

/// The relay's addresses, the same for phone and home.
pub const RELAY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1)),
];
/// The relay's addresses after [`Bed::move_relay`].
pub const RELAY_MOVED: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2)),
];
/// The phone's addresses.
pub const PHONE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2)),
];
/// Home's IPv6 address at first. Its IPv4 address hides behind the router's.
pub const HOME_LAN_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 4, 0, 0, 0, 0, 2));

/// The router: NAT for IPv4, and for both families a firewall that lets in what home asked for, does
/// not even refuse anything else, and forgets nothing but what it is made to.
const ROUTER: &str = "
table inet firewall {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state invalid drop
        ct state established,related accept
        iifname { wifi, tether } accept
    }
    chain input {
        type filter hook input priority filter
        iifname internet ct state established,related accept
        iifname internet drop
    }
}
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname internet masquerade
    }
}
";

/// What is sent to the relay's first addresses is not even refused.
const LOST: &str = "
table inet lost {
    chain prerouting {
        type filter hook prerouting priority raw
        ip daddr 203.0.113.1 drop
        ip6 daddr 2001:db8:1::1 drop
    }
}
";

const SILENCE: &str = "
table inet silence {
    chain input {
        type filter hook input priority raw
        iifname != lo drop
    }
    chain output {
        type filter hook output priority raw
        oifname != lo drop
    }
}
";

/// An index into the pairs of addresses here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    V4 = 0,
    V6 = 1,
}

/// Phone ─ relay ─ internet ─ router ─ home. Only the relay is reachable: neither phone nor relay
/// reach home, and the relay forwards nothing.
#[derive(Debug)]
pub struct Bed {
    /// A phone, next to the relay.
    pub phone: Namespace,
    /// The relay, with its addresses of [`RELAY`].
    pub relay: Namespace,
    /// The router between home and the internet, with NAT and a stateful firewall.
    pub router: Namespace,
    /// Home, on the router's Wi-Fi.
    pub home: Namespace,
    /// Between relay (the first end) and router.
    pub internet: Link,
}

impl Bed {
    /// Builds the scene, with these conditions in each direction between relay and router.
    ///
    /// # Panics
    /// When the system refuses. Ask [`missing`](crate::missing) first.
    pub fn new(internet: Conditions) -> Self {
        let [phone, relay, router, home] = ["phone", "relay", "router", "home"].map(Namespace::new);
        for address in RELAY {
            relay.add_address("lo", &host(address));
        }

        cable(&phone, "relay", &relay, "phone");
        for address in ["198.51.100.1/24", "2001:db8:2::1/64"] {
            relay.add_address("phone", address);
        }
        for (address, gateway) in [
            ("198.51.100.2/24", "198.51.100.1"),
            ("2001:db8:2::2/64", "2001:db8:2::1"),
        ] {
            phone.add_address("relay", address);
            phone.add_default_route(gateway, "relay");
        }

        let link = Link::new((&relay, "internet"), (&router, "internet"), internet, 1);
        for address in ["192.0.2.1/24", "2001:db8:3::1/64"] {
            relay.add_address("internet", address);
        }
        for (address, gateway) in [
            ("192.0.2.2/24", "192.0.2.1"),
            ("2001:db8:3::2/64", "2001:db8:3::1"),
        ] {
            router.add_address("internet", address);
            router.add_default_route(gateway, "internet");
        }
        for network in ["2001:db8:4::/64", "2001:db8:5::/64"] {
            relay.ip(&["route", "add", network, "via", "2001:db8:3::2"]);
        }

        router.set_parameter("ipv4/ip_forward", "1");
        router.set_parameter("ipv6/conf/all/forwarding", "1");
        load(&router, ROUTER);
        // The middle of a connection that it does not know is no beginning of one.
        router.set_parameter("netfilter/nf_conntrack_tcp_loose", "0");
        for (name, v4, v6) in [
            ("wifi", "192.168.1.1/24", "2001:db8:4::1/64"),
            ("tether", "192.168.2.1/24", "2001:db8:5::1/64"),
        ] {
            cable(&router, name, &home, name);
            router.add_address(name, v4);
            router.add_address(name, v6);
        }
        let bed = Self {
            phone,
            relay,
            router,
            home,
            internet: link,
        };
        bed.attach_home("wifi", 1, 4);
        bed
    }

    fn attach_home(&self, link: &str, v4: u8, v6: u8) {
        self.home.add_address(link, &format!("192.168.{v4}.2/24"));
        self.home.add_address(link, &format!("2001:db8:{v6}::2/64"));
        self.home
            .add_default_route(&format!("192.168.{v4}.1"), link);
        self.home
            .add_default_route(&format!("2001:db8:{v6}::1"), link);
    }

    /// Home leaves the Wi-Fi for another network, with other addresses.
    ///
    /// # Panics
    /// When the system refuses, or when it has left already.
    pub fn move_home(&self) {
        self.home.ip(&["link", "delete", "wifi"]);
        self.attach_home("tether", 2, 5);
    }

    /// The relay's host gets the addresses [`RELAY_MOVED`] for those it had, which answer no more.
    ///
    /// # Panics
    /// When the system refuses, or when it has moved already.
    pub fn move_relay(&self) {
        self.lose_relay();
        self.add_relay_addresses();
        for old in RELAY {
            self.relay
                .ip(&["address", "delete", &host(old), "dev", "lo"]);
        }
    }

    /// The relay's host gets the addresses [`RELAY_MOVED`] beside those it has.
    ///
    /// # Panics
    /// When the system refuses, or when it has them already.
    pub fn add_relay_addresses(&self) {
        for new in RELAY_MOVED {
            self.relay.add_address("lo", &host(new));
        }
    }

    /// What is sent to the addresses [`RELAY`] vanishes from now on.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn lose_relay(&self) {
        load(&self.relay, LOST);
    }

    /// Undoes [`Bed::lose_relay`].
    ///
    /// # Panics
    /// When the system refuses, as it does when nothing is lost.
    pub fn find_relay(&self) {
        self.relay.run("nft", &["delete", "table", "inet", "lost"]);
    }

    /// The relay's host neither sends nor hears anything.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn silence_relay(&self) {
        load(&self.relay, SILENCE);
    }

    /// Undoes [`Bed::silence_relay`].
    ///
    /// # Panics
    /// When the system refuses, as it does when nothing is silenced.
    pub fn wake_relay(&self) {
        wake(&self.relay);
    }

    /// Home's machine loses its power: nothing that it still had to say is heard. Kill what runs on
    /// it before [`Bed::power_home`].
    ///
    /// # Panics
    /// When the system refuses.
    pub fn cut_home(&self) {
        load(&self.home, SILENCE);
    }

    /// Home's machine has power again, and nothing that it said before gets through any more: its
    /// system would remember connections that a real one has forgotten.
    ///
    /// # Panics
    /// When the system refuses, as it does when it has power.
    pub fn power_home(&self) {
        self.forget_mappings();
        wake(&self.home);
    }

    /// The router forgets every connection: NAT mappings and what its firewall let through.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn forget_mappings(&self) {
        self.router.run("conntrack", &["--flush"]);
    }
}

/// An address with the prefix of a single host.
fn host(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

/// Ends the silence of a namespace.
fn wake(namespace: &Namespace) {
    namespace.run("nft", &["delete", "table", "inet", "silence"]);
}

/// Adds rules to a namespace's packet filter.
fn load(namespace: &Namespace, rules: &str) {
    namespace.run("nft", &[rules]);
}
