//! RFC 7617, and what a stranger may learn: nothing.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cloudless_store::{Store, Timestamp};
use http_body::Frame;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::harness::{Answer, BOOK, PASSWORD, PRINCIPAL, Server, basic, card};

const CHALLENGE: &str = r#"Basic realm="cloudless", charset="UTF-8""#;

#[tokio::test]
async fn a_stranger_is_told_the_same_about_every_path() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let card = format!("{BOOK}a.vcf");
    let paths = [
        "/",
        "/dav/",
        PRINCIPAL,
        BOOK,
        &card,
        "/nothing",
        "/dav/addressbooks/nobody/",
        "*",
    ];
    let methods = [
        "GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT", "PUT", "DELETE", "MKCOL", "BREW",
    ];
    let mut answers = Vec::new();
    for path in paths {
        for method in methods {
            let answer = server
                .send_as(None, method, path, &[("depth", "0")], "")
                .await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert_eq!(answer.header("www-authenticate"), CHALLENGE);
            assert!(!answer.headers.contains_key("dav"), "{method} {path}");
            assert!(!answer.headers.contains_key("allow"), "{method} {path}");
            if method == "HEAD" {
                assert!(answer.body.is_empty(), "{path}");
            } else {
                answers.push((answer.headers, answer.body));
            }
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn only_a_live_device_logs_in() {
    let server = Server::start();
    let status = async |user: &str, password: &str| {
        let login = basic(user, password);
        let answer = server
            .send_as(Some(&login), "PROPFIND", "/", &[("depth", "0")], "")
            .await;
        (answer.status, answer.header("www-authenticate").to_owned())
    };
    let welcome = (207, String::new());
    let unknown = (401, CHALLENGE.to_owned());
    assert_eq!(status("me", PASSWORD).await, welcome);
    assert_eq!(
        status("Me", PASSWORD).await,
        welcome,
        "a phone's keyboard wrote a capital"
    );
    assert_eq!(status("me", "wrong").await, unknown);
    assert_eq!(
        status("me", "yours").await,
        unknown,
        "the password of another user"
    );
    assert_eq!(status("me", "").await, unknown);
    assert_eq!(status("nobody", PASSWORD).await, unknown);
    assert_eq!(status("", "").await, unknown);
    let now = Timestamp::from(crate::harness::now());
    server.store.revoke_device("me", "phone", now).unwrap();
    assert_eq!(
        status("me", PASSWORD).await,
        unknown,
        "the device was revoked"
    );
}

#[tokio::test]
async fn nothing_is_changed_or_read_before_the_login() {
    let server = Server::start();
    let path = format!("{BOOK}a.vcf");
    let answer = server
        .send_as(Some("Basic nonsense"), "PUT", &path, &[], card("a", "Ann"))
        .await;
    assert_eq!(answer.status, 401);
    assert_eq!(server.book().revision, 0);
    // A body of any size is not looked at.
    let answer = server
        .send_as(None, "PUT", &path, &[], vec![b'x'; 20 << 20])
        .await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn another_users_tree_looks_like_nothing() {
    let server = Server::start();
    let yours = "/dav/addressbooks/you/contacts/";
    let your_login = basic("you", "yours");
    let card_path = format!("{yours}a.vcf");
    let put = server
        .send_as(Some(&your_login), "PUT", &card_path, &[], card("a", "Ann"))
        .await;
    assert_eq!(put.status, 201);
    let nothing = server.send("GET", "/nothing", &[], "").await;
    assert_eq!(nothing.status, 404);
    let tree = [
        &card_path,
        yours,
        "/dav/addressbooks/you/",
        "/dav/principals/you/",
    ];
    for path in tree {
        for method in [
            "GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT", "PUT", "DELETE", "MKCOL",
        ] {
            let answer = server
                .send(method, path, &[("depth", "0")], card("b", "Bob"))
                .await;
            assert_eq!(answer.status, 404, "{method} {path}");
            if method != "HEAD" {
                assert_eq!(answer.headers, nothing.headers, "{method} {path}");
                assert_eq!(answer.body, nothing.body, "{method} {path}");
            }
        }
    }
    let get = server
        .send_as(Some(&your_login), "GET", &card_path, &[], "")
        .await;
    assert_eq!(get.text(), card("a", "Ann"));
}

/// The body of an upload that begins before its device is revoked and ends after it.
struct AcrossRevocation {
    store: Store,
    bytes: Option<Bytes>,
}

impl http_body::Body for AcrossRevocation {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(bytes) = self.bytes.take() else {
            return Poll::Ready(None);
        };
        // It is read after the login was found right.
        let revoked = self.store.revoke_device("me", "phone", Timestamp(1));
        revoked.unwrap();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

#[tokio::test]
async fn an_upload_under_way_when_its_device_is_revoked_changes_nothing() {
    for bytes in [card("a", "Ann"), "no vCard".to_owned()] {
        let server = Server::start();
        let request = http::Request::builder()
            .method("PUT")
            .uri(format!("{BOOK}a.vcf"))
            .header("authorization", basic("me", PASSWORD))
            .body(AcrossRevocation {
                store: server.store.clone(),
                bytes: Some(bytes.into()),
            })
            .unwrap();
        let answer = Answer::read(server.carddav.respond(request).await).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), CHALLENGE);
        let book = server.book();
        assert_eq!(book.revision, 0);
        assert_eq!(server.store.versions(book.id, "a.vcf").unwrap(), []);
    }
}

/// Guesses, for a user that there is and one that there is not, and a device in the middle of them.
#[tokio::test(start_paused = true)]
async fn wrong_logins_wait_and_a_right_one_never_does() {
    let server = Server::start();
    let send = |user: &str, password: &str| {
        let request = http::Request::builder()
            .method("PROPFIND")
            .uri("/dav/")
            .header("depth", "0")
            .header("authorization", basic(user, password))
            .body(http_body_util::Full::<Bytes>::default())
            .unwrap();
        let carddav = server.carddav.clone();
        async move { carddav.respond(request).await.status().as_u16() }
    };
    let mut waited = Vec::new();
    for user in ["me", "nobody"] {
        let start = Instant::now();
        for _ in 0..8 {
            assert_eq!(send(user, "wrong").await, 401);
        }
        waited.push(start.elapsed().as_millis());
    }
    assert!(
        waited[0] > 1_000 && waited[0].abs_diff(waited[1]) < 100,
        "{waited:?}"
    );

    // Ten thousand in a second, and a right one after each twentieth of them.
    let mut guessing = JoinSet::new();
    let start = Instant::now();
    for burst in 1..=20 {
        for number in 0..500 {
            guessing.spawn(send("me", &format!("wrong {burst} {number}")));
        }
        tokio::task::yield_now().await;
        let begin = Instant::now();
        assert_eq!(send("me", PASSWORD).await, 207);
        let waited = begin.elapsed();
        assert!(waited < Duration::from_millis(50), "{waited:?}");
        sleep_until(start + burst * Duration::from_millis(50)).await;
    }
    let told = guessing.join_all().await;
    assert_eq!(told.iter().filter(|status| **status == 401).count(), 256);
    assert!(told.iter().all(|status| [401, 429].contains(status)));
    assert_eq!(send("me", PASSWORD).await, 207);
}
