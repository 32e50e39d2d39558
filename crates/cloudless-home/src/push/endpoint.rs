//! Where a push resource leads. Any device names one, so that it must not lead home into the
//! network that it stands in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use rustls_pki_types::ServerName;

/// A push resource, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// A name or an IP address without brackets, in lower case.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) path: String,
    /// Whom the certificate is to name.
    pub(super) server_name: ServerName<'static>,
}

impl Endpoint {
    /// Reads the URL of a push resource; `None` for what is no URL that a message can be sent to.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?;
        if uri.scheme_str() != Some("https") || authority.as_str().contains('@') {
            return None;
        }
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" | ":" => 443,
            port => {
                let digits = port.strip_prefix(':')?;
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
                is_number.then(|| digits.parse().ok())??
            }
        };
        let host = authority.host().to_ascii_lowercase();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let query = uri.query().map(|query| format!("?{query}"));
        Some(Self {
            server_name: ServerName::try_from(host.clone()).ok()?,
            port,
            // A URL without a path asks for `/` (RFC 9112 section 3.2.1).
            path: format!("{}{}", uri.path(), query.unwrap_or_default()),
            host,
        })
    }

    /// Host and port as a request says them: the port only where it is not that of https.
    pub(super) fn authority(&self) -> String {
        let host = match self.host.parse::<Ipv6Addr>() {
            Ok(_) => format!("[{}]", self.host),
            Err(_) => self.host.clone(),
        };
        match self.port {
            443 => host,
            port => format!("{host}:{port}"),
        }
    }

    /// The origin that a signature is for (RFC 8292 §2).
    pub(super) fn origin(&self) -> String {
        format!("https://{}", self.authority())
    }
}

/// Whether an address is one of the Internet: neither of this machine nor of a network around it,
/// nor set apart for another use (IANA special-purpose address registries).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    match segments {
        // Translated to IPv4 by the network (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Protocol assignments with Teredo, documentation, and 6to4.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => {
            false
        }
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let endpoint = Endpoint::parse("https://UP.example.net:8443/a/b?c=d").unwrap();
        assert_eq!(endpoint.host, "up.example.net");
        assert_eq!(endpoint.path, "/a/b?c=d");
        assert_eq!(endpoint.origin(), "https://up.example.net:8443");
        let origin = |url| Endpoint::parse(url).map(|endpoint| endpoint.origin());
        let plain = Some("https://up.example.net".to_owned());
        assert_eq!(origin("https://up.example.net"), plain);
        assert_eq!(origin("https://up.example.net:443/a"), plain);
        let address = Some("https://[2001:4860::1]:1".to_owned());
        assert_eq!(origin("https://[2001:4860::1]:1/"), address);
        for none in [
            "http://up.example.net/",
            "https://me@up.example.net/",
            "https:///a",
            "/a",
            "",
            "https://under_score..example/",
        ] {
            assert_eq!(origin(none), None, "{none}");
        }
    }

    #[test]
    fn a_port_that_is_none_is_not_another_one() {
        let place = |url| Endpoint::parse(url).map(|it| (it.port, it.path));
        for (url, expected) in [
            ("https://up.example.net:0/", Some((0, "/"))),
            ("https://up.example.net:65535/", Some((65_535, "/"))),
            ("https://up.example.net:65536/", None),
            ("https://up.example.net:99999/", None),
            ("https://up.example.net:+1/", None),
            ("https://up.example.net:/", Some((443, "/"))),
            ("https://[2001:4860::1]:99999/", None),
            ("https://up.example.net?x", Some((443, "/?x"))),
            ("https://up.example.net:1?x", Some((1, "/?x"))),
        ] {
            let expected = expected.map(|(port, path)| (port, path.to_owned()));
            assert_eq!(place(url), expected, "{url}");
        }
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        let is_public = |text: &str| is_public(text.parse().unwrap());
        for public in [
            "1.1.1.1",
            "100.63.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(public), "{public}");
        }
        for special in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.1.2.3",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:1.1.1.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(special), "{special}");
        }
    }
}
