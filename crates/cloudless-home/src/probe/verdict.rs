//! What the attempts to reach home under a public name mean, and what to do about it.
//!
//! Sans-IO: the caller has resolved the name and tried its addresses.

use std::net::{IpAddr, SocketAddr};

use cloudless_proto::Hostname;

use crate::status::{AddressStatus, Reachability};

/// What became of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// This home was reached, and the TLS handshake done.
    Reached,
    /// TCP was refused.
    Refused,
    /// TCP was not answered.
    NoAnswer,
    /// This machine has no way to addresses of this kind.
    NoRoute,
    /// Something else went wrong on this machine.
    Failed(String),
    /// Connected, and the connection was closed before it came to home.
    Closed,
    /// Connected, and nothing came of it.
    Silent,
    /// Another server answered, with a certificate for these names.
    Foreign(Vec<String>),
    /// It came to home, and the TLS handshake failed.
    NoHandshake(String),
    /// It came to home, and the answer did not come back.
    NoWayBack,
}

/// A name, and what was found out about it.
pub(crate) struct View<'a> {
    pub(crate) hostname: &'a Hostname,
    /// Where the connected relays are.
    pub(crate) relays: &'a [IpAddr],
    /// Whether home has reached them through a proxy, which the attempts have not used.
    pub(crate) is_proxied: bool,
    /// Each address that the name leads to, or why there is none.
    pub(crate) attempts: Result<&'a [(SocketAddr, Attempt)], &'a str>,
}

/// Whether phones reach home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) state: Reachability,
    /// What is wrong and what to do, unless all is well.
    pub(crate) message: Option<String>,
    pub(crate) addresses: Vec<AddressStatus>,
}

/// Judges one name.
pub(crate) fn judge(view: &View<'_>) -> Verdict {
    let hostname = view.hostname;
    let attempts = match view.attempts {
        Ok([]) => return unresolved(view, "there is none"),
        Ok(attempts) => attempts,
        Err(reason) => return unresolved(view, reason),
    };
    let addresses: Vec<AddressStatus> = attempts
        .iter()
        .map(|(address, attempt)| AddressStatus {
            address: *address,
            state: state_of(view, address.ip(), attempt),
            message: complaint(view, *address, attempt),
        })
        .collect();
    let is = |state: Reachability| move |row: &&AddressStatus| row.state == state;
    let good = addresses.iter().find(is(Reachability::Online));
    let bad = addresses.iter().find(is(Reachability::Unreachable));
    let message_of = |row: &AddressStatus| row.message.clone().unwrap_or_default();
    let (state, message) = match (good, bad) {
        (Some(_), None) => (Reachability::Online, None),
        (Some(good), Some(bad)) => {
            let (works, fails) = (family(good.address), family(bad.address));
            let message = if works == fails {
                format!("some phones do not reach this home: {}", message_of(bad))
            } else {
                let record = if fails == "IPv6" { "AAAA" } else { "A" };
                format!(
                    "it works over {works}, not over {fails}: {}; or remove the {record} record of \
                     {hostname}",
                    message_of(bad)
                )
            };
            (Reachability::Partly, Some(message))
        }
        (None, Some(bad)) => (Reachability::Unreachable, Some(message_of(bad))),
        (None, None) => {
            let first = addresses.first().map(message_of);
            (Reachability::Untested, first)
        }
    };
    Verdict {
        state,
        message,
        addresses,
    }
}

fn unresolved(view: &View<'_>, reason: &str) -> Verdict {
    let hostname = view.hostname;
    let message = format!(
        "cannot find the address of {hostname} ({reason}): let its A or AAAA record lead to the \
         relay{}, and check that this machine can ask the DNS",
        at(view.relays)
    );
    Verdict {
        // Behind a proxy it is the proxy that asks the DNS.
        state: if view.is_proxied {
            Reachability::Untested
        } else {
            Reachability::Unreachable
        },
        message: Some(message),
        addresses: Vec::new(),
    }
}

fn state_of(view: &View<'_>, address: IpAddr, attempt: &Attempt) -> Reachability {
    match attempt {
        Attempt::Reached => Reachability::Online,
        Attempt::NoRoute | Attempt::Failed(_) => Reachability::Untested,
        // Phones outside are led elsewhere, and whether they arrive is not seen from here.
        _ if is_split(view, address) => Reachability::Untested,
        attempt if is_shut_in(view, attempt) => Reachability::Untested,
        _ => Reachability::Unreachable,
    }
}

