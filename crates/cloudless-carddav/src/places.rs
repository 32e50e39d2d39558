//! How many requests a device may have under way: what they hold in memory has a bound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cloudless_store::{DeviceId, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::refusal::Refusal;

/// The most requests of one device at a time, over all its connections. Clients have up to 10.
const OF_DEVICE_MAX: usize = 16;

/// How long a request waits for another one of its device to end.
const WAIT: Duration = Duration::from_secs(30);

/// The places of the devices that sent a request, at most as many as the store has devices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Mutex<HashMap<DeviceId, Arc<Semaphore>>>>);

/// The right of a request to be under way, until it is dropped.
pub(crate) type Place = OwnedSemaphorePermit;

impl Places {
    /// Waits for a place.
    ///
    /// # Errors
    /// 503 when none becomes free.
    pub(crate) async fn take(&self, device: DeviceId) -> Result<Place, Refusal> {
        let places = {
            let mut devices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(OF_DEVICE_MAX));
            Arc::clone(devices.entry(device).or_insert_with(new))
        };
        match tokio::time::timeout(WAIT, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(StoreError::Busy.into()),
        }
    }
}
