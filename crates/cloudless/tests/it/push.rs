//! A change reaches a device: a running home, a push service, and a device that reads the message.

mod server;

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, Ed25519KeyPair, UnparsedPublicKey};
use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary;
use crate::client::{Answer, BOOK, Client};
use crate::role::Role;
use server::{Device, Identity, PushServer, Received};

const PUSH: &str = "https://bitfire.at/webdav-push";

/// A home that trusts the push service's certificate, and tunnels to nowhere.
struct Home {
    directory: TempDir,
    role: Role,
    client: Client,
    password: String,
}

impl Home {
    /// Starts a home with these push settings, and makes the certificate that it trusts.
    fn start(settings: &str) -> (Self, Identity) {
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        let added = binary::on(
            path,
            &["device", "add", "me", "phone", "--create-user", "--json"],
        );
        let added: Value = serde_json::from_str(&added.expect(0).stdout).unwrap();
        let password = added["password"].as_str().unwrap().to_owned();
        let key = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        let key = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64.encode(key.as_ref())
        );
        fs::write(path.join("home.key"), key).unwrap();
        let config = format!(
            "hostnames = [\"contacts.example.org\"]\nlocal = \"127.0.0.1:0\"\n\
             [[relay]]\naddresses = [\"127.0.0.1:1\"]\nserver_name = \"relay.test\"\n\
             key = \"ed25519:{}\"\n[push]\n{settings}\n",
            BASE64URL_NOPAD.encode(&[7; 32])
        );
        fs::write(path.join("home.toml"), config).unwrap();
        let identity = Identity::new(&path.join("push-service.pem"));
        let (role, address) = run(&directory);
        let home = Self {
            client: Client::on_loopback(address, &password),
            directory,
            role,
            password,
        };
        (home, identity)
    }

    /// SIGKILL, and a new process.
    fn kill_and_start(&mut self) {
        self.role.kill();
        let (role, address) = run(&self.directory);
        self.role = role;
        self.client = Client::on_loopback(address, &self.password);
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap();
        self.client.send(request).await.unwrap()
    }

    /// Registers a push resource, and returns the registration's URL.
    async fn register(&self, device: &Device, push_resource: &str) -> String {
        let body = format!(
            "<push-register xmlns=\"{PUSH}\" xmlns:D=\"DAV:\">\
             <subscription><web-push-subscription><push-resource>{push_resource}</push-resource>\
             <content-encoding>aes128gcm</content-encoding>\
             <subscription-public-key type=\"p256dh\">{}</subscription-public-key>\
             <auth-secret>{}</auth-secret></web-push-subscription></subscription>\
             <trigger><content-update><D:depth>1</D:depth></content-update></trigger>\
             </push-register>",
            device.public_key(),
            device.auth_secret()
        );
        let headers = [("content-type", "application/xml; charset=utf-8")];
        let answer = self.send("POST", BOOK, &headers, &body).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
        answer.headers["location"].to_str().unwrap().to_owned()
    }

    async fn put(&self, name: &str, headers: &[(&str, &str)]) {
        let card = format!(
            "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{name}\r\nFN:Zebulon Canary\r\nN:Canary;;;;\r\n\
             TEL:+15550100\r\nEND:VCARD\r\n"
        );
        let answer = self
            .send("PUT", &format!("{BOOK}{name}"), headers, &card)
            .await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    /// A property of the address book, as text.
    async fn property(&self, namespace: &str, name: &str) -> String {
        let body = format!(
            "<propfind xmlns=\"DAV:\"><prop><{name} xmlns=\"{namespace}\"/></prop></propfind>"
        );
        let answer = self.send("PROPFIND", BOOK, &[("depth", "0")], &body).await;
        let text = std::str::from_utf8(&answer.body).unwrap();
        let document = roxmltree::Document::parse(text).unwrap();
        let mut nodes = document.descendants();
        let node = nodes
            .find(|node| node.has_tag_name((namespace, name)))
            .unwrap();
        let texts = node.descendants().filter(roxmltree::Node::is_text);
        texts.filter_map(|text| text.text()).collect()
    }

    /// The key that devices are told.
    async fn vapid_public_key(&self) -> String {
        let key = self.property(PUSH, "transports").await;
        assert_eq!(key.len(), 87, "65 bytes in base64url");
        key
    }

    async fn sync_token(&self) -> String {
        self.property("DAV:", "sync-token").await
    }
}

