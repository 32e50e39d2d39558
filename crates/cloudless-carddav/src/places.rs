//! How many requests a device may have under way, and how many large ones: what they hold in memory
//! has a bound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cloudless_store::{DeviceId, StoreError};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::refusal::Refusal;

/// The most requests of one device at a time, over all its connections. Clients have up to 10.
const OF_DEVICE_MAX: usize = 16;

/// The most requests of one device at a time whose bodies are longer than [`LARGE`]. The others wait
/// and are not read on: 16 bodies of 16 MiB would be more than home takes for all else.
const LARGE_OF_DEVICE_MAX: usize = 2;

/// A longer body, in bytes, is a large one. Most cards with a photo are smaller.
pub(crate) const LARGE: usize = 1024 * 1024;

/// How long a request waits for another one of its device to end.
const WAIT: Duration = Duration::from_secs(30);

/// The places of the devices that sent a request, at most as many as the store has devices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Mutex<HashMap<DeviceId, OfDevice>>>);

#[derive(Clone, Debug)]
struct OfDevice {
    requests: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// The right of a request to be under way, until its last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Place(Arc<Held>);

#[derive(Debug)]
struct Held {
    _request: OwnedSemaphorePermit,
    large_places: Arc<Semaphore>,
    large: OnceCell<OwnedSemaphorePermit>,
}

impl Places {
    /// Waits for a place.
    ///
    /// # Errors
    /// 503 when none becomes free.
    pub(crate) async fn take(&self, device: DeviceId) -> Result<Place, Refusal> {
        let places = {
            let mut devices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || OfDevice {
                requests: Arc::new(Semaphore::new(OF_DEVICE_MAX)),
                large: Arc::new(Semaphore::new(LARGE_OF_DEVICE_MAX)),
            };
            devices.entry(device).or_insert_with(new).clone()
        };
        let request = wait(places.requests).await.ok_or(StoreError::Busy)?;
        Ok(Place(Arc::new(Held {
            _request: request,
            large_places: places.large,
            large: OnceCell::new(),
        })))
    }
}

impl Place {
    /// That of a device's only request.
    #[cfg(test)]
    pub(crate) fn alone() -> Self {
        let places = Arc::new(Semaphore::new(1));
        let request = Arc::clone(&places).try_acquire_owned();
        Self(Arc::new(Held {
            _request: request.expect("nobody has it"),
            large_places: Arc::new(Semaphore::new(1)),
            large: OnceCell::new(),
        }))
    }

    /// Waits until the body of the request may be a large one. Returns whether it may.
    pub(crate) async fn allows_large(&self) -> bool {
        let Held {
            large,
            large_places,
            ..
        } = &*self.0;
        let place = || async { wait(Arc::clone(large_places)).await.ok_or(()) };
        large.get_or_try_init(place).await.is_ok()
    }
}

async fn wait(places: Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let place = tokio::time::timeout(WAIT, places.acquire_owned()).await;
    place.ok()?.ok()
}
