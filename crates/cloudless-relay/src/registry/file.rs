//! `homes.toml` and `invites.toml`: read whole, replaced whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use cloudless_proto::Hostname;
use data_encoding::HEXLOWER;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::value::Datetime;

use super::{Home, Invite, KEY_FILE, RegistryError, Rotation, WriteError, duplicate};
use crate::home_key::HomeKey;
use crate::identity::{pem, public_key};

const HOMES: &str = "homes.toml";
const INVITES: &str = "invites.toml";
const ROTATION: &str = "rotation.toml";

pub(super) fn read_homes(directory: &Path) -> Result<BTreeMap<Hostname, Home>, RegistryError> {
    let file: HomesFile = read(directory, HOMES)?;
    if let Some(hostname) = duplicate(file.home.iter().map(|line| &line.hostname)) {
        let path = directory.join(HOMES);
        return Err(RegistryError::Duplicate {
            path,
            hostname: hostname.clone(),
        });
    }
    let home = |line: HomeLine| {
        (
            line.hostname,
            Home {
                key: line.key,
                joined_at: line.joined,
            },
        )
    };
    Ok(file.home.into_iter().map(home).collect())
}

pub(super) fn read_invites(directory: &Path) -> Result<Vec<Invite>, RegistryError> {
    let file: InvitesFile = read(directory, INVITES)?;
    let invite = |line: InviteLine| Invite {
        hostname: line.hostname,
        secret_hash: line.secret_sha256,
        expires_at: line.expires,
        replaces: line.replaces,
    };
    Ok(file.invite.into_iter().map(invite).collect())
}

pub(super) fn write_homes(
    directory: &Path,
    homes: &BTreeMap<Hostname, Home>,
) -> Result<(), WriteError> {
    let line = |(hostname, home): (&Hostname, &Home)| HomeLine {
        hostname: hostname.clone(),
        key: home.key,
        joined: home.joined_at,
    };
    write(
        directory,
        HOMES,
        &HomesFile {
            home: homes.iter().map(line).collect(),
        },
    )
}

pub(super) fn write_invites(directory: &Path, invites: &[Invite]) -> Result<(), WriteError> {
    let line = |invite: &Invite| InviteLine {
        hostname: invite.hostname.clone(),
        secret_sha256: invite.secret_hash,
        expires: invite.expires_at,
        replaces: invite.replaces,
        _replace: false,
    };
    write(
        directory,
        INVITES,
        &InvitesFile {
            invite: invites.iter().map(line).collect(),
        },
    )
}

/// `None` while the key is not being rotated.
pub(super) fn read_rotation(directory: &Path) -> Result<Option<Rotation>, RegistryError> {
    let file: RotationFile = read(directory, ROTATION)?;
    let rotation = |line: RotationLine| Rotation {
        next: line.key,
        started: line.started,
        until: line.until,
    };
    Ok(file.rotation.map(rotation))
}

pub(super) fn write_rotation(directory: &Path, rotation: &Rotation) -> Result<(), WriteError> {
    let line = RotationLine {
        started: rotation.started,
        until: rotation.until,
        key: rotation.next.clone_key(),
    };
    let file = RotationFile {
        rotation: Some(line),
    };
    write(directory, ROTATION, &file)
}

pub(super) fn remove_rotation(directory: &Path) -> Result<(), WriteError> {
    let path = directory.join(ROTATION);
    let remove = || {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        File::open(directory)?.sync_all()
    };
    remove().map_err(|source| WriteError {
        path: path.clone(),
        source,
    })
}

/// Replaces the relay's key.
pub(super) fn write_key(
    directory: &Path,
    identity: &PrivatePkcs8KeyDer<'_>,
) -> Result<(), WriteError> {
    let path = directory.join(KEY_FILE);
    replace(directory, KEY_FILE, &pem(identity)).map_err(|source| WriteError { path, source })
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RotationFile {
    rotation: Option<RotationLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RotationLine {
    #[serde(serialize_with = "to_datetime", deserialize_with = "from_datetime")]
    started: u64,
    #[serde(serialize_with = "to_datetime", deserialize_with = "from_datetime")]
    until: u64,
    #[serde(serialize_with = "to_pem", deserialize_with = "from_pem")]
    key: PrivatePkcs8KeyDer<'static>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HomesFile {
    #[serde(default)]
    home: Vec<HomeLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HomeLine {
    hostname: Hostname,
    key: HomeKey,
    #[serde(serialize_with = "to_datetime", deserialize_with = "from_datetime")]
    joined: u64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InvitesFile {
    #[serde(default)]
    invite: Vec<InviteLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InviteLine {
    hostname: Hostname,
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    secret_sha256: [u8; 32],
    #[serde(serialize_with = "to_datetime", deserialize_with = "from_datetime")]
    expires: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaces: Option<HomeKey>,
    /// What was written before `replaces`. It does not say whose name may be taken, so none is.
    #[serde(default, rename = "replace", skip_serializing)]
    _replace: bool,
}

fn read<T: DeserializeOwned + Default>(directory: &Path, name: &str) -> Result<T, RegistryError> {
    let path = directory.join(name);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        Err(source) => return Err(RegistryError::Read { path, source }),
    };
    toml::from_str(&text).map_err(|source| RegistryError::Parse {
        path,
        source: Box::new(source),
    })
}

/// Replaces a file so that after a crash either the old or the new one is there, whole.
fn write<T: Serialize>(directory: &Path, name: &str, content: &T) -> Result<(), WriteError> {
    let path = directory.join(name);
    let text = toml::to_string(content).map_err(io::Error::other);
    text.and_then(|text| replace(directory, name, &text))
        .map_err(|source| WriteError { path, source })
}

/// Replaces a file of the relay's state, which nobody but its owner reads.
pub(crate) fn replace(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    // A command of root must not take the files from the user whom the relay runs as.
    let (of_directory, of_file) = (fs::metadata(directory)?, file.metadata()?);
    if of_directory.uid() != of_file.uid() {
        // Only root may; for others the file is of use as it is.
        let _ = fchown(&file, Some(of_directory.uid()), Some(of_directory.gid()));
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, directory.join(name))?;
    File::open(directory)?.sync_all()
}

fn to_datetime<S: Serializer>(unix: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::Error;
    let seconds = i64::try_from(*unix).map_err(Error::custom)?;
    let time = OffsetDateTime::from_unix_timestamp(seconds).map_err(Error::custom)?;
    let text = time.format(&Rfc3339).map_err(Error::custom)?;
    text.parse::<Datetime>()
        .map_err(Error::custom)?
        .serialize(serializer)
}

fn from_datetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = Datetime::deserialize(deserializer)?.to_string();
    let time = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| {
        D::Error::custom(format_args!(
            "`{text}` is not a time like 2026-01-31T12:00:00Z"
        ))
    })?;
    u64::try_from(time.unix_timestamp()).map_err(D::Error::custom)
}

fn to_pem<S: Serializer>(
    key: &PrivatePkcs8KeyDer<'static>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&pem(key))
}

fn from_pem<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<PrivatePkcs8KeyDer<'static>, D::Error> {
    let text = String::deserialize(deserializer)?;
    PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
        .ok()
        .filter(|key| public_key(key).is_ok())
        .ok_or_else(|| D::Error::custom("expected an Ed25519 private key as PEM"))
}

fn to_hex<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&HEXLOWER.encode(bytes))
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = HEXLOWER
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| D::Error::custom("expected 64 lower-case hexadecimal digits"))
}
