use cloudless_store::{AccountError, Actor, DeviceId, Precondition, Store, StoreError, UserId};

use super::{at, card};

pub(super) fn accounts(store: &Store) {
    let anna = store.create_user("anna", at(1)).unwrap();
    store.create_user("bert-2.x_y", at(2)).unwrap();
    let twice = store.create_user("anna", at(3));
    assert!(
        matches!(twice, Err(AccountError::UserExists { .. })),
        "{twice:?}"
    );
    for name in [
        "",
        "Anna",
        "-anna",
        ".anna",
        "an na",
        "a/b",
        "ä",
        &"a".repeat(64),
    ] {
        let invalid = store.create_user(name, at(3));
        assert!(
            matches!(invalid, Err(AccountError::InvalidName { .. })),
            "{name}: {invalid:?}"
        );
    }
    let users: Vec<_> = store
        .users()
        .unwrap()
        .into_iter()
        .map(|user| user.name)
        .collect();
    assert_eq!(users, ["anna", "bert-2.x_y"]);

    let phone = store.add_device("anna", "phone", [1; 32], at(10)).unwrap();
    store.add_device("anna", "laptop", [2; 32], at(11)).unwrap();
    let twice = store.add_device("anna", "phone", [3; 32], at(12));
    assert!(
        matches!(twice, Err(AccountError::DeviceExists { .. })),
        "{twice:?}"
    );
    let nobody = store.add_device("carl", "phone", [3; 32], at(12));
    assert!(
        matches!(nobody, Err(AccountError::NoSuchUser { .. })),
        "{nobody:?}"
    );
    for name in ["", " phone", "pho\nne", &"p".repeat(65)] {
        let invalid = store.add_device("anna", name, [3; 32], at(12));
        assert!(
            matches!(invalid, Err(AccountError::InvalidName { .. })),
            "{name}: {invalid:?}"
        );
    }

    let login = store
        .authenticate("anna", &[1; 32], at(100))
        .unwrap()
        .unwrap();
    assert_eq!((login.user, login.device), (anna, phone));
    assert_eq!(
        (login.user_name.as_str(), login.device_name.as_str()),
        ("anna", "phone")
    );
    assert_eq!(store.authenticate("anna", &[9; 32], at(100)).unwrap(), None);
    assert_eq!(store.authenticate("carl", &[1; 32], at(100)).unwrap(), None);
    let other_users_secret = store.authenticate("bert-2.x_y", &[1; 32], at(100)).unwrap();
    assert_eq!(other_users_secret, None);

    // Any write is behind the note that the phone was seen, so that it is there after it.
    let last_seen = |expected, now| {
        store.authenticate("anna", &[1; 32], at(now)).unwrap();
        store
            .add_device("bert-2.x_y", &now.to_string(), [7; 32], at(0))
            .unwrap();
        let devices = store.devices(Some("anna")).unwrap();
        let phone = devices
            .iter()
            .find(|device| device.name == "phone")
            .unwrap();
        assert_eq!(phone.last_seen_at, Some(at(expected)));
    };
    last_seen(100, 100);
    last_seen(100, 100 + 299_999);
    last_seen(100 + 300_000, 100 + 300_000);

    store.revoke_device("anna", "phone", at(200)).unwrap();
    assert_eq!(store.authenticate("anna", &[1; 32], at(201)).unwrap(), None);
    assert!(
        store
            .authenticate("anna", &[2; 32], at(201))
            .unwrap()
            .is_some()
    );
    writes_nothing(store, anna, phone);
    let twice = store.revoke_device("anna", "phone", at(202));
    assert!(
        matches!(twice, Err(AccountError::NoSuchDevice { .. })),
        "{twice:?}"
    );
    let again = store.add_device("anna", "phone", [4; 32], at(203)).unwrap();
    assert_ne!(again, phone);
    let login = store
        .authenticate("anna", &[4; 32], at(204))
        .unwrap()
        .unwrap();
    assert_eq!(login.device, again);
    let devices: Vec<_> = store
        .devices(Some("anna"))
        .unwrap()
        .into_iter()
        .map(|device| (device.user, device.name, device.revoked_at))
        .collect();
    let row = |name: &str, revoked_at| ("anna".to_owned(), name.to_owned(), revoked_at);
    assert_eq!(
        devices,
        [
            row("laptop", None),
            row("phone", Some(at(200))),
            row("phone", None)
        ]
    );
    assert_eq!(store.devices(Some("carl")).unwrap(), []);
}

/// A device that was revoked while its requests were under way.
fn writes_nothing(store: &Store, user: UserId, device: DeviceId) {
    let book = store.address_books(user).unwrap()[0].id;
    let actor = Actor {
        device: Some(device),
        at: at(201),
    };
    let new = || card(book, "revoked.vcf", b"new");
    let refused = [
        store.put_card(new(), Precondition::None, actor).map(drop),
        store.put_cards(vec![new()], actor).map(drop),
        store.keep_refused(book, "revoked.vcf", b"bad".to_vec(), "bad", actor),
        store
            .delete_card(book, "revoked.vcf", Precondition::None, actor)
            .map(drop),
    ];
    for refused in refused {
        assert!(
            matches!(refused, Err(StoreError::DeviceRevoked)),
            "{refused:?}"
        );
    }
    assert_eq!(store.versions(book, "revoked.vcf").unwrap(), []);
}
