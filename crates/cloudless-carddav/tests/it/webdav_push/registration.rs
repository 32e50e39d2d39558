//! Service detection (§2) and subscription management (§3).

use std::time::Duration;

use cloudless_carddav::{Push, hash_password};
use cloudless_store::{Access, PUSH_REGISTRATIONS_OF_BOOK_MAX, Timestamp};

use super::{
    AUTH_SECRET, CONTENT_TRIGGER, PUBLIC_KEY, PUSH, PUSH_RESOURCE, XML, path, pending, post,
    push_register, register, server, web_push,
};
use crate::harness::{BOOK, HOME_SET, PASSWORD, Server, basic, card, now};

const PROPERTIES: &str = "<propfind xmlns=\"DAV:\" xmlns:P=\"https://bitfire.at/webdav-push\">\
    <prop><P:transports/><P:topic/><P:supported-triggers/></prop></propfind>";

/// The push properties of an address book, as one text.
async fn properties(server: &Server, path: &str, user: (&str, &str)) -> String {
    let authorization = basic(user.0, user.1);
    let answer = server
        .send_as(
            Some(&authorization),
            "PROPFIND",
            path,
            &[("depth", "0")],
            PROPERTIES,
        )
        .await;
    assert_eq!(answer.status, 207, "{answer:?}");
    answer.text().to_owned()
}

fn topic(multistatus: &str) -> String {
    let document = roxmltree::Document::parse(multistatus).unwrap();
    let topic = document
        .descendants()
        .find(|it| it.has_tag_name((PUSH, "topic")));
    topic.unwrap().text().unwrap().to_owned()
}

#[tokio::test]
async fn section_2_options_say_that_there_is_push() {
    let dav = async |server: &Server| {
        let answer = server.send("OPTIONS", BOOK, &[], "").await;
        assert!(answer.header("allow").contains("POST"), "{answer:?}");
        answer.header("dav").to_owned()
    };
    assert!(dav(&server()).await.ends_with(", webdav-push"));
    assert!(!dav(&Server::start()).await.contains("webdav-push"));
}

#[tokio::test]
async fn section_2_1_properties_of_an_address_book() {
    let server = server();
    let text = properties(&server, BOOK, ("me", PASSWORD)).await;
    let document = roxmltree::Document::parse(&text).unwrap();
    let find = |name| {
        let found = document
            .descendants()
            .find(|it| it.has_tag_name((PUSH, name)));
        found.unwrap_or_else(|| panic!("{name}: {text}"))
    };
    let key = find("vapid-public-key");
    assert_eq!(key.attribute("type"), Some("p256ecdsa"));
    assert_eq!(key.text().unwrap().len(), 87, "65 bytes in base64url");
    assert!(key.parent().unwrap().has_tag_name((PUSH, "web-push")));
    assert!(
        find("web-push")
            .parent()
            .unwrap()
            .has_tag_name((PUSH, "transports"))
    );
    for (trigger, depth) in [("content-update", "1"), ("property-update", "0")] {
        let depths = find(trigger)
            .children()
            .map(|it| (it.tag_name().name(), it.text()));
        assert_eq!(depths.collect::<Vec<_>>(), [("depth", Some(depth))]);
    }
    // Nothing but an address book has them, and nobody writes them.
    let home_set = properties(&server, HOME_SET, ("me", PASSWORD)).await;
    assert!(!home_set.contains("vapid-public-key"), "{home_set}");
    let made_up = "<propertyupdate xmlns=\"DAV:\"><set><prop>\
        <topic xmlns=\"https://bitfire.at/webdav-push\">mine</topic></prop></set></propertyupdate>";
    let answer = server.send("PROPPATCH", BOOK, &[], made_up).await;
    assert!(
        answer.text().contains("cannot-modify-protected-property"),
        "{answer:?}"
    );
    assert_ne!(topic(&text), "mine");
}

#[tokio::test]
async fn section_2_1_a_topic_is_one_per_book_and_says_nothing() {
    let server = server();
    let book = server.book();
    let mine = topic(&properties(&server, BOOK, ("me", PASSWORD)).await);
    assert_eq!(
        mine,
        topic(&properties(&server, BOOK, ("me", PASSWORD)).await)
    );
    // The same book at another URL.
    server
        .store
        .share_book(book.id, "you", Access::ReadOnly)
        .unwrap();
    let shared = "/dav/addressbooks/you/contacts-me/";
    assert_eq!(
        mine,
        topic(&properties(&server, shared, ("you", "yours")).await)
    );
    let other = "/dav/addressbooks/you/contacts/";
    assert_ne!(
        mine,
        topic(&properties(&server, other, ("you", "yours")).await)
    );
    // Another server calls its books otherwise, so that no topic can be guessed.
    let mut another = Server::start();
    another.carddav = another.carddav.with_push(Push {
        vapid_public_key: [4; 65],
        topic_secret: [8; 32],
    });
    assert_ne!(
        mine,
        topic(&properties(&another, BOOK, ("me", PASSWORD)).await)
    );
    assert!(
        !mine.contains(&book.incarnation) && mine.len() == 22,
        "{mine}"
    );
}

