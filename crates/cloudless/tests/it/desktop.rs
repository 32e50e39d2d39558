//! Programs for a desktop, driven without a screen, through relay and home.

mod evolution;
mod kde;
mod session;
mod thunderbird;

use std::fs;

use data_encoding::BASE64;

use crate::binary::on;
use crate::client::Connection;
use crate::pair::{HOSTNAME, Pair};

/// How many cards a first sync takes.
const MANY: usize = 1_000;
/// A group as phones write it, and what no desktop program knows.
const ROWERS: &str = "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:rowers\r\nKIND:group\r\nFN:Rowers\r\n\
    MEMBER:urn:uuid:card-1\r\nMEMBER:urn:uuid:card-2\r\nEMAIL:rowers@example.org\r\n\
    X-KEEP;X-P=\"a:b;c\":as it is\r\nEND:VCARD\r\n";
const RENAMED: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:card-1\r\nFN:Renamed\r\nEND:VCARD\r\n";

/// A photo that has to be folded.
fn photo() -> Vec<u8> {
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00".repeat(70)
}

/// A card with the photo.
fn portrait() -> String {
    let photo = BASE64.encode(&photo());
    format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:portrait\r\nFN:Portrait\r\n\
         PHOTO;ENCODING=b;TYPE=JPEG:{photo}\r\nEND:VCARD\r\n"
    )
}

/// The host name, and the port that stands for 443.
fn host(pair: &Pair) -> String {
    format!("{HOSTNAME}:{}", pair.relay_port())
}

/// A password for one program.
fn add_device(pair: &Pair, name: &str) -> String {
    let add = ["device", "add", "me", name, "--json"];
    let added = on(&pair.folder("home"), &add).expect(0).json();
    added["password"].as_str().expect("a password").to_owned()
}

fn revoke(pair: &Pair, name: &str) {
    on(&pair.folder("home"), &["device", "revoke", "me", name]).expect(0);
}

fn import(pair: &Pair, cards: &[(String, Vec<u8>)]) {
    let file = pair.folder("cards").join("cards.vcf");
    let lines: Vec<u8> = cards
        .iter()
        .flat_map(|(_, card)| [card.trim_ascii_end(), b"\r\n"].concat())
        .collect();
    fs::write(&file, lines).unwrap();
    let import = ["contacts", "import", file.to_str().unwrap(), "--user", "me"];
    on(&pair.folder("home"), &import).expect(0);
}

fn export(pair: &Pair) -> String {
    let export = ["contacts", "export", "--user", "me"];
    on(&pair.folder("home"), &export).expect(0).stdout
}

/// A phone adds a group and a photo, renames one and deletes another.
async fn change_on(phone: &mut Connection) {
    for (name, card) in [
        ("rowers.vcf", ROWERS),
        ("card-1.vcf", RENAMED),
        ("portrait.vcf", &portrait()),
    ] {
        let put = phone.put(name, card.as_bytes()).await.unwrap();
        assert!(put.status.is_success(), "{put:?}");
    }
    let deleted = phone.delete("card-2.vcf").await.unwrap();
    assert!(deleted.status.is_success(), "{deleted:?}");
}

/// Whether a line of ROWERS is for a program to keep: those that write another version say so.
fn is_kept(line: &&str) -> bool {
    !line.starts_with("VERSION:")
}

/// The server has a card byte for byte.
async fn assert_has(phone: &mut Connection, name: &str, wanted: &str) {
    let card = phone.get(name).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&card.body), wanted, "{name}");
}
