//! Names that nobody can own on the internet.

use crate::Hostname;

/// Top-level domains that no registry has, and the example domains: RFC 6761, RFC 6762, RFC 7686,
/// RFC 8375, RFC 9476, and `internal`, which ICANN has set aside for private use.
const SPECIAL: [&str; 10] = [
    "example",
    "example.com",
    "example.net",
    "example.org",
    "home.arpa",
    "internal",
    "invalid",
    "local",
    "localhost",
    "test",
];

/// Whether a name is of special use (RFC 6761): no public DNS leads to it, and no CA may issue for
/// it without breaking the rules of all browsers. (They do for `onion`, to who has its key.)
pub fn is_special_use(hostname: &Hostname) -> bool {
    let name = hostname.as_str();
    SPECIAL.iter().any(|special| {
        let rest = name.strip_suffix(special);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_labels_count() {
        let is = |name: &str| is_special_use(&name.parse().unwrap());
        for name in [
            "home.internal",
            "a.b.test",
            "home.example.org",
            "example.com",
            "x.home.arpa",
            "pi.local",
        ] {
            assert!(is(name), "{name}");
        }
        for name in [
            "contest",
            "home.testing.de",
            "myexample.org",
            "example.org.uk",
            "arpa",
            "alice.de",
        ] {
            assert!(!is(name), "{name}");
        }
    }
}
