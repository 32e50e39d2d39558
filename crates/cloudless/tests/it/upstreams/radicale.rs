//! Radicale behind home, below a path and at a name of its own, synced by vdirsyncer.

use std::fs;

use super::Curl;
use super::peer::Peer;
use crate::binary::on;
use crate::cards;
use crate::pair::{HOSTNAME, Pair};
use crate::vdirsyncer::{self, Account, Folder};

const BOOK: &str = r#"<?xml version="1.0"?><mkcol xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><set><prop>
    <resourcetype><collection/><C:addressbook/></resourcetype><displayname>Contacts</displayname></prop></set></mkcol>"#;
const GENERATED: usize = 40;

#[test]
fn below_a_path_of_a_name_that_home_answers() {
    let place = "path = \"/radicale/\"\nstrip_prefix = true";
    let Some((pair, peer)) = sync(place, "/radicale/") else {
        return;
    };
    // Home has the rest of the name.
    let user = format!("me:{}", pair.password());
    let own = Curl::new(&pair, "PROPFIND")
        .header("depth: 0")
        .with(&["--user", &user]);
    assert_eq!(own.ask("/dav/").status, 207);
    let theirs = Curl::new(&pair, "PROPFIND")
        .header("depth: 0")
        .with(&["--user", &user]);
    assert_eq!(
        theirs.ask("/radicale/me/").status,
        401,
        "its own logins count"
    );
    let slash = Curl::new(&pair, "GET").ask("/radicale");
    assert_eq!(slash.status, 308, "{slash:?}");
    tells_that_it_is_away(&pair, peer);
}

#[test]
fn at_a_name_of_its_own() {
    let place = format!("hostname = \"{HOSTNAME}\"");
    let Some((pair, _peer)) = sync(&place, "/") else {
        return;
    };
    // Nothing of home's is there.
    let well_known = Curl::new(&pair, "PROPFIND").ask("/.well-known/carddav");
    assert!(!well_known.text.contains("/dav/"), "{well_known:?}");
    let own = Curl::new(&pair, "PROPFIND").ask("/dav/");
    assert!(own.text.contains("Radicale"), "{own:?}");
}

/// Two folders agree through a Radicale that is behind home.
fn sync(place: &str, root: &str) -> Option<(Pair, Peer)> {
    let program = vdirsyncer::program()?;
    let peer = Peer::radicale()?;
    let table = format!("[[upstream]]\n{place}\nserver = \"{}\"\n", peer.url());
    let pair = Pair::start_configured(HOSTNAME, &table);

    let login = ["--user", "me:secret"];
    let make = Curl::new(&pair, "MKCOL")
        .with(&login)
        .with(&["--data-binary", BOOK]);
    let made = make.ask(&format!("{root}me/contacts/"));
    assert_eq!(made.status, 201, "{made:?}");

    let account = Account {
        url: format!("https://{HOSTNAME}:{}{root}", pair.relay_port()),
        user: "me",
        password: "secret".to_owned(),
        ca_file: pair.ca_file(),
    };
    let laptop = Folder::new(&program, pair.folder("laptop"), account.clone());
    let desktop = Folder::new(&program, pair.folder("desktop"), account);
    for (name, card) in cards::varied(GENERATED) {
        laptop.write(&name, &card);
    }
    laptop.discover();
    laptop.sync();
    desktop.discover();
    desktop.sync();
    assert_eq!(desktop.read().len(), GENERATED);
    // Edits and deletions on both sides.
    laptop.edit("card-1", "NOTE:edited on the laptop");
    laptop.remove("card-2");
    laptop.sync();
    desktop.sync();
    let on_desktop = desktop.read();
    assert_eq!(on_desktop.len(), GENERATED - 1);
    let has_edit = |card: &Vec<u8>| String::from_utf8_lossy(card).contains("edited on the laptop");
    assert_eq!(on_desktop.values().filter(|it| has_edit(it)).count(), 1);
    desktop.edit("card-3", "NOTE:edited on the desktop");
    desktop.remove("card-4");
    desktop.sync();
    laptop.sync();
    let on_laptop = laptop.read();
    assert_eq!(on_laptop.len(), GENERATED - 2);
    for note in ["edited on the laptop", "edited on the desktop"] {
        let has_edit = |card: &&Vec<u8>| String::from_utf8_lossy(card).contains(note);
        assert_eq!(on_laptop.values().filter(has_edit).count(), 1, "{note}");
    }
    for gone in ["card-2", "card-4"] {
        assert!(!on_laptop.contains_key(gone), "{gone}");
    }

    // A URL in a header field, which Radicale compares with what it is told of the visitor's.
    let card = format!("{root}me/contacts/moved.vcf");
    let put = Curl::new(&pair, "PUT")
        .with(&login)
        .header("content-type: text/vcard");
    let body = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:moved\r\nFN:M\r\nN:M;;;;\r\nEND:VCARD\r\n";
    let put = put.with(&["--data-binary", body]).ask(&card);
    assert_eq!(put.status, 201, "{put:?}");
    let port = pair.relay_port();
    let destination = format!("https://{HOSTNAME}:{port}{root}me/contacts/there.vcf");
    let moved = Curl::new(&pair, "MOVE").with(&login);
    let moved = moved
        .header(&format!("destination: {destination}"))
        .ask(&card);
    assert_eq!(moved.status, 201, "{moved:?}");

    let status = on(&pair.folder("home"), &["home", "status"])
        .expect(0)
        .stdout;
    assert!(
        status.contains(&format!("{}, reached", peer.url())),
        "{status}"
    );
    Some((pair, peer))
}

fn tells_that_it_is_away(pair: &Pair, peer: Peer) {
    let (address, url) = (peer.address(), peer.url());
    drop(peer);
    for _ in 0..2 {
        let away = Curl::new(pair, "PROPFIND")
            .with(&["--user", "me:secret"])
            .ask("/radicale/me/");
        assert_eq!(away.status, 502, "{away:?}");
        let text = away.text.to_lowercase();
        assert!(text.contains("\r\nretry-after: 30\r\n"), "{text}");
        assert!(!text.contains(&address.port().to_string()), "{text}");
    }
    let home = pair.folder("home");
    let status = on(&home, &["home", "status"]).expect(0).stdout;
    assert!(status.contains(&format!("{url}, not reached")), "{status}");
    assert!(status.contains("is it running?"), "{status}");
    let doctor = on(&home, &["home", "doctor"]).expect(1);
    let line = format!("BAD      the [[upstream]] with path /radicale/ at {url} is reached");
    assert!(doctor.stdout.contains(&line), "{doctor:?}");
    assert!(
        !fs::read_to_string(home.join("stderr.log"))
            .unwrap()
            .contains("panicked")
    );
}