/// Whether the name leads into the local network here, and surely not for phones outside.
fn is_split(view: &View<'_>, address: IpAddr) -> bool {
    is_local(address) && !view.relays.iter().copied().any(is_local)
}

/// Whether it may be this network that stopped the attempt: one that wants all to go through its
/// proxy.
fn is_shut_in(view: &View<'_>, attempt: &Attempt) -> bool {
    let is_before_home = !matches!(attempt, Attempt::NoHandshake(_) | Attempt::NoWayBack);
    view.is_proxied && is_before_home
}

fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_private() || address.is_loopback() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_unique_local() || address.is_loopback() || address.is_unicast_link_local()
        }
    }
}

/// What is wrong with an address and what to do; `None` if nothing is.
fn complaint(view: &View<'_>, address: SocketAddr, attempt: &Attempt) -> Option<String> {
    let (ip, port, hostname) = (address.ip(), address.port(), view.hostname);
    let relays = at(view.relays);
    match attempt {
        Attempt::Reached => return None,
        Attempt::NoRoute => {
            let family = family(address);
            return Some(format!(
                "this machine has no {family}, so that {ip} is not tested"
            ));
        }
        Attempt::Failed(error) => return Some(format!("{ip} could not be tested: {error}")),
        Attempt::NoHandshake(error) => {
            return Some(format!(
                "visitors reach this home, and their TLS handshake fails ({error}): see the \
                 certificate or passthrough of {hostname} below"
            ));
        }
        Attempt::NoWayBack => {
            return Some(format!(
                "visitors reach this home through {ip}, and get no answer: see the certificate or \
                 passthrough of {hostname} below, and the relay's log"
            ));
        }
        _ => {}
    }
    if is_split(view, ip) {
        return Some(format!(
            "here {hostname} leads to {ip}, an address of the local network: /etc/hosts or the \
             router answers instead of the DNS (split DNS), so that what phones meet outside is \
             not tested"
        ));
    }
    if is_shut_in(view, attempt) {
        return Some(format!(
            "home reaches the relay through a proxy, and {ip} is not reached from here without it, \
             so that what phones meet outside is not tested"
        ));
    }
    let is_relay = view.relays.contains(&ip);
    if !is_relay && !view.relays.is_empty() && !matches!(attempt, Attempt::Closed) {
        return Some(format!(
            "{hostname} leads to {ip}{}, and the relay is{relays}: change its {} record",
            found(attempt),
            if ip.is_ipv6() { "AAAA" } else { "A" },
        ));
    }
    let what = match attempt {
        Attempt::Refused => format!(
            "nothing listens at {ip} on port {port}: is the relay running, and does its firewall let \
             the port in?"
        ),
        Attempt::NoAnswer => format!(
            "{ip} does not answer on port {port}: let it in at the relay's firewall and in its \
             provider's settings"
        ),
        Attempt::Closed => format!(
            "{ip} closes connections for {hostname} instead of passing them to this home: ask \
             `cloudless relay homes` there who has the name"
        ),
        Attempt::Foreign(names) if names.iter().any(|it| it == hostname.as_str()) => format!(
            "behind {ip} somebody else answers for {hostname}, with a certificate for that name: a second \
             home with its names, such as a copy of this one, has taken its place at the relay (then end \
             that one and start this one anew), or somebody on the way ends TLS"
        ),
        Attempt::Foreign(_) => format!(
            "{ip} does not lead to this home{}: something other than the relay has port {port}, or \
             stands between this machine and the relay",
            found(attempt)
        ),
        _ => format!("{ip} takes connections on port {port} and does nothing with them"),
    };
    Some(what)
}

/// What was met at an address.
fn found(attempt: &Attempt) -> String {
    match attempt {
        Attempt::Foreign(names) if !names.is_empty() => {
            format!(" (the certificate there is for {})", names.join(", "))
        }
        Attempt::Foreign(_) => " (another server answers there)".to_owned(),
        _ => String::new(),
    }
}

fn at(relays: &[IpAddr]) -> String {
    let list: Vec<String> = relays.iter().map(ToString::to_string).collect();
    if list.is_empty() {
        String::new()
    } else {
        format!(" at {}", list.join(" or "))
    }
}

fn family(address: SocketAddr) -> &'static str {
    if address.ip().to_canonical().is_ipv4() {
        "IPv4"
    } else {
        "IPv6"
    }
}

#[cfg(test)]
mod tests;
