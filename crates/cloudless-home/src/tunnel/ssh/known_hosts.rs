//! The server keys that somebody has vouched for, in OpenSSH's `known_hosts` format (sshd(8)).

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use std::path::{Path, PathBuf};

/// A line that is longer is no key of a host.
const LINE_LEN_MAX: usize = 16 * 1024;

/// The keys of known hosts, and where each was found.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownHosts(Vec<KnownKey>);

#[derive(Clone, Debug)]
struct KnownKey {
    place: Place,
    is_revoked: bool,
    hosts: String,
    kind: String,
    key: Vec<u8>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
}

/// What is known of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// It is the host's.
    Known,
    /// The host has another key of this kind.
    Changed(&'a Place),
    /// Nobody may use it any more.
    Revoked(&'a Place),
    /// The host has no key of this kind.
    Unknown,
}

impl KnownHosts {
    /// Adds the lines of a file. Those that cannot be read say nothing about any host, as for ssh;
    /// authorities of hosts (`@cert-authority`) are not asked.
    pub(super) fn add(&mut self, file: &Path, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let mut fields = line.split_ascii_whitespace().peekable();
            let marker = fields.next_if(|field| field.starts_with('@'));
            let is_revoked = match marker {
                None => false,
                Some("@revoked") => true,
                Some(_) => continue,
            };
            let (Some(hosts), Some(kind), Some(key)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if hosts.starts_with('#') || line.len() > LINE_LEN_MAX {
                continue;
            }
            if let Ok(key) = BASE64.decode(key.as_bytes()) {
                self.0.push(KnownKey {
                    place: Place {
                        file: file.to_owned(),
                        line: index + 1,
                    },
                    is_revoked,
                    hosts: hosts.to_owned(),
                    kind: kind.to_owned(),
                    key,
                });
            }
        }
    }

    /// The kinds of keys that are known of a host, such as `ssh-ed25519`.
    pub(super) fn kinds(&self, host: &str, port: u16) -> Vec<&str> {
        let name = name(host, port);
        let keys = self.0.iter().filter(|known| !known.is_revoked);
        let keys = keys.filter(|known| is_for(&known.hosts, &name));
        keys.map(|known| known.kind.as_str()).collect()
    }

    /// What is known of a key that a host has shown, which is of `kind` and in the encoding of RFC
    /// 4253 section 6.6.
    pub(super) fn look(&self, host: &str, port: u16, kind: &str, key: &[u8]) -> Verdict<'_> {
        let name = name(host, port);
        let about = |known: &&KnownKey| is_for(&known.hosts, &name);
        let keys = || self.0.iter().filter(about);
        if let Some(known) = keys().find(|it| it.is_revoked && it.key == key) {
            return Verdict::Revoked(&known.place);
        }
        let mut trusted = keys().filter(|it| !it.is_revoked);
        if trusted.any(|known| known.key == key) {
            return Verdict::Known;
        }
        match keys().find(|it| !it.is_revoked && it.kind == kind) {
            Some(known) => Verdict::Changed(&known.place),
            None => Verdict::Unknown,
        }
    }
}

/// The name that a host has in `known_hosts`.
pub(super) fn name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    match port {
        22 => host,
        port => format!("[{host}]:{port}"),
    }
}

/// Whether a list of patterns, or a name that is hashed, is about this one.
fn is_for(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return is_hash_of(hashed, name).unwrap_or(false);
    }
    let mut is_for = false;
    for pattern in hosts.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern, name) => return false,
            Some(_) => {}
            None => is_for |= matches(pattern, name),
        }
    }
    is_for
}

fn is_hash_of(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let salt = BASE64.decode(salt.as_bytes()).ok()?;
    let hash = BASE64.decode(hash.as_bytes()).ok()?;
    // SHA-1 is OpenSSH's choice, and hides names from readers of the file; nothing rests on it.
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    Some(hmac::verify(&key, name.as_bytes(), &hash).is_ok())
}

