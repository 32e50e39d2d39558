//! `contacts import --from`: address books of servers that other people wrote, and of one that means
//! harm.

mod fake;
mod progress;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use data_encoding::BASE64;
use serde_json::Value;
use tempfile::TempDir;

use self::fake::{Fake, Request, multistatus};
use crate::binary::{self, Run, on};
use crate::cards;
use crate::corpus;
use crate::upstreams::peer::Peer;
use crate::upstreams::php;

/// A home that does not run, and somewhere to copy from.
struct Copy {
    state: TempDir,
    url: String,
    user: Option<&'static str>,
}

impl Copy {
    fn new(url: &str, user: Option<&'static str>) -> Self {
        let state = TempDir::new().unwrap();
        on(state.path(), &["user", "add", "me"]).expect(0);
        let url = url.to_owned();
        Self { state, url, user }
    }

    fn command(&self, more: &[&str]) -> Command {
        let state = self.state.path().to_str().unwrap();
        let mut arguments = vec!["contacts", "import", "--state", state, "--from", &self.url];
        if let Some(user) = self.user {
            arguments.extend(["--from-user", user]);
        }
        arguments.extend(more);
        let mut command = binary::command(&arguments);
        command.env("CLOUDLESS_FROM_PASSWORD", "secret");
        command
    }

