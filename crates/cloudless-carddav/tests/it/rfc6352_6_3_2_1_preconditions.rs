//! Every way to refuse a PUT: what the client is told, and that its body is kept.

use cloudless_store::{Access, BookId, VersionKind};

use crate::harness::{Answer, BOOK, Server, basic, card};

const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";
const DAV: &str = "DAV:";
const SHARED: &str = "/dav/addressbooks/you/contacts-me/";
const LIMIT: usize = 10 * 1024 * 1024;

/// A PUT that is refused.
struct Case {
    /// What is wrong.
    wrong: &'static str,
    /// The name as it is written in the path.
    name: String,
    headers: &'static [(&'static str, &'static str)],
    body: String,
    status: u16,
    /// The precondition in the body of the answer, where the RFCs have one.
    condition: Option<(&'static str, &'static str)>,
    /// The name that the history has the body under.
    kept_as: String,
}

impl Case {
    fn new(wrong: &'static str, status: u16) -> Self {
        Self {
            wrong,
            name: "a.vcf".to_owned(),
            headers: &[],
            body: card("a", wrong),
            status,
            condition: None,
            kept_as: "a.vcf".to_owned(),
        }
    }

    fn named(self, name: &str, kept_as: &str) -> Self {
        let (name, kept_as) = (name.to_owned(), kept_as.to_owned());
        Self {
            name,
            kept_as,
            ..self
        }
    }

    fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    fn body(self, body: impl Into<String>) -> Self {
        let body = body.into();
        Self { body, ..self }
    }

    fn condition(self, namespace: &'static str, name: &'static str) -> Self {
        let condition = Some((namespace, name));
        Self { condition, ..self }
    }
}

/// The refusals that need neither another user nor another card.
fn cases() -> Vec<Case> {
    let long = "a".repeat(256);
    let large = format!("{}{}", card("a", "large"), "x".repeat(LIMIT));
    vec![
        Case::new("the content type", 415)
            .with(&[("content-type", "text/calendar")])
            .condition(CARDDAV, "supported-address-data"),
        Case::new("an encoding", 415).with(&[("content-encoding", "gzip")]),
        Case::new("a part of a card", 400).with(&[("content-range", "bytes 0-1/2")]),
        Case::new("no card", 403)
            .body("nonsense")
            .condition(CARDDAV, "valid-address-data"),
        Case::new("two cards", 403)
            .body(card("a", "Ann").repeat(2))
            .condition(CARDDAV, "valid-address-data"),
        Case::new("nothing", 403)
            .body("")
            .condition(CARDDAV, "valid-address-data"),
        Case::new("a card that is too large", 413)
            .body(large)
            .condition(CARDDAV, "max-resource-size"),
        Case::new("a slash in the name", 400).named("a%2Fb.vcf", "a%2Fb.vcf"),
        Case::new("a NUL in the name", 400).named("a%00b.vcf", "a%00b.vcf"),
        Case::new("a name that is too long", 400).named(&long, &long[..255]),
        Case::new("another If-Match", 412).with(&[("if-match", "\"other\"")]),
        Case::new("If-Match without a card", 412)
            .named("new.vcf", "new.vcf")
            .with(&[("if-match", "*")]),
        Case::new("If-None-Match of what is there", 412).with(&[("if-none-match", "*")]),
        Case::new("another If", 412).with(&[("if", "([\"other\"])")]),
        Case::new("an If that is none", 400).with(&[("if", "([")]),
        Case::new("the UID of another card", 409)
            .named("new.vcf", "new.vcf")
            .condition(CARDDAV, "no-uid-conflict"),
    ]
}

/// The newest body that was refused under a name, and why.
fn newest_refused(server: &Server, book: BookId, name: &str) -> Option<(Vec<u8>, String)> {
    let versions = server.store.versions(book, name).unwrap();
    let newest = versions.into_iter().next_back()?;
    (newest.kind == VersionKind::Refused).then(|| (newest.bytes.unwrap(), newest.reason.unwrap()))
}

fn check(server: &Server, case: &Case, answer: &Answer) {
    let Case { wrong, .. } = case;
    assert_eq!(answer.status, case.status, "{wrong}: {answer:?}");
    match case.condition {
        Some((namespace, name)) => answer.assert_condition(case.status, namespace, name),
        None => assert!(!answer.text().contains("<?xml"), "{wrong}: {answer:?}"),
    }
    let (bytes, reason) = newest_refused(server, server.book().id, &case.kept_as)
        .unwrap_or_else(|| panic!("{wrong}: the body is not kept"));
    let kept = &case.body.as_bytes()[..case.body.len().min(LIMIT)];
    assert!(bytes == kept, "{wrong}: another body is kept");
    assert!(!reason.is_empty(), "{wrong}");
}

#[tokio::test]
async fn every_refusal_names_its_precondition_and_keeps_the_body() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    for case in cases() {
        let path = format!("{BOOK}{}", case.name);
        let answer = server
            .send("PUT", &path, case.headers, case.body.clone())
            .await;
        check(&server, &case, &answer);
        let get = server.send("GET", &format!("{BOOK}a.vcf"), &[], "").await;
        assert_eq!(get.text(), card("a", "Ann"), "{}", case.wrong);
    }
    assert_eq!(server.book().revision, 1, "a client sees nothing of it");
}

/// RFC 3744 §7.1.1: who may only read is told what is missing; the owner has the body.
#[tokio::test]
async fn a_refusal_of_a_shared_book_is_in_its_history() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let book = server.book().id;
    server
        .store
        .share_book(book, "you", Access::ReadOnly)
        .unwrap();
    let authorization = basic("you", "yours");
    for (name, kept_as) in [("a.vcf", "a.vcf"), ("b%2Fc.vcf", "b%2Fc.vcf")] {
        let case = Case::new("no privilege", 403)
            .named(name, kept_as)
            .condition(DAV, "need-privileges");
        let path = format!("{SHARED}{name}");
        let answer = server
            .send_as(Some(&authorization), "PUT", &path, &[], case.body.clone())
            .await;
        check(&server, &case, &answer);
    }
}

/// There is no history where there is no address book, and nobody is told more than that.
#[tokio::test]
async fn where_there_is_no_address_book_nothing_is_kept() {
    let server = Server::start();
    for (path, status) in [
        ("/dav/addressbooks/me/other/a.vcf", 409),
        ("/dav/addressbooks/you/contacts/a.vcf", 404),
        (BOOK, 405),
    ] {
        let answer = server.send("PUT", path, &[], card("a", "Ann")).await;
        assert_eq!(answer.status, status, "{path}");
    }
}
