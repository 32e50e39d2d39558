//! How long each device has been silent, over restarts of home.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloudless_store::DeviceId;
use serde::{Deserialize, Serialize};

use crate::certificate::{CertificateError, file};

/// The file in the state directory.
const FILE: &str = "silence.json";
/// Of more devices nothing is kept.
const ROWS_MAX: usize = 1_000;
/// So many rows take less.
const BYTES_MAX: u64 = 256 * 1024;

/// One device. It has no name here: the store knows it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    device: i64,
    /// The login since which time counts; of a device that never came the moment when it was added.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub(super) last_seen_at: i64,
    /// For how long it could have come since.
    open_ms: u64,
}

impl Kept {
    pub(super) fn new(device: DeviceId, last_seen_at: i64, open: Duration) -> Self {
        Self {
            device: device.number(),
            last_seen_at,
            open_ms: u64::try_from(open.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn open(&self) -> Duration {
        Duration::from_millis(self.open_ms)
    }
}

/// Where it is kept.
pub(super) fn file_in(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// What was kept, by the number of the device. Nothing, if there is no file.
pub(super) fn read(path: &Path) -> io::Result<BTreeMap<i64, Kept>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    // What is cut off is damaged.
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    let rows: Vec<Kept> = serde_json::from_slice(&bytes)?;
    Ok(rows.into_iter().map(|it| (it.device, it)).collect())
}

/// Replaces the file; a crash leaves the old or the new one.
pub(super) fn write(path: &Path, mut rows: Vec<Kept>) -> Result<(), CertificateError> {
    rows.truncate(ROWS_MAX);
    let text = serde_json::to_vec(&rows).map_err(|error| CertificateError::Write {
        path: path.to_owned(),
        source: error.into(),
    })?;
    file::write(path, &text, file::SECRET)
}
