//! Devices with a client certificate that stopped coming although the way to home is open.
//!
//! Whoever imitates home's name towards such a device cannot pass its logins on: home hears nothing of
//! it any more. Time counts while a tunnel is up and this machine is awake, since home was started.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cloudless_store::{Device, DeviceId, Store, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::status::{Board, RelayState, chain};

/// A device that home ought to have heard of. Times are Unix milliseconds, and RFC 3339 in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilentDevice {
    /// Whose.
    pub user: String,
    /// Its name.
    pub name: String,
    /// When it last logged in, to about five minutes.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub last_seen_at: i64,
}

/// How long devices have been silent. A clone is another handle on the same.
#[derive(Clone)]
pub(crate) struct Silence {
    after: Duration,
    counts: Arc<Mutex<BTreeMap<DeviceId, Count>>>,
}

struct Count {
    device: SilentDevice,
    /// How long it could have come since it last did.
    open: Duration,
}

impl Silence {
    pub(crate) fn new(after: Duration) -> Self {
        Self {
            after,
            counts: Arc::default(),
        }
    }

    /// Those that have been silent for too long.
    pub(crate) fn devices(&self) -> Vec<SilentDevice> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = counts.values().filter(|count| count.open >= self.after);
        silent.map(|count| count.device.clone()).collect()
    }

    /// Notes that the way was open for this long. Returns how many have just become silent.
    fn count(&self, devices: Vec<Device>, open: Duration) -> usize {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = std::mem::take(&mut *counts);
        let mut n_new = 0;
        let expected = |it: &Device| it.has_certificate && it.revoked_at.is_none();
        for device in devices.into_iter().filter(expected) {
            // One that never came is not set up yet.
            let Some(Timestamp(last_seen_at)) = device.last_seen_at else {
                continue;
            };
            let before = known.remove(&device.id);
            let before = before.filter(|it| it.device.last_seen_at == last_seen_at);
            let before = before.map_or(Duration::ZERO, |it| it.open);
            let open = before + open;
            n_new += usize::from(before < self.after && open >= self.after);
            let silent = SilentDevice {
                user: device.user,
                name: device.name,
                last_seen_at,
            };
            let count = Count {
                device: silent,
                open,
            };
            counts.insert(device.id, count);
        }
        n_new
    }
}

/// Counts until `stop`, looking at each `interval`.
pub(crate) async fn watch(
    silence: Silence,
    store: Store,
    board: Board,
    interval: Duration,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // It stands still while the machine sleeps.
            () = tokio::time::sleep(interval) => {}
        }
        let is_open = |row: &crate::status::RelayStatus| row.state == RelayState::Connected;
        if !board.relays().iter().any(is_open) {
            continue;
        }
        let store = store.clone();
        match tokio::task::spawn_blocking(move || store.devices(None)).await {
            Ok(Ok(devices)) => {
                if silence.count(devices, interval) > 0 {
                    tracing::warn!(
                        "A device with a client certificate does not come any more; `cloudless home \
                         status` says which"
                    );
                }
            }
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "Cannot read the devices"),
            Err(error) => tracing::error!(%error, "Looking at the devices failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn silence_counts_while_the_way_is_open_and_ends_when_the_device_comes() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.create_user("me", Timestamp(1)).unwrap();
        for (number, name, certificate) in [
            (1, "phone", Some([1; 32])),
            (2, "never", Some([2; 32])),
            (3, "plain", None),
        ] {
            let secret = [number; 32];
            store
                .add_device_with_certificate("me", name, secret, certificate, Timestamp(1))
                .unwrap();
        }
        let log_in = |number: u8, at: i64| {
            let login = store.authenticate("me", &[number; 32], Timestamp(at));
            assert!(login.unwrap().is_some());
            // Any write is behind the note that it was seen.
            let _ = store.create_user("me", Timestamp(1));
        };
        log_in(1, 1_000);
        log_in(3, 1_000);
        let silence = Silence::new(3 * HOUR);
        let count = || silence.count(store.devices(None).unwrap(), HOUR);
        assert_eq!([count(), count()], [0, 0]);
        assert_eq!(silence.devices(), []);
        assert_eq!([count(), count()], [1, 0], "told once");
        let phone = SilentDevice {
            user: "me".to_owned(),
            name: "phone".to_owned(),
            last_seen_at: 1_000,
        };
        assert_eq!(silence.devices(), [phone]);
        log_in(1, 3_600_000);
        assert_eq!(count(), 0);
        assert_eq!(silence.devices(), []);
        assert_eq!([count(), count()], [0, 1]);
        store.revoke_device("me", "phone", Timestamp(9)).unwrap();
        count();
        assert_eq!(silence.devices(), []);
    }
}
