//! Removes history that is older than the owner wants to keep.

use std::error::Error;
use std::time::Duration;

use cloudless_store::{Store, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::config::{Clock, unix_ms};

/// Removes what was replaced or deleted longer ago than `keep`, at the start and after each
/// `interval`, until `stop`.
pub(crate) async fn prune_daily(
    store: Store,
    keep: Duration,
    clock: Clock,
    interval: Duration,
    stop: CancellationToken,
) {
    let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    loop {
        let store = store.clone();
        let limit = Timestamp(unix_ms(clock()).saturating_sub(keep));
        match tokio::task::spawn_blocking(move || store.prune(limit)).await {
            Ok(Ok(pruned)) if pruned.versions > 0 => {
                tracing::info!(versions = pruned.versions, "Old history was removed");
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn(&error),
            Err(error) => warn(&error),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(interval) => {}
        }
    }
}

fn warn(error: &(dyn Error + 'static)) {
    tracing::warn!(
        error,
        "Old history cannot be removed; it is tried again tomorrow"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use cloudless_store::{Actor, NewCard};

    use super::*;

    #[tokio::test]
    async fn old_versions_go_and_what_is_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let user = store.create_user("me", Timestamp(0)).unwrap();
        let book = store.address_book(user, "contacts").unwrap().unwrap().id;
        for at in [1_000, 2_000, 9_000] {
            let card = NewCard {
                book,
                name: "ann.vcf".to_owned(),
                bytes: format!("BEGIN:VCARD\r\nFN:Ann {at}\r\nEND:VCARD\r\n").into_bytes(),
                uid: None,
                full_name: None,
                index: Vec::new(),
                text: String::new(),
            };
            let actor = Actor {
                device: None,
                at: Timestamp(at),
            };
            store.put_cards(vec![card], actor).unwrap();
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let stop = CancellationToken::new();
        let pruning = tokio::spawn(prune_daily(
            store.clone(),
            Duration::from_secs(5),
            Arc::new(move || now),
            Duration::from_secs(60 * 60),
            stop.clone(),
        ));
        stop.cancel();
        pruning.await.unwrap();
        let numbers = |store: &Store| {
            let versions = store.versions(book, "ann.vcf").unwrap().into_iter();
            versions.map(|version| version.number).collect::<Vec<_>>()
        };
        // The second one was replaced a second ago.
        assert_eq!(numbers(&store), [2, 3]);
    }
}
