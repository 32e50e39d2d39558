//! Indexes cards that an earlier version of the program stored, and restored ones, while home
//! serves.

use std::error::Error;
use std::sync::Arc;

use cloudless_store::Store;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Indexes what is not indexed, at the start and whenever cards were `restored`, until `stop`.
pub(crate) async fn keep_up(store: Store, restored: Arc<Notify>, stop: CancellationToken) {
    loop {
        index_all(store.clone(), &stop).await;
        tokio::select! {
            () = stop.cancelled() => break,
            () = restored.notified() => {}
        }
    }
}

/// Indexes a few cards at a time until all are done. Queries are only slower before, so that a
/// failure is told and ends nothing.
async fn index_all(store: Store, stop: &CancellationToken) {
    let mut more = true;
    while more && !stop.is_cancelled() {
        let store = store.clone();
        let indexed = tokio::task::spawn_blocking(move || cloudless_carddav::index_cards(&store));
        more = match indexed.await {
            Ok(Ok(more)) => more,
            Ok(Err(error)) => give_up(&error),
            Err(error) => give_up(&error),
        };
    }
}

fn give_up(error: &(dyn Error + 'static)) -> bool {
    tracing::warn!(
        error,
        "Old cards cannot be indexed, so that searches are slow"
    );
    false
}

#[cfg(test)]
mod tests {
    use cloudless_store::{Actor, NewCard, Timestamp};

    use super::*;

    #[tokio::test]
    async fn old_cards_are_indexed_to_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let at = Timestamp(0);
        let user = store.create_user("me", at).unwrap();
        let book = store.address_book(user, "contacts").unwrap().unwrap().id;
        let cards = (0..40).map(|number| NewCard {
            book,
            name: format!("{number}.vcf"),
            bytes: format!("BEGIN:VCARD\r\nFN:Ann {number}\r\nEND:VCARD\r\n").into_bytes(),
            uid: None,
            full_name: None,
            index: Vec::new(),
            text: String::new(),
        });
        let actor = Actor { device: None, at };
        store.put_cards(cards.collect(), actor).unwrap();
        index_all(store.clone(), &CancellationToken::new()).await;
        assert_eq!(store.cards_without_index(1).unwrap(), []);
        assert_eq!(store.search(book, "ann 39", 9).unwrap().len(), 1);
    }
}
