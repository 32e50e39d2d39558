use std::str::FromStr;

use data_encoding::BASE64;

use super::Fingerprint;

/// A line is far shorter than this; a file was given instead.
const LINE_LEN_MAX: usize = 4096;

const ED25519: &str = "ssh-ed25519";
/// Each with the name of its curve, and the length of a point on it (RFC 5656 section 3.1).
const ECDSA: [(&str, &str, usize); 3] = [
    ("ecdsa-sha2-nistp256", "nistp256", 65),
    ("ecdsa-sha2-nistp384", "nistp384", 97),
    ("ecdsa-sha2-nistp521", "nistp521", 133),
];

/// A public key as `id_ed25519.pub` and the lines of `authorized_keys` have it: algorithm, key and
/// perhaps a comment. Ed25519 and ECDSA only; no options, no certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorizedKey {
    /// Which key it is.
    pub fingerprint: Fingerprint,
}

impl FromStr for AuthorizedKey {
    type Err = InvalidAuthorizedKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let line = text.trim();
        if line.starts_with("-----BEGIN") {
            return Err(InvalidAuthorizedKey::Private);
        }
        if line.len() > LINE_LEN_MAX || line.contains(['\n', '\r']) {
            return Err(InvalidAuthorizedKey::Lines);
        }
        let mut fields = line.split_ascii_whitespace();
        let algorithm = fields.next().ok_or(InvalidAuthorizedKey::Form)?;
        if !is_taken(algorithm) {
            return Err(if is_algorithm(algorithm) {
                InvalidAuthorizedKey::Algorithm(algorithm.to_owned())
            } else if fields.any(is_algorithm) {
                InvalidAuthorizedKey::Options
            } else {
                InvalidAuthorizedKey::Form
            });
        }
        let encoded = fields.next().ok_or(InvalidAuthorizedKey::Form)?;
        let key = BASE64
            .decode(encoded.as_bytes())
            .map_err(|_| InvalidAuthorizedKey::Damaged)?;
        if !is_whole(algorithm, &key) {
            return Err(InvalidAuthorizedKey::Damaged);
        }
        Ok(Self {
            fingerprint: Fingerprint::of(&key),
        })
    }
}

fn is_taken(algorithm: &str) -> bool {
    algorithm == ED25519 || ECDSA.iter().any(|(name, ..)| *name == algorithm)
}

/// Whether it is the name of an algorithm, of those too that are not taken.
fn is_algorithm(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-", "rsa-"]
        .iter()
        .any(|prefix| word.starts_with(prefix))
}

/// Whether the key on the wire is one of this algorithm and nothing more.
fn is_whole(algorithm: &str, key: &[u8]) -> bool {
    let Some((name, rest)) = string(key) else {
        return false;
    };
    if name != algorithm.as_bytes() {
        return false;
    }
    if algorithm == ED25519 {
        return string(rest).is_some_and(|(key, rest)| key.len() == 32 && rest.is_empty());
    }
    let Some((_, curve, point_len)) = ECDSA.iter().find(|(name, ..)| *name == algorithm) else {
        return false;
    };
    let Some((named, rest)) = string(rest) else {
        return false;
    };
    let is_point = |point: &[u8]| point.len() == *point_len && point.first() == Some(&4);
    named == curve.as_bytes()
        && string(rest).is_some_and(|(point, rest)| is_point(point) && rest.is_empty())
}

/// A string and what follows it (RFC 4251 section 5).
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    rest.split_at_checked(len)
}

