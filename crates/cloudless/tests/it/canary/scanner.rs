//! Finds secrets in bytes, however they are written there.

use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::AhoCorasick;
use data_encoding::{BASE64, HEXLOWER, HEXUPPER};

use super::huffman;

/// A name for a secret and how it was written: `photo as base64`.
pub(super) type Finding = String;

/// Finds each secret in every encoding that a program may give it.
pub(super) struct Scanner {
    patterns: AhoCorasick,
    findings: Vec<Finding>,
}

impl Scanner {
    pub(super) fn new(secrets: &BTreeMap<String, Vec<u8>>) -> Self {
        let (mut patterns, mut findings) = (Vec::new(), Vec::new());
        for (name, secret) in secrets {
            for (encoding, pattern) in encodings(secret) {
                assert!(pattern.len() >= 8, "{name} as {encoding} may be anywhere");
                patterns.push(pattern);
                findings.push(format!("{name} as {encoding}"));
            }
        }
        Self {
            patterns: AhoCorasick::new(patterns).unwrap(),
            findings,
        }
    }

    pub(super) fn find(&self, bytes: &[u8]) -> BTreeSet<Finding> {
        // One may be a part of another, as percent-encoding is of a text of hexadecimal digits.
        let found = self.patterns.find_overlapping_iter(bytes);
        found
            .map(|it| self.findings[it.pattern().as_usize()].clone())
            .collect()
    }
}

/// The ways to write a secret, as the bytes that stand there whatever is around it.
fn encodings(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let written = |write: &dyn Fn(&u8) -> String| -> Vec<u8> {
        secret.iter().map(write).collect::<String>().into_bytes()
    };
    let decimal: Vec<_> = secret.iter().map(u8::to_string).collect();
    let mut encodings = vec![
        ("raw bytes", secret.to_vec()),
        ("hexadecimal digits", HEXLOWER.encode(secret).into_bytes()),
        ("HEXADECIMAL DIGITS", HEXUPPER.encode(secret).into_bytes()),
        ("percent-encoding", written(&|byte| format!("%{byte:02X}"))),
        ("percent-encoding", written(&|byte| format!("%{byte:02x}"))),
        (
            "an escaped string",
            written(&|byte| format!("\\x{byte:02x}")),
        ),
        ("a list of numbers", decimal.join(", ").into_bytes()),
    ];
    for offset in 0..3 {
        let base64 = base64(secret, offset);
        let url_safe = base64.replace('+', "-").replace('/', "_");
        encodings.push(("base64", base64.into_bytes()));
        encodings.push(("base64url", url_safe.into_bytes()));
    }
    if let Some(text) = std::str::from_utf8(secret).ok().filter(|it| is_plain(it)) {
        let units = || text.encode_utf16();
        encodings.push(("UTF-16LE", units().flat_map(u16::to_le_bytes).collect()));
        encodings.push(("UTF-16BE", units().flat_map(u16::to_be_bytes).collect()));
        for offset in 0..8 {
            encodings.push(("HPACK-Huffman", huffman::encode(text, offset)));
        }
        // A login is sent as that over HTTP/2.
        for before in 0..3 {
            let base64 = base64(secret, before);
            for offset in 0..8 {
                let pattern = huffman::encode(&base64, offset);
                encodings.push(("base64 in HPACK-Huffman", pattern));
            }
        }
    }
    encodings
}

/// Whether a secret is made of the characters of an app password.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|it| matches!(it, b'a'..=b'z' | b'2'..=b'7'))
}

/// The characters that depend on the secret alone, when `offset` bytes (modulo 3) come before it.
fn base64(secret: &[u8], offset: usize) -> String {
    let padded = [&vec![0; offset][..], secret].concat();
    let encoded = BASE64.encode(&padded);
    let whole = padded.len() * 8 / 6;
    let skipped = (offset * 8).div_ceil(6);
    encoded[skipped..whole].to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::time::timeout;

    use super::*;

    const SECRET: &str = "q7canaryk2mz5xwv3jdhtupfg4";

    fn found(bytes: impl AsRef<[u8]>) -> Vec<Finding> {
        let secrets = [("it".to_owned(), SECRET.as_bytes().to_vec())].into();
        Scanner::new(&secrets)
            .find(bytes.as_ref())
            .into_iter()
            .collect()
    }

    /// As other code writes it, not as the scanner does.
    #[test]
    fn a_secret_is_found_in_every_encoding_wherever_it_stands() {
        assert_eq!(found(format!("x{SECRET}x")), ["it as raw bytes"]);
        for before in ["", "x", "xy", "xyz"] {
            for after in ["", "x", "xy"] {
                let text = format!("{before}{SECRET}{after}");
                let base64 = BASE64.encode(text.as_bytes());
                // It has no character by which the two kinds differ.
                let both = ["it as base64", "it as base64url"];
                assert_eq!(found(base64), both, "{text}");
                let debug = format!("{:?}", text.as_bytes());
                assert_eq!(found(debug), ["it as a list of numbers"]);
            }
        }
        let hex = HEXLOWER.encode(SECRET.as_bytes());
        assert_eq!(found(hex), ["it as hexadecimal digits"]);
        let utf_16: Vec<u8> = SECRET.bytes().flat_map(|it| [it, 0]).collect();
        assert_eq!(found(&utf_16), ["it as UTF-16LE"]);
        assert_eq!(found(format!("x{:?}", "\0")), [""; 0]);
        assert_eq!(found(&SECRET[1..]), [""; 0]);
    }

    /// By the encoder of the HTTP/2 that clients here speak.
    #[tokio::test]
    async fn a_login_is_found_as_http_2_writes_it() {
        for user in ["me", "ada", "anna"] {
            let (client, mut server) = tokio::io::duplex(64 * 1024);
            let (mut sender, connection) = h2::client::handshake(client).await.unwrap();
            let connection = tokio::spawn(connection);
            let login = BASE64.encode(format!("{user}:{SECRET}").as_bytes());
            let request = http::Request::get("https://localhost/");
            let request = request.header("authorization", format!("Basic {login}"));
            let request = request.body(()).unwrap();
            let _answer = sender.send_request(request, true).unwrap();
            let mut sent = Vec::new();
            let is_sent = async {
                while found(&sent).is_empty() {
                    assert_ne!(server.read_buf(&mut sent).await.unwrap(), 0);
                }
            };
            let is_sent = timeout(Duration::from_secs(60), is_sent).await;
            is_sent.expect("void: it is not found");
            assert_eq!(found(&sent), ["it as base64 in HPACK-Huffman"], "{user}");
            connection.abort();
        }
    }

    #[test]
    fn the_kinds_of_base64_differ_by_two_characters() {
        let secret = [0xfb, 0xff, 0xbe, 0xfb, 0xff, 0xbe, 0xfb, 0xff, 0xbe];
        let scanner = Scanner::new(&[("key".to_owned(), secret.to_vec())].into());
        let found = scanner.find(BASE64.encode(&secret).as_bytes());
        assert_eq!(found, ["key as base64".to_owned()].into());
        let url_safe = data_encoding::BASE64URL.encode(&secret);
        let found = scanner.find(url_safe.as_bytes());
        assert_eq!(found, ["key as base64url".to_owned()].into());
    }
}
