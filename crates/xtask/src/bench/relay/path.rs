//! A path between relay and home: delay, loss and a rate. The visitors are beside the relay.

use std::net::IpAddr;
use std::time::Duration;

use cloudless_testbed::{Conditions, Link, Namespace};

use super::site::{Place, Site};

/// There and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(40);
/// 100 Mbit/s, in bytes.
const RATE: u64 = 100_000_000 / 8;
const NETWORK: &str = "192.0.2.0/24";
/// What Debian's kernels use, whatever this machine does. Programs may ask for another one.
const CONGESTION_CONTROL: &str = "cubic";
const LINK: &str = "path";

/// Two network namespaces and what lies between them. Dropping it removes them.
pub(crate) struct Path {
    pub(crate) site: Site,
    _link: Link,
    _ends: [Namespace; 2],
}

impl Path {
    /// What this machine lacks for it, if anything.
    pub(crate) fn missing() -> Option<String> {
        cloudless_testbed::missing()
    }

    /// A path that loses this share of the packets, 0 to 1, in each direction.
    pub(crate) fn open(loss: f64) -> Self {
        let ends = ["relay", "home"].map(Namespace::new);
        let conditions = Conditions {
            delay: ROUND_TRIP / 2,
            loss,
            rate: Some(RATE),
            ..Conditions::default()
        };
        let link = Link::new((&ends[0], LINK), (&ends[1], LINK), conditions, 1);
        let places = [(&ends[0], 1), (&ends[1], 2)].map(|(end, number)| {
            let ip = IpAddr::from([192, 0, 2, number]);
            end.add_address(LINK, &format!("{ip}/24"));
            let route = ["route", "change", NETWORK, "dev", LINK];
            let congestion_control = ["congctl", CONGESTION_CONTROL];
            end.ip(&[&route[..], &congestion_control].concat());
            Place {
                ip,
                namespace: Some(end.name().to_owned()),
                core: None,
                port: 0,
            }
        });
        let [relay, home] = places;
        Self {
            site: Site {
                visitors: relay.clone(),
                relay,
                home,
            },
            _link: link,
            _ends: ends,
        }
    }
}
