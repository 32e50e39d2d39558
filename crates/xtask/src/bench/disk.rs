//! What a durable write costs on the disk alone: the floor of every PUT.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::cards;
use super::statistics::median;

const N_EACH_TURN: usize = 20;
/// A page of SQLite with the head that its write-ahead log puts before it.
const FRAME: usize = 4_096 + 24;
/// The log is written from its beginning again when it has been brought into the database.
const LOG_FRAMES: usize = 1_000;
/// About as many pages as one PUT changes.
pub(crate) const N_FRAMES: usize = 20;

/// A folder on the disk that the servers write to.
pub(crate) struct Disk {
    appended: PathBuf,
    log: PathBuf,
    n_transactions: usize,
    appends: Vec<Duration>,
    overwrites: Vec<Duration>,
}

/// Medians.
#[derive(Clone, Copy)]
pub(crate) struct Floor {
    /// A card is appended to a file and brought to the disk.
    pub(crate) append: Duration,
    /// The pages of a small transaction are written over old ones in a log and brought to the disk.
    pub(crate) overwrite: Duration,
}

impl Disk {
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let log = folder.join("log");
        fs::write(&log, vec![1; FRAME * LOG_FRAMES])
            .and_then(|()| File::open(&log)?.sync_all())
            .with_context(|| format!("write {}", log.display()))?;
        Ok(Self {
            appended: folder.join("appended"),
            log,
            n_transactions: 0,
            appends: Vec::new(),
            overwrites: Vec::new(),
        })
    }

    /// Writes for a moment, and tells what it took in that moment.
    pub(crate) fn measure(&mut self) -> Result<Floor> {
        let n_before = self.appends.len();
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| format!("open {}", path.display()))
        };
        let mut appended = open(&self.appended)?;
        let log = File::options().write(true).open(&self.log);
        let log = log.with_context(|| format!("open {}", self.log.display()))?;
        for _ in 0..N_EACH_TURN {
            let started = Instant::now();
            appended
                .write_all(&[0; cards::SIZE])
                .context("append to a file")?;
            appended.sync_data().context("fsync a file")?;
            self.appends.push(started.elapsed());

            let started = Instant::now();
            for frame in 0..N_FRAMES {
                let at = (self.n_transactions * N_FRAMES + frame) % LOG_FRAMES * FRAME;
                log.write_all_at(&[2; FRAME], at as u64)
                    .context("write over a part of a file")?;
            }
            log.sync_data().context("fsync a file")?;
            self.overwrites.push(started.elapsed());
            self.n_transactions += 1;
        }
        Ok(Floor {
            append: median(&self.appends[n_before..]),
            overwrite: median(&self.overwrites[n_before..]),
        })
    }

    /// Removes the files and tells what was measured.
    pub(crate) fn finish(self) -> Result<Floor> {
        for path in [&self.appended, &self.log] {
            fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
        }
        Ok(Floor {
            append: median(&self.appends),
            overwrite: median(&self.overwrites),
        })
    }
}

impl Floor {
    /// The cheaper one.
    pub(crate) fn least(self) -> Duration {
        self.append.min(self.overwrite)
    }
}
