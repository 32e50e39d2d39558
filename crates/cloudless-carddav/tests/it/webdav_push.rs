//! WebDAV-Push (draft-bitfire-webdav-push-00): what devices register for, and what is told then.

mod dont_notify;
mod registration;

use cloudless_carddav::Push;
use cloudless_store::{PendingPush, Timestamp};

use crate::harness::{Answer, BOOK, Server, now};

const PUSH: &str = "https://bitfire.at/webdav-push";
const PUSH_RESOURCE: &str = "https://up.example.net/yohd4yai5Phiz1wi";
const PUBLIC_KEY: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6\
                          SRpkNtoIAiw4";
const AUTH_SECRET: &str = "BTBZMqHH6r4Tts7J_aSIgg";
const CONTENT_TRIGGER: &str =
    "<trigger><content-update><D:depth>1</D:depth></content-update></trigger>";
const XML: (&str, &str) = ("content-type", "application/xml; charset=utf-8");

/// A server that sends push messages.
fn server() -> Server {
    let mut server = Server::start();
    let push = Push {
        vapid_public_key: [4; 65],
        topic_secret: [9; 32],
    };
    server.carddav = server.carddav.with_push(push);
    server
}

/// The body of a registration with this subscription and what else it holds.
fn push_register(subscription: &str, more: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <push-register xmlns=\"{PUSH}\" xmlns:D=\"DAV:\"><subscription>{subscription}\
         </subscription>{more}</push-register>"
    )
}

fn web_push(push_resource: &str) -> String {
    format!(
        "<web-push-subscription><push-resource>{push_resource}</push-resource>\
         <content-encoding>aes128gcm</content-encoding>\
         <subscription-public-key type=\"p256dh\">{PUBLIC_KEY}</subscription-public-key>\
         <auth-secret>{AUTH_SECRET}</auth-secret></web-push-subscription>"
    )
}

async fn post(server: &Server, body: String) -> Answer {
    let headers = [("host", "contacts.example.org:8443"), XML];
    server.send("POST", BOOK, &headers, body).await
}

/// Registers a push resource, and returns the registration's URL.
async fn register(server: &Server, push_resource: &str, more: &str) -> String {
    let answer = post(server, push_register(&web_push(push_resource), more)).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    answer.header("location").to_owned()
}

/// What the devices have not been told yet.
fn pending(server: &Server) -> Vec<PendingPush> {
    server.store.pending_pushes(Timestamp::from(now())).unwrap()
}

/// The path of a URL on the server.
fn path(url: &str) -> &str {
    url.strip_prefix("https://contacts.example.org:8443")
        .unwrap()
}
