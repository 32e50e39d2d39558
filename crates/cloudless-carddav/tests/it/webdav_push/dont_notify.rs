//! Suppressing notifications (§4.3).

use super::{CONTENT_TRIGGER, PUSH_RESOURCE, path, pending, register, server};
use crate::harness::{BOOK, Server, card};

const OTHER: &str = "https://up.example.net/other";

/// Makes a request that changes something, without telling those that the header names; returns the
/// push resources that are told nevertheless.
async fn told(
    server: &Server,
    (method, name): (&str, &str),
    headers: &[(&str, &str)],
    body: String,
) -> Vec<String> {
    let url = format!("{BOOK}{name}");
    let answer = server.send(method, &url, headers, body).await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
    let told = pending(server);
    for push in &told {
        server.store.push_told(push).unwrap();
    }
    told.into_iter().map(|push| push.push_resource).collect()
}

#[tokio::test]
async fn who_is_named_is_not_told_and_the_others_are() {
    let server = server();
    let own = register(&server, PUSH_RESOURCE, CONTENT_TRIGGER).await;
    register(&server, OTHER, CONTENT_TRIGGER).await;
    let quoted = format!("\"{own}\"");
    let list = format!("\"https://elsewhere.example/dav/push/0\", {quoted}");
    // A path will do, and early versions of DAVx5 quote nothing.
    for value in [&quoted, &list, &own, path(&own)] {
        let dont_notify = [("push-dont-notify", value)];
        let put = card("a", value);
        assert_eq!(
            told(&server, ("PUT", "a.vcf"), &dont_notify, put).await,
            [OTHER]
        );
    }
    let dont_notify = [("push-dont-notify", quoted.as_str())];
    let copy = [dont_notify[0], ("destination", &format!("{BOOK}b.vcf"))];
    server
        .put(
            "c.vcf",
            "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:C\r\nEND:VCARD\r\n",
        )
        .await;
    for push in pending(&server) {
        server.store.push_told(&push).unwrap();
    }
    assert_eq!(
        told(&server, ("MOVE", "c.vcf"), &copy, String::new()).await,
        [OTHER]
    );
    let deleted = told(&server, ("DELETE", "a.vcf"), &dont_notify, String::new()).await;
    assert_eq!(deleted, [OTHER]);
}

#[tokio::test]
async fn a_star_keeps_all_quiet_and_nonsense_nobody() {
    let server = server();
    register(&server, PUSH_RESOURCE, CONTENT_TRIGGER).await;
    for (value, expected) in [
        ("*", 0),
        ("\"*\"", 0),
        ("", 1),
        ("\"\"", 1),
        ("\"/dav/push/00000000000000000000000000000000\"", 1),
        ("\"/dav/addressbooks/me/contacts/\"", 1),
        ("\"", 1),
        ("%", 1),
    ] {
        let dont_notify = [("push-dont-notify", value)];
        let put = card("a", &format!("Ann {value}"));
        let told = told(&server, ("PUT", "a.vcf"), &dont_notify, put).await;
        assert_eq!(told.len(), expected, "{value}");
    }
}

#[tokio::test]
async fn the_change_of_another_device_is_told_all_the_same() {
    let server = server();
    let own = register(&server, PUSH_RESOURCE, CONTENT_TRIGGER).await;
    server.put("a.vcf", card("a", "Ann of the laptop")).await;
    let quoted = format!("\"{own}\"");
    let dont_notify = [("push-dont-notify", quoted.as_str())];
    let put = card("b", "Bob of the phone");
    assert_eq!(
        told(&server, ("PUT", "b.vcf"), &dont_notify, put).await,
        [PUSH_RESOURCE]
    );
}