/// Whether `name` is what `pattern` says, where `*` stands for anything and `?` for one character.
/// Goes back to the last `*` alone, so that the time is bounded by the product of both lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at_pattern, mut at_name) = (0, 0);
    let mut star = None;
    while let Some(byte) = name.get(at_name) {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                star = Some((at_pattern, at_name));
                at_pattern += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted.eq_ignore_ascii_case(byte) => {
                at_pattern += 1;
                at_name += 1;
            }
            _ => {
                let Some((star_pattern, star_name)) = star else {
                    return false;
                };
                star = Some((star_pattern, star_name + 1));
                at_pattern = star_pattern + 1;
                at_name = star_name + 1;
            }
        }
    }
    let rest = pattern.get(at_pattern..).unwrap_or_default();
    rest.iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519";

    fn known(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add(Path::new("known_hosts"), text);
        known
    }

    fn place(line: usize) -> Place {
        Place {
            file: PathBuf::from("known_hosts"),
            line,
        }
    }

    #[test]
    fn plain_names_ports_lists_and_patterns() {
        let known = known(
            "# vps.example ssh-ed25519 bm8=\n\
             vps.example,203.0.113.5 ssh-ed25519 a2V5\n\
             [vps.example]:2222 ssh-ed25519 b3RoZXI= a comment\n\
             *.wild.example,!not.wild.example ssh-ed25519 d2lsZA==\n\
             broken ssh-ed25519\n\
             broken ssh-ed25519 ===\n",
        );
        let look = |host, port, key: &[u8]| known.look(host, port, ED25519, key);
        assert_eq!(look("vps.example", 22, b"key"), Verdict::Known);
        assert_eq!(look("VPS.example", 22, b"key"), Verdict::Known);
        assert_eq!(look("203.0.113.5", 22, b"key"), Verdict::Known);
        assert_eq!(look("vps.example", 2222, b"other"), Verdict::Known);
        assert_eq!(look("a.wild.example", 22, b"wild"), Verdict::Known);
        assert_eq!(look("not.wild.example", 22, b"wild"), Verdict::Unknown);
        assert_eq!(look("wild.example", 22, b"wild"), Verdict::Unknown);
        // Another port is another server.
        assert_eq!(
            look("vps.example", 2222, b"key"),
            Verdict::Changed(&place(3))
        );
        assert_eq!(look("vps.example", 23, b"key"), Verdict::Unknown);
        assert_eq!(
            look("vps.example", 22, b"mallory"),
            Verdict::Changed(&place(2))
        );
        assert_eq!(look("broken", 22, b"x"), Verdict::Unknown);
        let ecdsa = known.look("vps.example", 22, "ecdsa-sha2-nistp256", b"mallory");
        assert_eq!(ecdsa, Verdict::Unknown);
        assert_eq!(known.kinds("vps.example", 22), [ED25519]);
    }

    #[test]
    fn a_revoked_key_is_refused_whatever_else_is_said_of_it() {
        let known = known(
            "vps.example ssh-ed25519 a2V5\n\
             @revoked * ssh-ed25519 a2V5\n\
             @cert-authority *.example ssh-ed25519 Y2E=\n",
        );
        let revoked = known.look("vps.example", 22, ED25519, b"key");
        assert_eq!(revoked, Verdict::Revoked(&place(2)));
        // An authority's key is no host's.
        assert_eq!(
            known.look("b.example", 22, ED25519, b"ca"),
            Verdict::Unknown
        );
        assert!(known.kinds("b.example", 22).is_empty());
    }

    /// Lines that `ssh-keygen -H` of OpenSSH has made.
    #[test]
    fn hashed_names() {
        let salt = b"01234567890123456789";
        let line = |name: &str| {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            let hash = hmac::sign(&key, name.as_bytes());
            format!(
                "|1|{}|{} ssh-ed25519 a2V5\n",
                BASE64.encode(salt),
                BASE64.encode(hash.as_ref())
            )
        };
        let known = known(
            &(line("vps.example") + &line("[vps.example]:2222") + "|1|x|y ssh-ed25519 a2V5\n"),
        );
        assert_eq!(
            known.look("vps.example", 22, ED25519, b"key"),
            Verdict::Known
        );
        assert_eq!(
            known.look("vps.example", 2222, ED25519, b"key"),
            Verdict::Known
        );
        assert_eq!(
            known.look("other.example", 22, ED25519, b"key"),
            Verdict::Unknown
        );
    }

    #[test]
    fn a_pattern_full_of_stars_takes_no_time() {
        let pattern = "*a".repeat(2000);
        assert!(!matches(&pattern, &"a".repeat(1999)));
        assert!(matches(&pattern, &"a".repeat(2000)));
        assert!(matches("*", "") && matches("a?c*", "abc") && !matches("a", "ab"));
    }
}