    fn run(&self, more: &[&str]) -> Run {
        let output = self.command(more).output().unwrap();
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The counts of a run that went well.
    #[track_caller]
    fn counts(&self, more: &[&str]) -> Value {
        self.run(&[more, &["--json"]].concat()).expect(0).json()
    }

    /// What home has, sorted.
    fn stored(&self) -> Vec<Vec<u8>> {
        let exported = on(self.state.path(), &["contacts", "export", "--json"]).expect(0);
        let rows = exported.stdout.lines().map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            BASE64
                .decode(row["bytes_base64"].as_str().unwrap().as_bytes())
                .unwrap()
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort();
        rows
    }
}

/// `total` cards by name, as many of them real ones as there are.
fn real_and_made(total: usize) -> BTreeMap<String, Vec<u8>> {
    let real = corpus::cards().unwrap_or_default();
    let made = cards::varied(total);
    real.into_iter().chain(made).take(total).collect()
}

fn sorted(cards: &BTreeMap<String, Vec<u8>>) -> Vec<Vec<u8>> {
    let mut cards: Vec<_> = cards.values().cloned().collect();
    cards.sort();
    cards
}

fn expect_counts(counts: &Value, expected: &[(&str, usize)]) {
    for (name, expected) in expected {
        assert_eq!(counts[name], *expected, "{name}: {counts}");
    }
}

#[test]
fn a_thousand_cards_from_a_server_in_php_byte_for_byte() {
    let folder = TempDir::new().unwrap();
    let Some(peer) = php::start(folder.path()) else {
        return;
    };
    let cards = real_and_made(1_000);
    let database = rusqlite::Connection::open(folder.path().join("db.sqlite")).unwrap();
    let insert =
        "INSERT INTO cards (addressbookid, uri, carddata, lastmodified) VALUES (1, ?1, ?2, 1)";
    database.execute_batch("BEGIN").unwrap();
    for (name, card) in &cards {
        let text = std::str::from_utf8(card).unwrap();
        database
            .execute(insert, (format!("{name}.vcf"), text))
            .unwrap();
    }
    database.execute_batch("COMMIT").unwrap();

    // From the bare host, over the redirect of .well-known.
    let copy = Copy::new(&peer.url(), Some("admin"));
    let listed = copy.run(&["--list"]).expect(0).stdout;
    assert!(listed.starts_with("Friends "), "{listed}");
    assert!(
        listed.contains("/remote.php/dav/addressbooks/admin/friends/"),
        "{listed}"
    );
    let would = copy.counts(&["--dry-run"]);
    expect_counts(
        &would,
        &[("found", 1_000), ("fetched", 1_000), ("created", 0)],
    );
    assert_eq!(copy.stored().len(), 0);
    let counts = copy.counts(&[]);
    expect_counts(
        &counts,
        &[
            ("found", 1_000),
            ("known", 0),
            ("fetched", 1_000),
            ("verified", 1_000),
        ],
    );
    assert_eq!(copy.stored(), sorted(&cards));

    // Again: nothing, then what changed there, and what is missing here.
    expect_counts(&copy.counts(&[]), &[("known", 1_000), ("fetched", 0)]);
    let changed = String::from_utf8(cards::small("changed")).unwrap();
    let update = "UPDATE cards SET carddata = ?1 WHERE uri = (SELECT min(uri) FROM cards)";
    database.execute(update, [&changed]).unwrap();
    let counts = copy.counts(&["--from-book", "friends"]);
    expect_counts(&counts, &[("known", 999), ("fetched", 1), ("verified", 1)]);
    let wrong = copy.run(&["--from-book", "Enemies"]).expect(1).stderr;
    assert!(
        wrong.contains("no such") && wrong.contains("--from-book Friends"),
        "{wrong}"
    );
}

/// Gives Radicale an address book with so many cards.
fn fill(radicale: &Peer, count: usize) {
    let book = radicale
        .folder()
        .join("collections/collection-root/me/contacts");
    fs::create_dir_all(&book).unwrap();
    let props = r#"{"tag": "VADDRESSBOOK", "D:displayname": "Contacts"}"#;
    fs::write(book.join(".Radicale.props"), props).unwrap();
    for (name, card) in cards::varied(count) {
        fs::write(book.join(format!("{name}.vcf")), card).unwrap();
    }
}

/// Over TLS with an authority that only the command line knows, and told how far it is.
#[test]
fn an_address_book_of_a_server_with_an_authority_of_its_own() {
    let folder = TempDir::new().unwrap();
    crate::acme::pebble::identity(folder.path());
    let Some(peer) = Peer::radicale_over_tls(folder.path()) else {
        return;
    };
    fill(&peer, 120);
    let url = format!("https://localhost:{}/", peer.address().port());
    let copy = Copy::new(&url, Some("me"));
    let refused = copy.run(&[]).expect(1).stderr;
    assert!(refused.contains("--from-ca"), "{refused}");
    assert_eq!(copy.stored().len(), 0);
    let ca_file = folder.path().join("ca.pem");
    let ca = ["--from-ca", ca_file.to_str().unwrap(), "--json"];
    let copied = copy.run(&ca).expect(0);
    expect_counts(
        &copied.json(),
        &[("found", 120), ("created", 120), ("verified", 120)],
    );
    for line in ["copying: 0 of 120 cards\n", "copying: 120 of 120 cards\n"] {
        assert!(copied.stderr.contains(line), "{line}: {copied:?}");
    }
    assert_eq!(copy.stored().len(), 120);
    let again = copy.run(&ca).expect(0).json();
    expect_counts(&again, &[("known", 120), ("fetched", 0)]);
}

#[test]
fn an_address_book_of_radicale() {
    let Some(peer) = Peer::radicale() else { return };
    fill(&peer, 120);
    let copy = Copy::new(&peer.url(), Some("me"));
    let counts = copy.counts(&[]);
    expect_counts(
        &counts,
        &[("found", 120), ("created", 120), ("verified", 120)],
    );
    // Radicale writes cards in its own order of lines.
    assert_eq!(copy.stored().len(), 120);
    expect_counts(&copy.counts(&[]), &[("known", 120), ("fetched", 0)]);
    let mut stranger = copy.command(&[]);
    let refused = stranger
        .env("CLOUDLESS_FROM_PASSWORD", "wrong")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("refuses the login (401"), "{said}");
    assert!(!said.contains("wrong"), "{said}");
}

