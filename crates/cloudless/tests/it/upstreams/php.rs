//! A server in PHP behind home: sabre/dav, which Nextcloud, ownCloud and Baïkal are built on.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Curl;
use super::peer::Peer;
use crate::corpus;
use crate::pair::{HOSTNAME, Pair};
use crate::pattern;

const EXAMPLES: &str = "/usr/share/doc/php-sabre-dav/examples/sql";

/// The server with the user `admin`, the password `secret` and an address book `friends`; its files
/// are in a folder.
pub(crate) fn start(folder: &Path) -> Option<Peer> {
    let has_php = Command::new("php")
        .args([
            "-r",
            "require 'Sabre/autoload.php'; new PDO('sqlite::memory:');",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_php {
        corpus::missing("PHP with sabre/dav: run `cargo xtask test`, which installs it");
        return None;
    }
    fs::create_dir_all(folder.join("files")).unwrap();
    fs::create_dir_all(folder.join("uploads")).unwrap();
    let database = rusqlite::Connection::open(folder.join("db.sqlite")).unwrap();
    for name in ["addressbooks", "principals"] {
        let tables = fs::read_to_string(format!("{EXAMPLES}/sqlite.{name}.sql")).unwrap();
        database.execute_batch(&tables).unwrap();
    }
    let book = "INSERT INTO addressbooks (principaluri, displayname, uri, ctag) \
        VALUES ('principals/admin', 'Friends', 'friends', 1)";
    database.execute_batch(book).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/upstreams/server.php");
    let log = fs::File::create(folder.join("log")).unwrap();
    Some(Peer::start(|address| {
        let mut command = Command::new("php");
        command.arg("-S").arg(address.to_string()).arg(&script);
        command.args(["-d", "post_max_size=0", "-d", "memory_limit=1G"]);
        command.env("CLOUDLESS_TEST_FOLDER", folder);
        command
            .stdout(Stdio::null())
            .stderr(log.try_clone().unwrap());
        command
    }))
}

#[test]
fn redirects_cookies_and_uploads_are_as_without_home() {
    let folder = tempfile::TempDir::new().unwrap();
    let Some(peer) = start(folder.path()) else {
        return;
    };
    let table = format!(
        "[[upstream]]\nhostname = \"{HOSTNAME}\"\nserver = \"{}\"\n",
        peer.url()
    );
    let pair = Pair::start_configured(HOSTNAME, &table);

    let found = Curl::new(&pair, "PROPFIND").ask("/.well-known/carddav");
    assert_eq!(found.status, 301, "{found:?}");
    assert!(
        found.text.contains("\r\nlocation: /remote.php/dav/\r\n"),
        "{found:?}"
    );

    let spoofed = Curl::new(&pair, "GET")
        .header("x-forwarded-for: 198.51.100.1")
        .header("x_forwarded_for: 198.51.100.2")
        .header("x-forwarded-host: evil.example.org")
        .header("x-remote-user: admin")
        .header("proxy: http://evil.example.org");
    let told = spoofed.ask("/whoami");
    assert!(
        told.text
            .contains("set-cookie: session=abc; path=/; secure; HttpOnly"),
        "{told:?}"
    );
    assert!(
        told.text.contains("\"HTTP_X_FORWARDED_FOR\":\"127.0.0.1\""),
        "{told:?}"
    );
    assert!(
        told.text.contains("\"HTTP_X_FORWARDED_PROTO\":\"https\""),
        "{told:?}"
    );
    let host = format!("{HOSTNAME}:{}", pair.relay_port());
    assert!(
        told.text.contains(&format!("\"HTTP_HOST\":\"{host}\"")),
        "{told:?}"
    );
    assert!(
        told.text
            .contains(&format!("\"HTTP_X_FORWARDED_HOST\":\"{host}\"")),
        "{told:?}"
    );
    for trick in ["198.51.100", "evil", "REMOTE_USER", "HTTP_PROXY"] {
        assert!(!told.text.contains(trick), "{trick}: {told:?}");
    }

    // 64 MiB with a length and in chunks, as desktop clients of Nextcloud send them.
    let length: u64 = 64 * 1024 * 1024;
    let large = pair.folder("large");
    let (file, got) = (large.join("file"), large.join("got"));
    let sent = pattern::write(&file, 1, length);
    let chunked = ["--header", "transfer-encoding: chunked"];
    for (name, how) in [("whole", &[][..]), ("chunks", &chunked[..])] {
        let path = format!("/remote.php/dav/files/{name}");
        let up = Curl::new(&pair, "PUT")
            .with(&["--user", "admin:secret"])
            .with(how);
        let up = up
            .with(&["--http1.1", "--upload-file", file.to_str().unwrap()])
            .ask(&path);
        assert_eq!(up.status, 201, "{up:?}");
        let written = folder.path().join("files").join(name);
        assert_eq!(pattern::digest(&written), sent, "{name}");
        let down = Curl::new(&pair, "GET")
            .with(&["--user", "admin:secret", "--fail", "--output"])
            .with(&[got.to_str().unwrap()])
            .run(&path);
        assert!(down.status.success(), "{down:?}");
        assert_eq!(pattern::digest(&got), sent, "{name}");
    }
    // A part of a large file.
    let part = Curl::new(&pair, "GET").with(&["--user", "admin:secret", "--range", "5-9"]);
    let part = part.ask("/remote.php/dav/files/whole");
    assert_eq!(part.status, 206, "{part:?}");
}

/// As clients of Nextcloud send what is large: a folder, its parts, and a MOVE that puts them together
/// elsewhere, under an address that they write out.
#[test]
fn an_upload_in_parts_is_moved_to_its_place() {
    const PARTS: u64 = 3;
    let folder = tempfile::TempDir::new().unwrap();
    let Some(peer) = start(folder.path()) else {
        return;
    };
    let table = format!(
        "[[upstream]]\nhostname = \"{HOSTNAME}\"\nserver = \"{}\"\n",
        peer.url()
    );
    let pair = Pair::start_configured(HOSTNAME, &table);
    let large = pair.folder("large");
    let ask = |method: &str| Curl::new(&pair, method).with(&["--user", "admin:secret"]);
    let root = format!("https://{HOSTNAME}:{}", pair.relay_port());
    let place = format!("{root}/remote.php/dav/files/photo");
    let upload = "/remote.php/dav/uploads/1";
    let made = ask("MKCOL").header(&format!("destination: {place}"));
    let made = made.ask(upload);
    assert_eq!(made.status, 201, "{made:?}");
    let mut whole = Vec::new();
    for number in 1..=PARTS {
        let part = large.join("part");
        pattern::write(&part, number, 5 * 1024 * 1024);
        whole.extend(fs::read(&part).unwrap());
        let put = ask("PUT")
            .header(&format!("destination: {place}"))
            .header("oc-total-length: 15728640")
            .with(&["--upload-file", part.to_str().unwrap()]);
        let put = put.ask(&format!("{upload}/{number:05}"));
        assert_eq!(put.status, 201, "{put:?}");
    }
    let joined = ask("MOVE")
        .header(&format!("destination: {place}"))
        .header("oc-total-length: 15728640")
        .ask(&format!("{upload}/.file"));
    assert_eq!(joined.status, 201, "{joined:?}");
    let written = fs::read(folder.path().join("files/photo")).unwrap();
    assert!(written == whole, "{} bytes", written.len());
    assert!(!folder.path().join("uploads/1").exists());

    // A file that is moved, and one whose place is taken.
    let elsewhere = format!("destination: {root}/remote.php/dav/files/renamed");
    let moved = ask("MOVE").header(&elsewhere);
    let moved = moved.ask("/remote.php/dav/files/photo");
    assert_eq!(moved.status, 201, "{moved:?}");
    let other = ask("PUT").with(&["--data-binary", "other"]);
    let other = other.ask("/remote.php/dav/files/other");
    assert_eq!(other.status, 201, "{other:?}");
    let kept = ask("MOVE").header(&elsewhere).header("overwrite: F");
    let kept = kept.ask("/remote.php/dav/files/other");
    assert_eq!(kept.status, 412, "{kept:?}");
    let renamed = fs::read(folder.path().join("files/renamed")).unwrap();
    assert!(renamed == whole, "{} bytes", renamed.len());
}