/// Why a text is no [`AuthorizedKey`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthorizedKey {
    /// An algorithm that is not taken.
    #[error(
        "{0} keys are not taken, Ed25519 and ECDSA are: make a key with `ssh-keygen -t ed25519` at home"
    )]
    Algorithm(String),
    /// The key is not what its algorithm says.
    #[error("the key is damaged: copy the whole line out of the .pub file")]
    Damaged,
    /// Something else.
    #[error(
        "expected a public key such as \"ssh-ed25519 AAAA… name\": the one line of the .pub file at home"
    )]
    Form,
    /// More than one line.
    #[error("expected one public key in one line")]
    Lines,
    /// Options of `authorized_keys` before the key.
    #[error("options before the key are not taken: give the key alone, from the algorithm on")]
    Options,
    /// The other half.
    #[error(
        "this is a private key, which nobody else may see: give the line in the .pub file beside it"
    )]
    Private,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by `ssh-keygen`, as are the fingerprints that it prints for them.
    const KEYS: [(&str, &str); 4] = [
        (
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEDXXS5PaI0KMGWACpzzffU/HcIUnGu6piucS2vAJx9y home",
            "SHA256:RRfFOCHyvWhZp9MCvbxeLUcc/T7vlQZOEzmto+Vls2M",
        ),
        (
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEjkNPUxXVCGixCGcrDqo4g0TXZUKUnbTnPSQGeBLdjWslDWEOgEDw01jT6K6Oei/HyugZVZH+6knUlkGG9l+UA= home",
            "SHA256:muw44eIiCFJkb5+CxJdFDamcUSYAvHRp5WPBYWQlczw",
        ),
        (
            "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBKRlw7y4wRcpBLrxoM9G0kI4rsvsjDn9XEaYy3XSlG2CI+2amubNz0BvBNKKF0M+PNTxnCwjlhp0MBpXtre7TxITzwDZdluFHdvI2PPxxwBuQusUAQYJ8AJjCvEuyQLJcw== home",
            "SHA256:WrPM/PzPbwlxv+ne/cjKzdonOCbRj9V+sdK9M6e8Kho",
        ),
        (
            "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAG79PZL20+iiD1w93i9QPBW24kSWMODUJaJMz75cgGZ72hrcGeokz4Rch0mQb03cPFAw1LWoA+J2jLbBLaCXnv2HAEYgmRASPw6s5YZadaSTtuWla676jBQx1FzhXrm/YCmyNsIDH+5TTLiLRmNIjkwvRa2iwGhrZIl87UrxOfSBc6Xag== home",
            "SHA256:sTwFTVa0nkR5WcZppdMHOY4swqxKQ71YVaBVERMSPTc",
        ),
    ];

    #[test]
    fn what_ssh_keygen_makes_is_read() {
        for (line, fingerprint) in KEYS {
            let key: AuthorizedKey = line.parse().unwrap();
            assert_eq!(key.fingerprint.to_string(), fingerprint, "{line}");
            let spread = format!("  {}\n", line.replace(' ', "\t"));
            assert_eq!(spread.parse(), Ok(key));
        }
    }

    #[test]
    fn what_is_refused_is_told_apart() {
        let (key, _) = KEYS[0];
        let (algorithm, rest) = key.split_once(' ').unwrap();
        let (other, _) = KEYS[1].0.split_once(' ').unwrap();
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n";
        for (text, expected) in [
            (String::new(), InvalidAuthorizedKey::Form),
            ("hello".to_owned(), InvalidAuthorizedKey::Form),
            (algorithm.to_owned(), InvalidAuthorizedKey::Form),
            (private.to_owned(), InvalidAuthorizedKey::Private),
            (format!("{key}\n{key}"), InvalidAuthorizedKey::Lines),
            ("a".repeat(5000), InvalidAuthorizedKey::Lines),
            (
                "ssh-rsa AAAAB3NzaC1yc2E=".to_owned(),
                InvalidAuthorizedKey::Algorithm("ssh-rsa".to_owned()),
            ),
            (
                "ssh-ed25519-cert-v01@openssh.com AAAA".to_owned(),
                InvalidAuthorizedKey::Algorithm("ssh-ed25519-cert-v01@openssh.com".to_owned()),
            ),
            (format!("restrict {key}"), InvalidAuthorizedKey::Options),
            (format!("{other} {rest}"), InvalidAuthorizedKey::Damaged),
            (format!("{algorithm} AAAA"), InvalidAuthorizedKey::Damaged),
            (key[..60].to_owned(), InvalidAuthorizedKey::Damaged),
        ] {
            assert_eq!(text.parse::<AuthorizedKey>(), Err(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = text.parse::<AuthorizedKey>();
        }

        #[test]
        fn any_key_is_whole_or_damaged(key in proptest::collection::vec(any::<u8>(), 0..200)) {
            for algorithm in ["ssh-ed25519", "ecdsa-sha2-nistp256"] {
                let text = format!("{algorithm} {}", BASE64.encode(&key));
                let read = text.parse::<AuthorizedKey>();
                prop_assert!(read.is_ok() == is_whole(algorithm, &key));
            }
        }
    }
}
