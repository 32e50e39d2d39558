//! Devices with a client certificate that do not come, or never came, although the way to home is open.
//!
//! Whoever imitates home's name towards such a device cannot pass its logins on: home hears nothing of
//! it any more. Time counts while a tunnel is up and this machine is awake, by no clock that can be
//! set, and over restarts of home: a laptop is rarely on for days on end.

mod kept;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloudless_store::{Device, DeviceId, Store};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use self::kept::Kept;
use crate::status::{Board, chain};

/// So much time that has been counted is lost at most when home is killed.
const UNSAVED_MAX: Duration = Duration::from_secs(10 * 60);
/// Looks do not come faster than this, however little silence is allowed.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// A device that home ought to have heard of. Times are Unix milliseconds, and RFC 3339 in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilentDevice {
    /// Whose.
    pub user: String,
    /// Its name.
    pub name: String,
    /// When it was added.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub created_at: i64,
    /// When it last logged in, to about five minutes; `None` if it never did.
    #[serde(default, with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub last_seen_at: Option<i64>,
}

impl SilentDevice {
    /// The moment since which it is silent.
    pub(crate) fn since(&self) -> i64 {
        self.last_seen_at.unwrap_or(self.created_at)
    }
}

/// How long devices have been silent. A clone is another handle on the same.
#[derive(Clone)]
pub(crate) struct Silence {
    after: Duration,
    path: PathBuf,
    counts: Arc<Mutex<Counts>>,
}

struct Counts {
    devices: BTreeMap<DeviceId, Count>,
    /// What was counted before the start, until the first look.
    kept: BTreeMap<i64, Kept>,
    /// The time that was counted since the file was written.
    unsaved: Duration,
    /// Whether the file is damaged, has a device that is not counted any more, or lacks one that
    /// became silent.
    is_outdated: bool,
}

struct Count {
    device: SilentDevice,
    /// How long it could have come since it last did, or since it was added.
    open: Duration,
}

impl Silence {
    /// Goes on from what was counted before, as the state directory has it. A file that is damaged is
    /// told, and counting begins anew. Blocks on the disk.
    pub(crate) fn open(after: Duration, state_dir: &Path) -> Self {
        let path = kept::file_in(state_dir);
        let read = kept::read(&path).inspect_err(|error| {
            tracing::warn!(
                path = %path.display(), %error,
                "How long devices have been silent cannot be read, and is counted anew"
            );
        });
        let counts = Counts {
            devices: BTreeMap::new(),
            is_outdated: read.is_err(),
            kept: read.unwrap_or_default(),
            unsaved: Duration::ZERO,
        };
        Self {
            after,
            path,
            counts: Arc::new(Mutex::new(counts)),
        }
    }

    /// Those that have been silent for too long.
    pub(crate) fn devices(&self) -> Vec<SilentDevice> {
        let counts = self.lock();
        let silent = counts.devices.values().filter(|it| it.open >= self.after);
        silent.map(|count| count.device.clone()).collect()
    }

    /// Notes that the way was open for this long. Returns how many are silent that were not at the
    /// look before.
    fn count(&self, devices: Vec<Device>, open: Duration) -> usize {
        let mut counts = self.lock();
        let mut known = std::mem::take(&mut counts.devices);
        let mut kept = std::mem::take(&mut counts.kept);
        let mut n_new = 0;
        let expected = |it: &Device| it.has_certificate && it.revoked_at.is_none();
        for device in devices.into_iter().filter(expected) {
            // One that never came may have been led astray from its first day on.
            let device_now = SilentDevice {
                user: device.user,
                name: device.name,
                created_at: device.created_at.0,
                last_seen_at: device.last_seen_at.map(|at| at.0),
            };
            let since = device_now.since();
            // Another time than before, earlier or later, is that of a new login.
            let known = known.remove(&device.id);
            let known = known.filter(|it| it.device.since() == since);
            let known = known.map(|it| it.open);
            let kept = kept.remove(&device.id.number());
            let kept = kept.filter(|it| it.last_seen_at == since);
            let kept = kept.map(|it| it.open());
            let before = known.or(kept);
            let open = before.unwrap_or_default().saturating_add(open);
            let was_silent = known.is_some_and(|it| it >= self.after);
            n_new += usize::from(!was_silent && open >= self.after);
            let count = Count {
                device: device_now,
                open,
            };
            counts.devices.insert(device.id, count);
        }
        counts.is_outdated |= n_new > 0 || !known.is_empty() || !kept.is_empty();
        if !counts.devices.is_empty() {
            counts.unsaved = counts.unsaved.saturating_add(open);
        }
        n_new
    }

    /// Writes what was counted, if there is as much as `unsaved_max` of it or other news. Blocks on
    /// the disk.
    fn save(&self, unsaved_max: Duration) {
        let mut counts = self.lock();
        if !counts.is_outdated && (counts.unsaved.is_zero() || counts.unsaved < unsaved_max) {
            return;
        }
        // A disk that takes nothing is tried again when there is more to write.
        counts.is_outdated = false;
        counts.unsaved = Duration::ZERO;
        let rows = counts.devices.iter();
        let row = |(id, it): (&DeviceId, &Count)| Kept::new(*id, it.device.since(), it.open);
        let rows: Vec<_> = rows.map(row).collect();
        drop(counts);
        if let Err(error) = kept::write(&self.path, rows) {
            tracing::warn!(
                error = chain(&error),
                "How long devices have been silent cannot be kept"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts until `stop`, looking at each `interval`, or more often where little silence is allowed.
pub(crate) async fn watch(
    silence: Silence,
    store: Store,
    board: Board,
    interval: Duration,
    stop: CancellationToken,
) {
    let interval = interval.min((silence.after / 4).max(INTERVAL_MIN));
    // What was counted before is told at once.
    let mut open = Duration::ZERO;
    loop {
        look(&silence, &store, open).await;
        tokio::select! {
            () = stop.cancelled() => break,
            // It stands still while the machine sleeps.
            () = tokio::time::sleep(interval) => {}
        }
        open = if board.is_connected() {
            interval
        } else {
            Duration::ZERO
        };
    }
    let saved = tokio::task::spawn_blocking(move || silence.save(Duration::ZERO)).await;
    if let Err(error) = saved {
        tracing::error!(%error, "Keeping how long devices have been silent failed");
    }
}

async fn look(silence: &Silence, store: &Store, open: Duration) {
    let (silence, store) = (silence.clone(), store.clone());
    let looked = tokio::task::spawn_blocking(move || {
        let n_new = silence.count(store.devices(None)?, open);
        silence.save(UNSAVED_MAX);
        Ok::<_, cloudless_store::StoreError>(n_new)
    });
    match looked.await {
        Ok(Ok(0)) => {}
        Ok(Ok(_)) => tracing::warn!(
            "A device with a client certificate does not come; `cloudless home status` says which"
        ),
        Ok(Err(error)) => tracing::warn!(error = chain(&error), "Cannot read the devices"),
        Err(error) => tracing::error!(%error, "Looking at the devices failed"),
    }
}

#[cfg(test)]
mod tests;
