//! A server in PHP behind home: sabre/dav, which Nextcloud, ownCloud and Baïkal are built on.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Curl;
use super::peer::Peer;
use crate::corpus;
use crate::pair::{HOSTNAME, Pair};

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
    let file = pair.folder("large").join("file");
    fs::File::create(&file).unwrap().set_len(length).unwrap();
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
        let written = fs::metadata(folder.path().join("files").join(name)).unwrap();
        assert_eq!(written.len(), length, "{name}");
        let down =
            Curl::new(&pair, "GET").with(&["--user", "admin:secret", "--output", "/dev/null"]);
        let down = down.with(&["--write-out", "%{size_download}"]).run(&path);
        assert_eq!(
            String::from_utf8_lossy(&down.stdout),
            length.to_string(),
            "{down:?}"
        );
    }
    // A part of a large file.
    let part = Curl::new(&pair, "GET").with(&["--user", "admin:secret", "--range", "5-9"]);
    let part = part.ask("/remote.php/dav/files/whole");
    assert_eq!(part.status, 206, "{part:?}");
}
