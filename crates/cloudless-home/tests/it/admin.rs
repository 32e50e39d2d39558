//! The admin commands, over the socket and without one.

use cloudless_home::admin::{Command, DeviceAdded, ImportCard, ImportOutcome, Reply};
use cloudless_home::status::RelayState;
use data_encoding::BASE64;
use tokio::net::TcpStream;

use crate::fixture::{HOST, Home, now};
use crate::offline::{Offline, card};
use crate::relay::FakeRelay;
use crate::visitor::{http1, request};

#[test]
fn a_device_gets_a_password_and_addresses() {
    let offline = Offline::new();
    let add = |user: &str, name: &str, create_user| {
        let (user, name) = (user.to_owned(), name.to_owned());
        offline.run(Command::DeviceAdd {
            user,
            name,
            create_user,
            client_certificate: false,
        })
    };
    let Reply::DeviceAdded(DeviceAdded {
        password,
        public_urls,
        ..
    }) = add("me", "phone", false)
    else {
        panic!();
    };
    assert_eq!(password.expose().len(), 26);
    assert!(!format!("{password:?}").contains(password.expose()));
    assert_eq!(public_urls, [format!("https://{HOST}:8443/")]);
    assert!(matches!(add("me", "phone", false), Reply::Error { .. }));
    assert!(matches!(add("you", "phone", false), Reply::Error { .. }));
    assert!(matches!(add("you", "phone", true), Reply::DeviceAdded(_)));
    assert!(matches!(add("you", "laptop", true), Reply::DeviceAdded(_)));
}

#[test]
fn lists_are_complete_and_unknown_users_told() {
    let offline = Offline::new();
    let device = Command::DeviceAdd {
        user: "me".into(),
        name: "a".into(),
        create_user: false,
        client_certificate: false,
    };
    offline.run(device);
    offline.run(Command::DeviceRevoke {
        user: "me".into(),
        name: "a".into(),
    });
    let Reply::Devices { devices } = offline.run(Command::DeviceList { user: None }) else {
        panic!();
    };
    assert_eq!(
        (devices[0].name.as_str(), devices[0].revoked_at.is_some()),
        ("a", true)
    );
    let Reply::Users { users } = offline.run(Command::Users) else {
        panic!()
    };
    assert_eq!(users[0].name, "me");
    let Reply::Books { books, .. } = offline.run(Command::Books { user: None }) else {
        panic!();
    };
    assert_eq!(books[0].slug, "contacts");
    let nobody = || "nobody".to_owned();
    assert!(
        offline
            .error(Command::Books {
                user: Some(nobody())
            })
            .contains("nobody")
    );
    assert!(
        offline
            .error(Command::DeviceList {
                user: Some(nobody())
            })
            .contains("nobody")
    );
    let (user, book) = (Some("me".to_owned()), "other".to_owned());
    let error = offline.error(Command::CardsGet {
        user,
        book,
        after: None,
        limit: 1,
    });
    assert!(error.contains("other"), "{error}");
}

#[test]
fn importing_twice_changes_nothing() {
    let offline = Offline::new();
    let (a, b) = (card("a", "A"), card("urn:uuid:b", "B"));
    let anonymous = "BEGIN:VCARD\nFN:No UID\nEND:VCARD\n";
    let cards = [
        (None, a.as_str()),
        (None, b.as_str()),
        (Some("x.vcf"), anonymous),
    ];
    let first = offline.import(&cards);
    assert!(
        first
            .iter()
            .all(|(_, outcome)| *outcome == ImportOutcome::Created),
        "{first:?}"
    );
    assert_eq!(first[0].0.as_deref(), Some("a.vcf"));
    // A colon is no good in file names, so this one is named by a hash.
    assert_eq!(first[1].0.as_ref().unwrap().len(), 32 + ".vcf".len());
    let second = offline.import(&cards);
    assert!(
        second
            .iter()
            .all(|(_, outcome)| *outcome == ImportOutcome::Unchanged),
        "{second:?}"
    );
    assert_eq!(first[2].0, second[2].0);
}

#[test]
fn the_same_uid_is_updated_under_its_name() {
    let offline = Offline::new();
    offline.import(&[(Some("mine.vcf"), &card("a", "Old"))]);
    let outcomes = offline.import(&[(Some("else.vcf"), &card("a", "New"))]);
    assert_eq!(
        outcomes,
        [(Some("mine.vcf".into()), ImportOutcome::Updated)]
    );
    // Twice in one import: the later one stays.
    let outcomes = offline.import(&[(None, &card("b", "First")), (None, &card("b", "Second"))]);
    assert_eq!(outcomes[0], (Some("b.vcf".into()), ImportOutcome::Created));
    assert_eq!(outcomes[1], (Some("b.vcf".into()), ImportOutcome::Updated));
}