fn run(directory: &TempDir) -> (Role, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudless"));
    command.env("SSL_CERT_FILE", directory.path().join("push-service.pem"));
    let (role, ready) = Role::start_by(command, directory.path(), "home");
    (role, ready["local"][0].as_str().unwrap().parse().unwrap())
}

/// The topic of a message, and its sync token.
fn read(device: &Device, message: &Received) -> (String, String) {
    let text = device.decrypt(&message.body);
    let document = roxmltree::Document::parse(&text).unwrap();
    let root = document.root_element();
    assert!(root.has_tag_name((PUSH, "push-message")), "{text}");
    let find = |namespace, name| {
        let mut nodes = root.descendants();
        let found = nodes.find(|node| node.has_tag_name((namespace, name)));
        found.unwrap().text().unwrap().to_owned()
    };
    (find(PUSH, "topic"), find("DAV:", "sync-token"))
}

/// Checks what proves the sender (RFC 8292 §2, §3).
fn check_vapid(message: &Received, origin: &str, public_key: &str) {
    let authorization = message.headers["authorization"].to_str().unwrap();
    let token = authorization.strip_prefix("vapid t=").unwrap();
    let (token, key) = token.split_once(", k=").unwrap();
    assert_eq!(key, public_key, "the key that the device was told");
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, decode(key))
        .verify(signed.as_bytes(), &decode(signature))
        .unwrap();
    let claims: Value = serde_json::from_slice(&decode(signed.split_once('.').unwrap().1)).unwrap();
    assert_eq!(claims["aud"], origin);
    assert_eq!(claims["sub"], "mailto:me@example.org");
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let expires = claims["exp"].as_u64().unwrap();
    assert!((now..now + 24 * 60 * 60).contains(&expires), "{claims}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_and_nothing_of_the_contact() {
    let settings = "contact = \"mailto:me@example.org\"\nprivate_hosts = [\"localhost\"]";
    let (home, identity) = Home::start(settings);
    let mut service = PushServer::start(&identity).await;
    let (phone, laptop) = (Device::new(), Device::new());
    let own = home
        .register(&phone, &service.url("localhost", "/phone"))
        .await;
    home.put("a.vcf", &[]).await;
    let token = home.sync_token().await;
    let message = service.next().await;
    assert_eq!(message.path, "/phone");
    let header = |name| message.headers[name].to_str().unwrap();
    assert_eq!(header("content-encoding"), "aes128gcm");
    assert_eq!(header("content-type"), "application/xml; charset=\"UTF-8\"");
    assert_eq!(header("ttl"), "86400");
    assert_eq!(header("urgency"), "normal");
    assert_eq!(header("topic").len(), 32);
    let public_key = home.vapid_public_key().await;
    check_vapid(&message, &service.url("localhost", ""), &public_key);
    let topic = home.property(PUSH, "topic").await;
    assert_eq!(read(&phone, &message), (topic.clone(), token));
    let clear = phone.decrypt(&message.body);
    for secret in [
        "Zebulon",
        "Canary",
        "5550100",
        ".vcf",
        "contacts",
        "phone",
        "example.org",
    ] {
        assert!(!clear.contains(secret), "{clear}");
    }

    // A burst is few messages, the last of which tells of all.
    for number in 0..8 {
        home.put(&format!("{number}.vcf"), &[]).await;
    }
    let token = home.sync_token().await;
    let mut messages = 1;
    while read(&phone, &service.next().await).1 != token {
        messages += 1;
    }
    assert!(messages < 4, "{messages}");

    // What the phone does itself it is not told, but another device is.
    home.register(&laptop, &service.url("localhost", "/laptop"))
        .await;
    let quoted = format!("\"{own}\"");
    home.put("d.vcf", &[("push-dont-notify", &quoted)]).await;
    let told = service.next().await;
    assert_eq!(told.path, "/laptop");
    assert_eq!(read(&laptop, &told), (topic, home.sync_token().await));
    assert_ne!(
        told.headers["topic"], message.headers["topic"],
        "not to be linked"
    );

    // Both are told the next change, and the phone nothing before.
    home.put("e.vcf", &[]).await;
    let token = home.sync_token().await;
    let (first, second) = (service.next().await, service.next().await);
    let mut told = [first, second];
    told.sort_by(|a, b| b.path.cmp(&a.path));
    assert_eq!([&*told[0].path, &*told[1].path], ["/phone", "/laptop"]);
    assert_eq!(read(&phone, &told[0]).1, token);
    assert_eq!(read(&laptop, &told[1]).1, token);
    service.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_push_service_does_not_know_any_more_is_forgotten() {
    let (home, identity) = Home::start("private_hosts = [\"localhost\"]");
    let mut service = PushServer::start(&identity).await;
    let (gone, alive) = (Device::new(), Device::new());
    service.answer(&[(410, None)]);
    let registration = home
        .register(&gone, &service.url("localhost", "/gone"))
        .await;
    home.put("a.vcf", &[]).await;
    assert_eq!(service.next().await.path, "/gone");
    home.register(&alive, &service.url("localhost", "/alive"))
        .await;
    for name in ["b.vcf", "c.vcf"] {
        home.put(name, &[]).await;
        let told = service.next().await;
        assert_eq!(told.path, "/alive");
        assert_eq!(read(&alive, &told).1, home.sync_token().await);
    }
    let path = registration.split_once("/dav/").unwrap().1;
    let answer = home.send("DELETE", &format!("/dav/{path}"), &[], "").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    service.assert_quiet();
    let status = binary::on(home.directory.path(), &["home", "status", "--json"]);
    let status: Value = serde_json::from_str(&status.expect(0).stdout).unwrap();
    assert_eq!(status["push_registrations"], 1, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_service_that_is_busy_or_down_is_tried_again() {
    let (home, identity) = Home::start("private_hosts = [\"localhost\"]");
    let mut service = PushServer::start(&identity).await;
    let device = Device::new();
    home.register(&device, &service.url("localhost", "/")).await;
    service.answer(&[(503, Some("1")), (429, Some("1"))]);
    home.put("a.vcf", &[]).await;
    let token = home.sync_token().await;
    for _ in 0..3 {
        assert_eq!(read(&device, &service.next().await).1, token);
    }
    // Nobody listens there, and when the other one was told somebody does.
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let url = format!("https://localhost:{}/", address.port());
    let other = Device::new();
    home.register(&other, &url).await;
    home.put("b.vcf", &[]).await;
    let token = home.sync_token().await;
    assert_eq!(read(&device, &service.next().await).1, token);
    let mut late = PushServer::start_at(&identity, address).await;
    assert_eq!(read(&other, &late.next().await).1, token);
    service.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_home_tells_what_it_had_not_told() {
    let (mut home, identity) = Home::start("private_hosts = [\"localhost\"]");
    let mut service = PushServer::start(&identity).await;
    let device = Device::new();
    home.register(&device, &service.url("localhost", "/")).await;
    service.answer(&[(503, Some("3600"))]);
    home.put("a.vcf", &[]).await;
    let public_key = home.vapid_public_key().await;
    service.next().await;
    home.kill_and_start();
    let again = service.next().await;
    assert_eq!(read(&device, &again).1, home.sync_token().await);
    let same = home.vapid_public_key().await;
    assert_eq!(same, public_key);
    assert!(
        again.headers["authorization"]
            .to_str()
            .unwrap()
            .ends_with(&public_key)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_around_home_is_out_of_reach_unless_it_is_allowed() {
    let (home, identity) = Home::start("private_hosts = [\"localhost\"]");
    let mut service = PushServer::start(&identity).await;
    let (device, other) = (Device::new(), Device::new());
    // The same push service by an address that is not allowed.
    home.register(&device, &service.url("127.0.0.1", "/hidden"))
        .await;
    home.register(&other, &service.url("localhost", "/allowed"))
        .await;
    // And one that cannot prove its name.
    let stranger = Identity::new(&home.directory.path().join("stranger.pem"));
    let mut stranger = PushServer::start(&stranger).await;
    home.register(&device, &stranger.url("localhost", "/"))
        .await;
    for name in ["a.vcf", "b.vcf"] {
        home.put(name, &[]).await;
        assert_eq!(service.next().await.path, "/allowed");
    }
    assert_eq!(service.connections(), 2, "not even a handshake");
    assert!(stranger.connections() > 0);
    stranger.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_and_not_repeated() {
    let (home, identity) = Home::start("private_hosts = [\"localhost\"]");
    let mut service = PushServer::start(&identity).await;
    let device = Device::new();
    home.register(&device, &service.url("localhost", "/")).await;
    service.answer(&[(307, None)]);
    home.put("a.vcf", &[]).await;
    service.next().await;
    home.put("b.vcf", &[]).await;
    assert_eq!(
        read(&device, &service.next().await).1,
        home.sync_token().await
    );
    assert_eq!(service.connections(), 2);
}
