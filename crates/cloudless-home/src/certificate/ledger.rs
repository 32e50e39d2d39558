//! The ledger of keys: each public key that was ever to have a publicly trusted certificate.
//!
//! A key is recorded, and is on the disk, before a certificate is ordered for it. So a certificate
//! in a Certificate Transparency log with a key that is not in here was made for somebody else.
//! The file is only ever appended to: a JSON object on each line.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cloudless_proto::Hostname;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::file::{SECRET, create_directory};
use super::{CertificateError, directory};

/// Where the ledger is.
pub fn ledger_file(state_dir: &Path) -> PathBuf {
    directory(state_dir).join("ledger.jsonl")
}

/// SHA-256 of a SubjectPublicKeyInfo in DER (RFC 5280 section 4.1), in lower-case hexadecimal as
/// the interfaces of Certificate Transparency monitors write it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpkiHash(String);

impl SpkiHash {
    /// The hash of a SubjectPublicKeyInfo.
    pub fn of_spki(spki: &[u8]) -> Self {
        Self(HEXLOWER.encode(&Sha256::digest(spki)))
    }

    /// Reads what a monitor says; `None` for what is no SHA-256 in hexadecimal.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        (bytes.len() == Sha256::output_size()).then_some(Self(text))
    }

    /// The hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SpkiHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SpkiHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyOrigin {
    /// Home made it for an ACME order.
    Acme,
    /// It is in a file of the owner's.
    File,
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// When, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub at: i64,
    /// The name that it is for.
    pub hostname: Hostname,
    /// The key.
    pub spki_sha256: SpkiHash,
    /// Where it came from.
    pub origin: KeyOrigin,
}

/// Appends a key to the ledger; when this returns it is on the disk. A key that is recorded for
/// that name already is not written again. Blocks on the disk.
///
/// # Errors
/// The file cannot be read or written. Order nothing for the key then.
pub fn record(state_dir: &Path, key: &KeyRecord) -> Result<(), CertificateError> {
    let is_known =
        |known: &KeyRecord| known.hostname == key.hostname && known.spki_sha256 == key.spki_sha256;
    if read(state_dir)?.iter().any(is_known) {
        return Ok(());
    }
    create_directory(&directory(state_dir))?;
    let path = ledger_file(state_dir);
    append(&path, key).map_err(|source| CertificateError::Write { path, source })
}

/// All keys, the oldest first. A line that cannot be read, such as one that a crash cut off before
/// anything was ordered, is left out. Blocks on the disk.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read(state_dir: &Path) -> Result<Vec<KeyRecord>, CertificateError> {
    let path = ledger_file(state_dir);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(CertificateError::Read { path, source }),
    };
    let lines = text.split(|byte| *byte == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

fn append(path: &Path, key: &KeyRecord) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(SECRET)
        .open(path)?;
    let mut line = serde_json::to_vec(key)?;
    line.push(b'\n');
    if !ends_a_line(&mut file)? {
        line.insert(0, b'\n');
    }
    file.write_all(&line)?;
    file.sync_all()?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Whether what is there is whole lines.
fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key(hostname: &str, spki: &[u8]) -> KeyRecord {
        KeyRecord {
            at: 1_700_000_000_000,
            hostname: hostname.parse().unwrap(),
            spki_sha256: SpkiHash::of_spki(spki),
            origin: KeyOrigin::Acme,
        }
    }

    #[test]
    fn each_key_of_a_name_is_recorded_once_and_stays() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read(state.path()).unwrap(), []);
        let keys = [
            key("a.example", b"1"),
            key("b.example", b"1"),
            key("a.example", b"2"),
        ];
        for key in keys.iter().chain(&keys) {
            record(state.path(), key).unwrap();
        }
        assert_eq!(read(state.path()).unwrap(), keys);
        let mode = std::fs::metadata(ledger_file(state.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_costs_no_other_line() {
        let state = tempfile::tempdir().unwrap();
        let (first, second) = (key("a.example", b"1"), key("a.example", b"2"));
        record(state.path(), &first).unwrap();
        let path = ledger_file(state.path());
        let mut text = std::fs::read(&path).unwrap();
        let whole = text.clone();
        text.extend_from_slice(&whole[..whole.len() / 2]);
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read(state.path()).unwrap(), std::slice::from_ref(&first));
        record(state.path(), &second).unwrap();
        assert_eq!(read(state.path()).unwrap(), [first, second]);
    }

    #[test]
    fn a_hash_is_written_as_monitors_write_it() {
        // SHA-256 of nothing, as everybody knows it.
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(SpkiHash::of_spki(b"").as_str(), empty);
        assert_eq!(
            SpkiHash::parse(&empty.to_uppercase()),
            Some(SpkiHash::of_spki(b""))
        );
        assert_eq!(SpkiHash::parse(&empty[..62]), None);
        assert_eq!(SpkiHash::parse("no hash"), None);
    }
}
