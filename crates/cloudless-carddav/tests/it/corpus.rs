//! The test cards against the service itself, and what the history keeps of them.

use std::sync::Arc;

use cloudless_store::VersionKind;

use crate::harness::{PASSWORD, Server};
use crate::real_cards;
use crate::sessions::Account;

#[tokio::test]
async fn every_card_comes_back_byte_for_byte_and_breaks_no_multistatus() {
    let mut server = Arc::new(Server::start());
    let account = Account {
        user: "me".to_owned(),
        password: PASSWORD.to_owned(),
    };
    let (stored, refused) = real_cards::put(&account, &mut server, real_cards::all()).await;
    real_cards::sync(&account, &mut server, &stored).await;
    for (name, bytes) in refused {
        let versions = server.store.versions(server.book().id, &name).unwrap();
        assert_eq!(versions.len(), 1, "{name}");
        assert_eq!(versions[0].kind, VersionKind::Refused);
        assert_eq!(versions[0].bytes.as_ref(), Some(&bytes), "{name}");
    }
}