#[tokio::test]
async fn section_3_1_a_registration_has_a_url_and_an_end() {
    let server = server();
    let expires = "<expires>Tue, 04 Aug 2026 12:00:00 GMT</expires>";
    let body = push_register(
        &web_push(PUSH_RESOURCE),
        &format!("{CONTENT_TRIGGER}{expires}"),
    );
    let answer = post(&server, body).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(answer.header("expires"), "Tue, 04 Aug 2026 12:00:00 GMT");
    // DAVx5 takes an absolute URL only.
    let name = path(answer.header("location"))
        .strip_prefix("/dav/push/")
        .unwrap();
    assert_eq!(name.len(), 32, "{name}");

    server.put("a.vcf", card("a", "Ann")).await;
    let [push] = pending(&server).try_into().ok().unwrap();
    assert_eq!(push.push_resource, PUSH_RESOURCE);
    assert_eq!((push.public_key.len(), push.auth_secret.len()), (65, 16));
    assert!(push.content && !push.properties);
}

#[tokio::test]
async fn section_3_1_a_message_names_the_state_and_no_contact() {
    let server = server();
    register(&server, PUSH_RESOURCE, CONTENT_TRIGGER).await;
    server.put("a.vcf", card("a", "Ann")).await;
    let [push] = pending(&server).try_into().ok().unwrap();
    let sender = Push {
        vapid_public_key: [4; 65],
        topic_secret: [9; 32],
    };
    let message = String::from_utf8(sender.message(&push)).unwrap();
    let listed = server.propfind(BOOK, "0", &["D:sync-token"]).await;
    let token = listed
        .multistatus()
        .row(BOOK)
        .text("D:sync-token")
        .to_owned();
    assert!(
        message.contains(&format!("<D:sync-token>{token}</D:sync-token>")),
        "{message}"
    );
    let topic = topic(&properties(&server, BOOK, ("me", PASSWORD)).await);
    assert!(
        message.contains(&format!("<topic>{topic}</topic>")),
        "{message}"
    );
    for secret in ["Ann", "a.vcf", "contacts", "me/"] {
        assert!(!message.contains(secret), "{message}");
    }
}

#[tokio::test]
async fn section_3_1_davx5_names_no_trigger_and_no_encoding() {
    let server = server();
    let subscription = format!(
        "<web-push-subscription><push-resource>{PUSH_RESOURCE}</push-resource>\
         <subscription-public-key type=\"p256dh\">{PUBLIC_KEY}=</subscription-public-key>\
         <auth-secret>{AUTH_SECRET}==</auth-secret></web-push-subscription>"
    );
    let answer = post(&server, push_register(&subscription, "")).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    server.put("a.vcf", card("a", "Ann")).await;
    assert!(pending(&server)[0].content);
}

#[tokio::test]
async fn section_3_1_triggers_are_taken_as_far_as_they_go() {
    let server = server();
    let deep = "<trigger><content-update><D:depth>infinity</D:depth></content-update>\
                <property-update><D:depth>1</D:depth><D:prop><D:owner/></D:prop></property-update>\
                <other/></trigger>";
    register(&server, PUSH_RESOURCE, deep).await;
    for none in ["<trigger/>", "<trigger><other/></trigger>"] {
        let answer = post(&server, push_register(&web_push(PUSH_RESOURCE), none)).await;
        answer.assert_condition(403, PUSH, "no-supported-trigger");
    }
    let rename = "<propertyupdate xmlns=\"DAV:\"><set><prop><displayname>Friends</displayname>\
                  </prop></set></propertyupdate>";
    server.send("PROPPATCH", BOOK, &[], rename).await;
    let [push] = pending(&server).try_into().ok().unwrap();
    assert!(push.properties && !push.content);
    server.store.push_told(&push).unwrap();
    let dead = "<propertyupdate xmlns=\"DAV:\"><set><prop><color xmlns=\"urn:x\">red</color>\
                </prop></set></propertyupdate>";
    server.send("PROPPATCH", BOOK, &[], dead).await;
    assert!(pending(&server)[0].properties);
}