#[test]
fn an_address_book_of_xandikos() {
    let Some(peer) = Peer::xandikos() else { return };
    let cards: BTreeMap<_, _> = cards::varied(60).into_iter().collect();
    let book = format!("{}/me/contacts/addressbook/", peer.url());
    for (name, card) in &cards {
        let mut put = Command::new("curl")
            .args([
                "--silent",
                "--fail",
                "--request",
                "PUT",
                "--data-binary",
                "@-",
            ])
            .args(["--header", "content-type: text/vcard"])
            .arg(format!("{book}{name}.vcf"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut put.stdin.take().unwrap(), card).unwrap();
        assert!(put.wait().unwrap().success(), "{name}");
    }
    let copy = Copy::new(&peer.url(), None);
    let counts = copy.counts(&[]);
    expect_counts(&counts, &[("found", 60), ("created", 60), ("verified", 60)]);
    assert_eq!(copy.stored(), sorted(&cards));
    expect_counts(&copy.counts(&[]), &[("known", 60), ("fetched", 0)]);
}

/// As at iCloud: whoever answers for the name says that the cards of this user are on another host.
#[test]
fn a_server_whose_address_books_are_on_another_host() {
    let cards: BTreeMap<_, _> = cards::varied(60).into_iter().collect();
    let partition = Fake::with_cards(&cards);
    let home = format!(
        "<C:addressbook-home-set><href>{}homes/</href></C:addressbook-home-set>",
        partition.url()
    );
    let front = Fake::with_cards(&BTreeMap::new());
    front.before(move |request: &Request| {
        let body = multistatus("/me/", &home);
        let length = body.len();
        (request.path == "/me/")
            .then(|| format!("HTTP/1.1 207 Multi-Status\r\ncontent-length: {length}\r\n\r\n{body}"))
    });
    let copy = Copy::new(&front.url(), Some("me"));
    let host = partition.url();
    let host = host.trim_start_matches("http://").trim_end_matches('/');
    let asked = copy.run(&[]).expect(1).stderr;
    assert!(asked.contains(&format!("--from-host {host}")), "{asked}");
    assert_eq!(copy.stored().len(), 0);
    let counts = copy.counts(&["--from-host", host]);
    expect_counts(&counts, &[("found", 60), ("created", 60), ("verified", 60)]);
    assert_eq!(copy.stored(), sorted(&cards));
    expect_counts(
        &copy.counts(&["--from-host", host]),
        &[("known", 60), ("fetched", 0)],
    );
}

#[test]
fn what_a_killed_copy_has_done_is_not_done_again() {
    let cards: BTreeMap<_, _> = cards::varied(175).into_iter().collect();
    let fake = Fake::with_cards(&cards);
    let copy = Copy::new(&fake.url(), Some("me"));
    // Two parts are there when the third is asked for.
    fake.hold_multiget(3);
    let mut child = copy
        .command(&[])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    fake.held();
    child.kill().unwrap();
    child.wait().unwrap();
    fake.let_go();
    assert_eq!(copy.stored().len(), 100);
    let counts = copy.counts(&[]);
    expect_counts(
        &counts,
        &[
            ("found", 175),
            ("known", 100),
            ("fetched", 75),
            ("verified", 75),
        ],
    );
    assert_eq!(copy.stored(), sorted(&cards));
}

#[test]
fn a_server_without_multiget_and_one_that_has_too_much_to_do() {
    let cards: BTreeMap<_, _> = cards::varied(12).into_iter().collect();
    let fake = Fake::with_cards(&cards);
    let mut is_first = true;
    fake.before(move |request: &Request| match request.method.as_str() {
        "REPORT" => Some("HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\n\r\n".to_owned()),
        "GET" if std::mem::take(&mut is_first) => Some(
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n"
                .to_owned(),
        ),
        _ => None,
    });
    let copy = Copy::new(&fake.url(), Some("me"));
    expect_counts(&copy.counts(&[]), &[("fetched", 12), ("verified", 12)]);
    assert_eq!(copy.stored(), sorted(&cards));
}

#[test]
fn a_hostile_server_gets_no_memory_no_password_and_no_way_elsewhere() {
    let answer = |status: &str, head: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\n{head}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let bomb = "<!DOCTYPE m [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>\
        <multistatus xmlns=\"DAV:\">&b;</multistatus>";
    let elsewhere = |place: &str| {
        answer(
            "301 Moved Permanently",
            &format!("location: {place}\r\n"),
            "",
        )
    };
    let principal = |href: &str| {
        let row = format!("<current-user-principal><href>{href}</href></current-user-principal>");
        answer("207 Multi-Status", "", &multistatus("/", &row))
    };
    for (said, expected) in [
        (answer("207 Multi-Status", "", bomb), "document type"),
        (
            answer("207 Multi-Status", "", "{}"),
            "no XML that can be read",
        ),
        (
            answer(
                "207 Multi-Status",
                "",
                &format!("<multistatus xmlns=\"DAV:\">{}", "<a>".repeat(1_000)),
            ),
            "no XML that can be read",
        ),
        (
            "HTTP/1.1 207 Multi-Status\r\ncontent-length: 99999999999\r\n\r\n".to_owned()
                + &"x".repeat(1 << 16),
            "too long, or broke off",
        ),
        (
            format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 20)),
            "HTTP with",
        ),
        (
            elsewhere("https://other.example.org/"),
            "--from-host other.example.org",
        ),
        (
            elsewhere("http://other.example.org/"),
            "leads to something that is no address",
        ),
        (
            elsewhere("https://me:x@127.0.0.1/"),
            "leads to something that is no address",
        ),
        (elsewhere("/again"), "without an end"),
        (
            principal("https://other.example.org/me/"),
            "--from-host other.example.org",
        ),
        (
            principal("//other.example.org/me/"),
            "no URL of a CardDAV server",
        ),
        (answer("200 OK", "", "<html>"), "no CardDAV server"),
        (
            answer(
                "401 Unauthorized",
                "www-authenticate: Digest realm=x\r\n",
                "",
            ),
            "another kind of login",
        ),
    ] {
        let fake = Fake::with_cards(&BTreeMap::new());
        fake.before(move |_: &Request| Some(said.clone()));
        let copy = Copy::new(&fake.url(), Some("me"));
        let refused = copy.run(&[]).expect(1).stderr;
        assert!(refused.contains(expected), "{expected}: {refused}");
        assert!(
            !refused.contains("secret") && !refused.contains("bWU6"),
            "{refused}"
        );
    }

    // What is in a list that it should not be, and cards that are none or too large.
    let cards: BTreeMap<_, _> = cards::varied(3).into_iter().collect();
    let fake = Fake::with_cards(&cards);
    fake.list_also(&[
        "https://other.example.org/book/stolen.vcf",
        "/elsewhere/outside.vcf",
        "../../outside.vcf",
        "/book/",
        "/book/none.vcf",
        "/book/large.vcf",
        "/book/no-card.vcf",
    ]);
    fake.before(|request: &Request| match request.path.as_str() {
        "/book/large.vcf" => Some(
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_owned() + &"x".repeat(1 << 16),
        ),
        "/book/no-card.vcf" => Some("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned()),
        _ => None,
    });
    let copy = Copy::new(&fake.url(), Some("me"));
    let told = copy.run(&["--json"]).expect(1);
    let counts = told.json();
    expect_counts(&counts, &[("found", 6), ("created", 3), ("verified", 3)]);
    let refused = counts["refused"].as_array().unwrap();
    let reasons: Vec<_> = refused
        .iter()
        .map(|it| it["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons.iter().any(|it| it.contains("404")), "{reasons:?}");
    assert!(
        reasons.iter().any(|it| it.contains("larger than 10 MiB")),
        "{reasons:?}"
    );
    assert_eq!(copy.stored(), sorted(&cards));
}

#[test]
fn tls_is_explained_and_an_authority_of_its_own_can_be_named() {
    let folder = TempDir::new().unwrap();
    crate::acme::pebble::identity(folder.path());
    let Some(peer) = crate::upstreams::web::start(Some(folder.path())) else {
        return;
    };
    let url = format!("https://localhost:{}/", peer.address().port());
    let copy = Copy::new(&url, None);
    let refused = copy.run(&[]).expect(1).stderr;
    assert!(
        refused.contains("UnknownIssuer") && refused.contains("--from-ca"),
        "{refused}"
    );
    let ca_file: PathBuf = folder.path().join("ca.pem");
    let trusted = copy
        .run(&["--from-ca", ca_file.to_str().unwrap()])
        .expect(1)
        .stderr;
    assert!(trusted.contains("no CardDAV server"), "{trusted}");
    let password = Copy::new(&url, Some("me"))
        .command(&[])
        .env_remove("CLOUDLESS_FROM_PASSWORD")
        .output();
    let said = String::from_utf8(password.unwrap().stderr).unwrap();
    assert!(
        said.contains("CLOUDLESS_FROM_PASSWORD") && said.contains("--from-password-file"),
        "{said}"
    );
    let clear = Copy::new("http://cloud.example.org", Some("me"))
        .run(&[])
        .expect(64)
        .stderr;
    assert!(clear.contains("no URL of a CardDAV server"), "{clear}");
}
