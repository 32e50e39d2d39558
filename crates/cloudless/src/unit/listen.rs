//! The relay's ports, as a socket unit names them.

use std::net::SocketAddr;

use crate::config::relay::Listen;
use crate::exit::Usage;

/// The values of `ListenStream=`, and the one of `BindIPv6Only=`: as the relay itself would bind
/// them, where `[::]` takes IPv4 too unless the list has an IPv4 address of the same port.
pub(super) fn streams(listen: &Listen) -> Result<(Vec<String>, &'static str), Usage> {
    let Listen {
        https, http, ssh, ..
    } = listen;
    let addresses = || https.0.iter().chain(&http.0).chain(&ssh.0);
    if addresses().any(|address| address.port() == 0) {
        return Err(Usage(
            "a port is 0 in relay.toml, to be chosen when the relay starts; a socket unit needs \
             one that stays"
                .to_owned(),
        ));
    }
    let is_everywhere = |address: &SocketAddr| address.is_ipv6() && address.ip().is_unspecified();
    let has_ipv4 = |port| addresses().any(|it| it.is_ipv4() && it.port() == port);
    let is_split = addresses().any(|it| is_everywhere(it) && has_ipv4(it.port()));
    let stream = |address: &SocketAddr| match (is_everywhere(address), is_split) {
        // Where the kernel has no IPv6, a port alone means IPv4.
        (true, false) => vec![address.port().to_string()],
        (true, true) if !has_ipv4(address.port()) => {
            vec![address.to_string(), format!("0.0.0.0:{}", address.port())]
        }
        _ => vec![address.to_string()],
    };
    let only_ipv6 = if is_split { "ipv6-only" } else { "both" };
    Ok((addresses().flat_map(stream).collect(), only_ipv6))
}