#[tokio::test]
async fn section_3_1_what_no_message_can_be_sent_to_is_refused() {
    let server = server();
    let key =
        format!("<subscription-public-key type=\"p256dh\">{PUBLIC_KEY}</subscription-public-key>");
    let secret = format!("<auth-secret>{AUTH_SECRET}</auth-secret>");
    let resource = format!("<push-resource>{PUSH_RESOURCE}</push-resource>");
    let of = |inner: &[&str]| {
        format!(
            "<web-push-subscription>{}</web-push-subscription>",
            inner.concat()
        )
    };
    let mut wrong = vec![
        String::new(),
        "<carrier-pigeon/>".to_owned(),
        web_push(PUSH_RESOURCE).repeat(2),
        of(&[&resource, &key]),
        of(&[&resource, &secret]),
        of(&[&key, &secret]),
        of(&[
            &resource,
            &key,
            &secret,
            "<content-encoding>aesgcm</content-encoding>",
        ]),
        of(&[&resource, &key, "<auth-secret>BTBZMqHH</auth-secret>"]),
        of(&[&resource, &key, "<auth-secret>!</auth-secret>"]),
        of(&[&resource, &secret, &key.replace("p256dh", "x25519")]),
        of(&[&resource, &secret, &key.replace(">BC", ">AC")]),
        of(&[&resource, &secret, &key.replace("iw4<", "<")]),
    ];
    let long = format!("https://up.example.net/{}", "a".repeat(2048));
    for url in [
        "http://up.example.net/a",
        "https:///a",
        "https://me@up.example.net/a",
        "ftp://up.example.net/a",
        "/a",
        "",
        "https://up.example.net/a#b",
        "https://up.example.net/\u{e9}",
        &long,
    ] {
        wrong.push(web_push(url));
    }
    for subscription in wrong {
        let answer = post(&server, push_register(&subscription, CONTENT_TRIGGER)).await;
        assert_eq!(answer.status, 403, "{subscription}: {answer:?}");
        answer.assert_condition(403, PUSH, "invalid-subscription");
    }
    assert_eq!(
        server
            .store
            .push_registrations(Timestamp::from(now()))
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn section_3_1_hostile_bodies_are_refused() {
    let server = server();
    let status = async |body: String| post(&server, body).await.status;
    assert_eq!(status(String::new()).await, 400);
    assert_eq!(status("<propfind xmlns=\"DAV:\"/>".to_owned()).await, 400);
    assert_eq!(
        status("<push-register xmlns=\"DAV:\"/>".to_owned()).await,
        400
    );
    assert_eq!(
        status("<!DOCTYPE a [<!ENTITY b \"c\">]><a/>".to_owned()).await,
        403
    );
    assert_eq!(status(push_register(&"<a>".repeat(64), "")).await, 400);
    assert_eq!(status("\u{1}".to_owned()).await, 400);
    let body = push_register(&web_push(PUSH_RESOURCE), CONTENT_TRIGGER);
    let gzip = [XML, ("content-encoding", "gzip")];
    assert_eq!(server.send("POST", BOOK, &gzip, body).await.status, 415);
}

/// What a form or a script of another site can have a browser send without asking the server first.
#[tokio::test]
async fn a_page_of_another_site_cannot_register() {
    let server = server();
    for headers in [
        &[][..],
        &[("content-type", "text/plain;charset=UTF-8")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "multipart/form-data; boundary=a")],
    ] {
        let body = push_register(&web_push(PUSH_RESOURCE), CONTENT_TRIGGER);
        let answer = server.send("POST", BOOK, headers, body).await;
        assert_eq!(answer.status, 415, "{headers:?}");
    }
    server.put("a.vcf", card("a", "Ann")).await;
    assert_eq!(pending(&server).len(), 0);
}

#[tokio::test]
async fn section_3_1_only_who_may_read_a_book_registers() {
    let server = server();
    let body = || push_register(&web_push(PUSH_RESOURCE), CONTENT_TRIGGER);
    let authorization = basic("you", "yours");
    let you = async |path: &str| {
        let answer = server
            .send_as(Some(&authorization), "POST", path, &[XML], body())
            .await;
        answer.status
    };
    assert_eq!(
        server
            .send_as(None, "POST", BOOK, &[XML], body())
            .await
            .status,
        401
    );
    assert_eq!(you(BOOK).await, 404);
    let shared = "/dav/addressbooks/you/contacts-me/";
    assert_eq!(you(shared).await, 404);
    server
        .store
        .share_book(server.book().id, "you", Access::ReadOnly)
        .unwrap();
    assert_eq!(you(shared).await, 204);
    // The same push resource of another user is another registration.
    let mine = register(&server, PUSH_RESOURCE, CONTENT_TRIGGER).await;
    assert_eq!(
        server
            .store
            .push_registrations(Timestamp::from(now()))
            .unwrap(),
        2
    );
    let answer = server
        .send_as(Some(&authorization), "DELETE", path(&mine), &[], "")
        .await;
    assert_eq!(answer.status, 404);
    server.store.unshare_book(server.book().id, "you").unwrap();
    server.put("a.vcf", card("a", "Ann")).await;
    assert_eq!(pending(&server).len(), 1);
    // There is nothing to register for elsewhere.
    assert_eq!(server.send("POST", HOME_SET, &[], body()).await.status, 405);
}

#[tokio::test]
async fn section_3_1_without_push_it_is_not_available() {
    let server = Server::start();
    let answer = post(
        &server,
        push_register(&web_push(PUSH_RESOURCE), CONTENT_TRIGGER),
    )
    .await;
    answer.assert_condition(403, PUSH, "push-not-available");
    let text = properties(&server, BOOK, ("me", PASSWORD)).await;
    assert!(!text.contains("vapid"), "{text}");
}

#[tokio::test]
async fn section_3_1_registrations_are_bounded() {
    let server = server();
    for number in 0..PUSH_REGISTRATIONS_OF_BOOK_MAX {
        register(
            &server,
            &format!("{PUSH_RESOURCE}/{number}"),
            CONTENT_TRIGGER,
        )
        .await;
    }
    let answer = post(
        &server,
        push_register(&web_push(PUSH_RESOURCE), CONTENT_TRIGGER),
    )
    .await;
    assert_eq!(answer.status, 507, "{answer:?}");
}

#[tokio::test]
async fn section_3_2_the_same_push_resource_updates_its_registration() {
    let server = server();
    let first = register(&server, PUSH_RESOURCE, CONTENT_TRIGGER).await;
    // The phone was set up anew and has another password; it is another device of the same user.
    server
        .store
        .add_device(
            "me",
            "phone 2",
            hash_password("other"),
            Timestamp::from(now()),
        )
        .unwrap();
    let body = push_register(
        &web_push(PUSH_RESOURCE).replace(AUTH_SECRET, "AAAAAAAAAAAAAAAAAAAAAA"),
        CONTENT_TRIGGER,
    );
    let again = server
        .send_as(
            Some(&basic("me", "other")),
            "POST",
            BOOK,
            &[("host", "contacts.example.org:8443"), XML],
            body,
        )
        .await;
    assert_eq!(
        (again.status, again.header("location")),
        (204, first.as_str())
    );
    server.put("a.vcf", card("a", "Ann")).await;
    let [push] = pending(&server).try_into().ok().unwrap();
    assert_eq!(push.auth_secret, [0; 16]);
}

#[tokio::test]
async fn section_3_3_a_registration_is_removed_once() {
    let server = server();
    let url = register(&server, PUSH_RESOURCE, CONTENT_TRIGGER).await;
    let delete = async || server.send("DELETE", path(&url), &[], "").await.status;
    assert_eq!(delete().await, 204);
    assert_eq!(delete().await, 404);
    server.put("a.vcf", card("a", "Ann")).await;
    assert!(pending(&server).is_empty());
    assert_eq!(server.send("GET", path(&url), &[], "").await.status, 404);
    let answer = server.send("OPTIONS", path(&url), &[], "").await;
    assert_eq!(answer.header("allow"), "OPTIONS, DELETE");
}

#[tokio::test]
async fn section_3_3_a_revoked_device_is_told_nothing() {
    let server = server();
    register(&server, PUSH_RESOURCE, CONTENT_TRIGGER).await;
    server.put("a.vcf", card("a", "Ann")).await;
    assert_eq!(pending(&server).len(), 1);
    let at = Timestamp::from(now());
    server.store.revoke_device("me", "phone", at).unwrap();
    assert!(pending(&server).is_empty());
    let answer = post(&server, push_register(&web_push(PUSH_RESOURCE), "")).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn section_3_4_three_days_are_certain_and_thirty_the_most() {
    let server = server();
    let expires = async |date: &str| {
        let date = match date {
            "" => String::new(),
            date => format!("<expires>{date}</expires>"),
        };
        let body = push_register(
            &web_push(PUSH_RESOURCE),
            &format!("{CONTENT_TRIGGER}{date}"),
        );
        post(&server, body).await.header("expires").to_owned()
    };
    let in_three_days = "Tue, 04 Aug 2026 12:00:00 GMT";
    assert_eq!(expires("").await, in_three_days);
    assert_eq!(expires("soon").await, in_three_days);
    // The clock of the phone is wrong.
    assert_eq!(
        expires("Sat, 04 Aug 2001 12:00:00 GMT").await,
        in_three_days
    );
    assert_eq!(
        expires("Sun, 02 Aug 2026 12:00:00 GMT").await,
        "Sun, 02 Aug 2026 12:00:00 GMT"
    );
    assert_eq!(
        expires("Fri, 31 Dec 2027 12:00:00 GMT").await,
        "Mon, 31 Aug 2026 12:00:00 GMT"
    );
    server.put("a.vcf", card("a", "Ann")).await;
    assert_eq!(pending(&server).len(), 1);
    let later = Timestamp::from(now() + Duration::from_secs(30 * 24 * 60 * 60));
    assert!(server.store.pending_pushes(later).unwrap().is_empty());
}