#[test]
fn a_taken_name_is_never_overwritten_by_another_card() {
    let offline = Offline::new();
    offline.import(&[(Some("b.vcf"), &card("a", "A"))]);
    let outcomes = offline.import(&[(Some("b.vcf"), &card("b", "B")), (None, &card("b", "B"))]);
    assert_eq!(outcomes[0].1, ImportOutcome::Created);
    assert_eq!(outcomes[1].1, ImportOutcome::Unchanged);
    assert_ne!(outcomes[0].0.as_deref(), Some("b.vcf"));
}

#[test]
fn bad_cards_are_told_and_the_rest_imported() {
    let offline = Offline::new();
    let outcomes = offline.import(&[
        (None, "no card"),
        (None, &card("a", "A")),
        (None, "BEGIN:VCARD\nFN:cut"),
        (Some("../../etc/passwd"), &card("../b", "B")),
    ]);
    assert!(matches!(outcomes[0].1, ImportOutcome::Refused { .. }));
    assert_eq!(outcomes[1].1, ImportOutcome::Created);
    assert!(matches!(outcomes[2].1, ImportOutcome::Refused { .. }));
    assert_eq!(outcomes[3].1, ImportOutcome::Created);
    assert!(!outcomes[3].0.as_ref().unwrap().contains('/'));
    let wrong = ImportCard {
        name: None,
        bytes_base64: "%".into(),
    };
    let command = Command::CardsPut {
        user: None,
        book: "contacts".into(),
        cards: vec![wrong],
    };
    let Reply::CardsPut { outcomes } = offline.run(command) else {
        panic!()
    };
    assert!(matches!(outcomes[0].outcome, ImportOutcome::Refused { .. }));
}

#[test]
fn an_export_pages_through_everything_byte_for_byte() {
    let offline = Offline::new();
    let cards: Vec<_> = (0..25)
        .map(|index| card(&format!("c{index:02}"), "é"))
        .collect();
    let imports: Vec<_> = cards.iter().map(|card| (None, card.as_str())).collect();
    offline.import(&imports);
    let mut exported = Vec::new();
    let mut after = None;
    loop {
        let (user, book) = (None, "contacts".into());
        let command = Command::CardsGet {
            user,
            book,
            after: after.clone(),
            limit: 10,
        };
        let Reply::Cards { cards, more } = offline.run(command) else {
            panic!()
        };
        assert!(cards.len() <= 10);
        after = cards.last().map(|card| card.name.clone());
        let bytes = |text: &String| BASE64.decode(text.as_bytes()).unwrap();
        exported.extend(cards.iter().map(|card| bytes(&card.bytes_base64)));
        if !more {
            break;
        }
    }
    let cards: Vec<_> = cards.into_iter().map(String::into_bytes).collect();
    assert_eq!(exported, cards);
}

#[tokio::test]
async fn the_status_tells_relays_certificates_and_addresses() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let _session = relay.welcome(HOST).await;
    home.relay_status(|row| row.state == RelayState::Connected && row.since > 0)
        .await;
    let status = home.status().await;
    assert!(status.running);
    assert_eq!(status.public_urls, [format!("https://{HOST}/")]);
    assert_eq!(status.local_urls, [format!("http://{}/", home.local)]);
    let expires_at = status.certificates[0].expires_at.unwrap();
    let days = (expires_at - now().0) / 86_400_000;
    assert!((390..397).contains(&days), "{days}");
}

#[tokio::test]
async fn a_revoked_device_is_refused_at_once() {
    let home = Home::start(Vec::new()).await;
    let ask = async || {
        let stream = TcpStream::connect(home.local).await.unwrap();
        let mut propfind = request("PROPFIND", "/dav/", &home.authorization);
        propfind
            .headers_mut()
            .insert("host", "localhost".parse().unwrap());
        http1(stream, propfind).await.status()
    };
    assert_eq!(ask().await, 207);
    let revoke = Command::DeviceRevoke {
        user: "me".into(),
        name: "phone".into(),
    };
    assert!(matches!(
        home.ask(&revoke).await,
        Reply::DeviceRevoked { .. }
    ));
    assert_eq!(ask().await, 401);
}

#[tokio::test]
async fn passwords_made_over_the_socket_differ_and_bad_lines_are_told() {
    let home = Home::start(Vec::new()).await;
    let mut passwords = Vec::new();
    for name in ["a", "b"] {
        let command = Command::DeviceAdd {
            user: "me".into(),
            name: name.into(),
            create_user: false,
            client_certificate: false,
        };
        let Reply::DeviceAdded(added) = home.ask(&command).await else {
            panic!()
        };
        passwords.push(added.password);
    }
    assert_ne!(passwords[0], passwords[1]);
    for line in ["garbage\n", "{}\n", "{\"command\":\"fly\"}\n"] {
        let reply = home.ask_bytes(line.as_bytes()).await;
        assert!(reply.contains("cannot read the command"), "{reply}");
    }
}
