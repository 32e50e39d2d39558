//! What a server says about WebDAV-Push (draft-bitfire-webdav-push-00).

use crate::PUSH;
use crate::markup::{DECLARATION, dav_text, escape, push};

/// The property `transports` (§2.1), for [`Value::Xml`](crate::multistatus::Value::Xml): Web Push,
/// bound to the server by the key that its messages are signed with, in base64url (§7.2).
pub fn transports(vapid_public_key: &str) -> String {
    let mut out = Vec::new();
    open(&mut out, "transports");
    push(
        &mut out,
        &["<web-push><vapid-public-key type=\"p256ecdsa\">"],
    );
    escape(&mut out, vapid_public_key);
    push(&mut out, &["</vapid-public-key></web-push></transports>"]);
    text(out)
}

/// The property `topic` (§2.1), for [`Value::Xml`](crate::multistatus::Value::Xml).
pub fn topic(topic: &str) -> String {
    let mut out = Vec::new();
    open(&mut out, "topic");
    escape(&mut out, topic);
    push(&mut out, &["</topic>"]);
    text(out)
}

/// The property `supported-triggers` (§2.1), for [`Value::Xml`](crate::multistatus::Value::Xml): of
/// a collection without collections in it, whose own properties are watched.
pub fn supported_triggers() -> String {
    let mut out = Vec::new();
    open(&mut out, "supported-triggers");
    for (trigger, depth) in [("content-update", "1"), ("property-update", "0")] {
        push(&mut out, &["<", trigger, "><depth xmlns=\"DAV:\">", depth]);
        push(&mut out, &["</depth></", trigger, ">"]);
    }
    push(&mut out, &["</supported-triggers>"]);
    text(out)
}

/// The message that a client gets (§4.1): which collection changed, what about it, and the sync token
/// that the collection has now if its members changed. It says nothing else.
pub fn push_message(topic: &str, sync_token: Option<&str>, property_update: bool) -> Vec<u8> {
    let mut out = Vec::new();
    push(&mut out, &[DECLARATION]);
    push(
        &mut out,
        &[
            "<push-message xmlns=\"",
            PUSH,
            "\" xmlns:D=\"DAV:\"><topic>",
        ],
    );
    escape(&mut out, topic);
    push(&mut out, &["</topic>"]);
    if let Some(sync_token) = sync_token {
        push(&mut out, &["<content-update>"]);
        dav_text(&mut out, "sync-token", sync_token);
        push(&mut out, &["</content-update>"]);
    }
    if property_update {
        push(&mut out, &["<property-update/>"]);
    }
    push(&mut out, &["</push-message>"]);
    out
}

fn open(out: &mut Vec<u8>, local: &str) {
    push(out, &["<", local, " xmlns=\"", PUSH, "\">"]);
}

fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).expect("it was put together from text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_what_changed_and_nothing_else() {
        let message = push_message("O7M1&", Some("https://a.example/1"), true);
        let expected = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
             <push-message xmlns=\"https://bitfire.at/webdav-push\" xmlns:D=\"DAV:\">\
             <topic>O7M1&amp;</topic>\
             <content-update><D:sync-token>https://a.example/1</D:sync-token></content-update>\
             <property-update/></push-message>";
        assert_eq!(String::from_utf8(message).unwrap(), expected);
        let properties = String::from_utf8(push_message("t", None, true)).unwrap();
        assert!(!properties.contains("content-update"), "{properties}");
    }
}
