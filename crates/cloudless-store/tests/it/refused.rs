//! Bodies that were refused are kept, and do not fill the disk of somebody else.

use cloudless_store::{
    Access, Actor, DeviceId, HistoryQuery, Precondition, PropertyChanges, PropertyTarget, Store,
    StoreError, Timestamp, Transfer, VersionKind,
};

use crate::{OWNER, card, new_book};

fn device(store: &Store, user: &str) -> DeviceId {
    let mut hash = [0; 32];
    hash[..user.len()].copy_from_slice(user.as_bytes());
    store.add_device(user, "phone", hash, Timestamp(0)).unwrap()
}

#[test]
fn who_may_only_read_does_not_fill_the_history() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "owner");
    new_book(&store, "reader");
    let owner = device(&store, "owner");
    let reader = device(&store, "reader");
    store.share_book(book, "reader", Access::ReadOnly).unwrap();
    let keep = |device, name: &str, bytes: Vec<u8>, at| {
        let actor = Actor {
            device: Some(device),
            at: Timestamp(at),
        };
        store.keep_refused(book, name, bytes, "no", actor).unwrap();
    };
    let kept = |device| {
        let query = HistoryQuery {
            device: Some(device),
            limit: usize::MAX,
            ..HistoryQuery::default()
        };
        let rows = store.history(book, &query).unwrap();
        assert!(rows.iter().all(|row| row.kind == VersionKind::Refused));
        rows
    };

    for number in 0..1_100_i64 {
        let body = format!("body {number}");
        keep(
            reader,
            &format!("{number}.vcf"),
            body.clone().into(),
            number,
        );
        keep(owner, "a.vcf", body.into(), number);
    }
    let rows = kept(reader);
    assert_eq!(rows.len(), 1_000);
    assert_eq!(rows[0].name, "1099.vcf", "the newest is there");
    assert_eq!(kept(owner).len(), 1_100, "who may write loses nothing");

    let mebibyte = 1024 * 1024;
    for number in 0..9_u8 {
        keep(reader, "large.vcf", vec![number; 10 * mebibyte], 2_000);
    }
    let bytes: u64 = kept(reader).iter().filter_map(|row| row.size).sum();
    assert!(bytes <= 64 * mebibyte as u64, "{bytes}");
    assert_eq!(kept(reader).len(), 6);
    keep(reader, "larger.vcf", vec![0; 65 * mebibyte], 2_001);
    assert_eq!(kept(reader)[0].name, "larger.vcf", "the newest always is");
    assert_eq!(kept(reader).len(), 1);
}

#[test]
fn a_name_that_no_card_can_have_is_kept_in_another_spelling() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "owner");
    for (name, spelling) in [
        ("a/b\0.vcf", "a%2Fb%00.vcf"),
        (&"a".repeat(300), &"a".repeat(255)),
    ] {
        store
            .keep_refused(book, name, b"body".to_vec(), "no", OWNER)
            .unwrap();
        let versions = store.versions(book, spelling).unwrap();
        assert_eq!(versions[0].bytes.as_deref(), Some(&b"body"[..]), "{name}");
    }
}

/// A request was allowed, and the share ends before its turn to write comes.
#[test]
fn a_share_that_ends_meanwhile_gives_no_more_right_to_write() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let theirs = new_book(&store, "owner");
    let own = new_book(&store, "reader");
    let actor = Actor {
        device: Some(device(&store, "reader")),
        at: Timestamp(2),
    };
    let put = |book, name| store.put_card(card(book, name, b"x"), Precondition::None, actor);
    let transfer = |from_book, to_book| Transfer {
        from_book,
        from_name: "a.vcf".to_owned(),
        to_book,
        to_name: "moved.vcf".to_owned(),
        overwrite: true,
        source: Precondition::None,
        destination: Precondition::None,
    };
    store
        .share_book(theirs, "reader", Access::ReadWrite)
        .unwrap();
    put(theirs, "a.vcf").unwrap();
    put(own, "a.vcf").unwrap();

    for access in [Some(Access::ReadOnly), None] {
        match access {
            Some(access) => store.share_book(theirs, "reader", access).unwrap(),
            None => assert!(store.unshare_book(theirs, "reader").unwrap()),
        }
        let before = store.changes_since(theirs, Some(0), None).unwrap();
        let refused = [
            put(theirs, "late.vcf").map(drop),
            store
                .delete_card(theirs, "a.vcf", Precondition::None, actor)
                .map(drop),
            store.move_card(transfer(theirs, own), actor).map(drop),
            store.move_card(transfer(own, theirs), actor).map(drop),
            store.copy_card(transfer(own, theirs), actor).map(drop),
            store
                .change_properties(
                    PropertyTarget::Card(theirs, "a.vcf".to_owned()),
                    PropertyChanges::default(),
                    Precondition::None,
                    actor,
                )
                .map(drop),
        ];
        for (number, refused) in refused.into_iter().enumerate() {
            assert!(
                matches!(refused, Err(StoreError::ShareWithdrawn)),
                "{access:?}, {number}: {refused:?}"
            );
        }
        assert_eq!(store.changes_since(theirs, Some(0), None).unwrap(), before);
    }
    let late = store.versions(theirs, "late.vcf").unwrap();
    assert!(
        late.iter()
            .all(|version| version.kind == VersionKind::Refused)
            && !late.is_empty(),
        "the body is in the history: {late:?}"
    );
    store
        .delete_card(theirs, "a.vcf", Precondition::None, OWNER)
        .unwrap();
}
