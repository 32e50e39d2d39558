//! The promise that the relay is blind, tried on the running programs: secrets that nobody can guess
//! go through it, and then everything that it had is searched for them, however written.
//!
//! What finds nothing proves nothing, so the same searches must find the secrets in home, what the
//! relay may know in the relay, and all of it in a proxy that ends TLS.

mod capture;
mod huffman;
mod process;
mod scanner;
mod wiped;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE32_NOPAD, BASE64, HEXLOWER};
use http::Request;
use rustls::KeyLog;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::time::{Instant, interval};

use crate::client::{BOOK, Client};
use crate::corpus;
use crate::line::{End, Line};
use crate::pair::Pair;

use self::capture::{Flow, Flows, Recorder};
use self::process::Paused;
use self::scanner::{Finding, Scanner};

/// A card of this size goes over a leg.
const LARGE: usize = 1024 * 1024;
const HAPROXY: &str = "/usr/sbin/haproxy";
/// Nothing that is waited for takes longer on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_never_holds_what_is_inside_tls() {
    if !can_look() {
        return;
    }
    let (canaries, keys) = (Canaries::new(), Arc::new(Keys::default()));
    let mut pair = Pair::start_as(&format!("{}.test", canaries.host));
    let line = Line::to(End::Tcp(pair.relay_address())).await;
    pair.lead_home_over(line.address());
    pair.restart_with_log("trace", "text");
    let recorder = Recorder::start(&pair.folder("packets"), &[pair.relay_port()]);
    let phone = pair.phone().with_key_log(keys.clone());
    sync(&phone, &canaries).await;
    sync(&phone.clone().over_http2(), &canaries).await;

    // Two uploads are in the middle of the relay, one on the tunnel's stream and one on a leg.
    let (few, many) = (canaries.card("few", 40_000), canaries.card("many", LARGE));
    let on_stream = phone.begin_put("few.vcf", &few, 20_000).await;
    let on_leg = phone.begin_put("many.vcf", &many, LARGE * 3 / 4).await;
    let secrets = Scanner::new(&keys.and(canaries.secrets(&pair)));
    await_in_home(&pair, &secrets, &["few as raw bytes", "many as raw bytes"]).await;
    let home = Paused::new(pair.home_pid());
    for found in [home.memory(&secrets), home.core(&secrets)] {
        assert_has(&found, "password as base64");
        let session = found.iter().any(|it| it.starts_with("TRAFFIC_SECRET"));
        assert!(session, "no key of a session: {found:#?}");
    }
    drop(home);
    let known = Scanner::new(&keys.known_to_relay(&canaries));
    assert_blind(&pair, &known, &secrets);
    pair.kill_relay();
    drop((on_stream, on_leg));

    // The relay begins anew, and then a download is cut off on its way to the tunnel.
    pair.start_relay();
    sync(&phone, &canaries).await;
    let mut download = phone.begin_get(&canaries.name("large")).await;
    download.read_exact(&mut [0; LARGE / 4]).await.unwrap();
    line.cut();
    let mut rest = Vec::new();
    let cut = download.read_to_end(&mut rest).await;
    assert!(cut.is_err() || rest.len() < LARGE, "the line was not cut");
    sync(&phone, &canaries).await;
    sync(&phone.clone().over_http2(), &canaries).await;
    let _open = phone.begin_put("few.vcf", &few, 20_000).await;
    let secrets = Scanner::new(&keys.and(canaries.secrets(&pair)));
    let known = Scanner::new(&keys.known_to_relay(&canaries));
    assert_blind(&pair, &known, &secrets);

    // What it wrote: registry, settings, and the log at its most talkative.
    assert!(pair.log("relay").contains(" TRACE "));
    let folder = pair.folder("relay");
    assert_has(&process::files(&folder, &known), "server name as raw bytes");
    assert_eq!(process::files(&folder, &secrets), BTreeSet::new());

    // What it sent and received.
    let packets = recorder.stop();
    let flows = capture::flows(&packets);
    let (mut seen, mut leaked) = (BTreeSet::new(), BTreeSet::new());
    for bytes in flows.values().chain([&fs::read(&packets).unwrap()]) {
        seen.extend(known.find(bytes));
        leaked.extend(secrets.find(bytes));
    }
    assert_has(&seen, "server name as raw bytes");
    assert_has(&seen, "client random as raw bytes");
    assert_eq!(leaked, BTreeSet::new());
    assert!(goes_on_on_legs(&flows, pair.relay_port()), "no legs");

    // All of it went by: whoever has the keys finds it in what was recorded.
    let key_log = pair.folder("packets").join("keys.txt");
    fs::write(&key_log, keys.nss()).unwrap();
    let inside = capture::decrypted(&packets, &key_log, pair.relay_port());
    let inside = secrets.find(&inside);
    for written in [
        "few as raw bytes",
        "href as HPACK-Huffman",
        "href as raw bytes",
        "name as raw bytes",
        "note as raw bytes",
        "password as base64",
        "password as base64 in HPACK-Huffman",
        "photo as base64",
    ] {
        assert_has(&inside, written);
    }
}

/// The usual way to reach a server at home, whose proxy ends TLS on the rented machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_ends_tls_is_found_out() {
    if !can_look() {
        return;
    }
    if !Path::new(HAPROXY).exists() {
        return corpus::missing("haproxy, the proxy that is not blind");
    }
    let canaries = Canaries::new();
    let pair = Pair::start_as(&format!("{}.test", canaries.host));
    let folder = pair.folder("proxy");
    let local = pair.local_address();
    let socket = folder.join("socket");
    let certificate = format!("certificates/{}.test.pem", canaries.host);
    let configuration = format!(
        "global\n log stderr format raw local0\n\
         defaults\n mode http\n log global\n option httplog\n\
         \x20timeout client 60s\n timeout connect 60s\n timeout server 60s\n\
         frontend public\n bind unix@{} ssl crt {}\n\
         \x20http-request set-header host localhost\n default_backend home\n\
         backend home\n server home {local}\n",
        socket.display(),
        pair.folder("home").join(certificate).display(),
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, configuration).unwrap();
    let mut command = Command::new(HAPROXY);
    command.arg("-db").arg("-f").arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let log = fs::File::create(folder.join("log")).unwrap();
    let proxy = Child(command.stderr(log).spawn().unwrap());
    let mut looks = interval(POLL_INTERVAL);
    let start = Instant::now();
    while UnixStream::connect(&socket).await.is_err() {
        assert!(start.elapsed() < PATIENCE, "HAProxy does not start");
        looks.tick().await;
    }
    let recorder = Recorder::start(&pair.folder("packets"), &[local.port()]);
    let line = Line::to(End::Unix(socket)).await;
    let phone = pair.phone().at(line.address());
    sync(&phone, &canaries).await;

    let secrets = Scanner::new(&canaries.secrets(&pair));
    let paused = Paused::new(proxy.0.id());
    for found in [paused.memory(&secrets), paused.core(&secrets)] {
        assert_has(&found, "password as base64");
        assert_has(&found, "photo as base64");
    }
    drop(paused);
    assert_has(&process::files(&folder, &secrets), "href as raw bytes");
    let mut found = BTreeSet::new();
    for bytes in capture::flows(&recorder.stop()).values() {
        found.extend(secrets.find(bytes));
    }
    assert_has(&found, "note as raw bytes");
    assert_has(&found, "password as base64");
}

/// Whether this machine lets a test look into processes and at packets.
fn can_look() -> bool {
    let programs = ["gcore", "tcpdump", "tshark"];
    if let Some(program) = programs.iter().find(|it| !process::has(it)) {
        corpus::missing(&format!("{program}, which shows what a process holds"));
        return false;
    }
    if !rustix::process::geteuid().is_root() {
        corpus::missing("root, who may look into every process");
        return false;
    }
    true
}

/// One session of a phone that begins with nothing: all is written, listed, and read again.
async fn sync(phone: &Client, canaries: &Canaries) {
    let mut connection = phone.connect().await.unwrap();
    for (name, size) in [("small", 300), ("large", LARGE)] {
        let card = canaries.card(name, size);
        let put = connection.put(&canaries.name(name), &card).await.unwrap();
        assert!(put.status.is_success(), "{put:?}");
        let got = connection.get(&canaries.name(name)).await.unwrap();
        assert!(got.body == card, "{:?}", got.status);
    }
    let report = r#"<sync-collection xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><sync-token/>
        <sync-level>1</sync-level><prop><getetag/><C:address-data/></prop></sync-collection>"#;
    let request = Request::builder().method("REPORT").uri(BOOK);
    let request = request.body(Bytes::from_static(report.as_bytes())).unwrap();
    let answer = connection.send(request).await.unwrap();
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.contains(&canaries.note), "{:?}", answer.status);
}

/// Waits until an upload has come as far as home's memory.
async fn await_in_home(pair: &Pair, secrets: &Scanner, wanted: &[&str]) {
    let mut looks = interval(POLL_INTERVAL);
    let start = Instant::now();
    loop {
        looks.tick().await;
        let found = Paused::new(pair.home_pid()).memory(secrets);
        if wanted.iter().all(|it| found.contains(*it)) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "home has only {found:#?}");
    }
}

/// Looks into the relay, which stands still meanwhile.
#[track_caller]
fn assert_blind(pair: &Pair, known: &Scanner, secrets: &Scanner) {
    let relay = Paused::new(pair.relay_pid());
    for found in [relay.memory(known), relay.core(known)] {
        assert_has(&found, "server name as raw bytes");
    }
    assert_eq!(relay.memory(secrets), BTreeSet::new());
    assert_eq!(relay.core(secrets), BTreeSet::new());
}

/// Whether the bytes of a visitor, deep in its upload, go on from the relay as they came.
fn goes_on_on_legs(flows: &Flows, port: u16) -> bool {
    let to_relay = |flow: &Flow| flow.to_port == port;
    let largest = flows.iter().filter(|(flow, _)| to_relay(flow));
    let deep = largest
        .filter(|(_, bytes)| bytes.len() > LARGE / 2)
        .map(|(_, bytes)| &bytes[bytes.len() / 2..][..64]);
    let mut sent = flows.iter().filter(|(flow, _)| !to_relay(flow));
    let deep: Vec<_> = deep.collect();
    sent.any(|(_, bytes)| {
        deep.iter()
            .any(|part| bytes.windows(part.len()).any(|it| it == *part))
    })
}

#[track_caller]
fn assert_has(found: &BTreeSet<Finding>, wanted: &str) {
    assert!(found.contains(wanted), "void: no {wanted} in {found:#?}");
}

/// Secrets made anew for each test, in the alphabet of app passwords.
struct Canaries {
    host: String,
    href: String,
    name: String,
    note: String,
    photo: String,
    /// What is only in the card of this name.
    cards: BTreeMap<&'static str, String>,
}

impl Canaries {
    fn new() -> Self {
        Self {
            host: canary(),
            href: canary(),
            name: canary(),
            note: canary(),
            photo: canary(),
            cards: ["small", "large", "few", "many"]
                .map(|name| (name, canary()))
                .into(),
        }
    }

    /// The last part of a card's URL.
    fn name(&self, card: &str) -> String {
        format!("{}-{card}.vcf", self.href)
    }

    fn card(&self, name: &str, size: usize) -> Vec<u8> {
        let n_times = size * 3 / 4 / self.photo.len() + 1;
        let photo = BASE64.encode(self.photo.repeat(n_times).as_bytes());
        format!(
            "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{}\r\nNOTE:{}\r\n\
             PHOTO;ENCODING=b;TYPE=JPEG:{photo}\r\nEND:VCARD\r\n",
            self.name,
            self.note,
            uid = self.cards[name],
        )
        .into_bytes()
    }

    /// What the relay must never hold, by name.
    fn secrets(&self, pair: &Pair) -> BTreeMap<String, Vec<u8>> {
        let fields = [
            ("href", self.href.as_str()),
            ("name", &self.name),
            ("note", &self.note),
            ("photo", &self.photo),
            ("password", pair.password()),
        ];
        let cards = self.cards.iter().map(|(name, it)| (*name, it.as_str()));
        let secrets = fields.into_iter().chain(cards);
        secrets
            .map(|(name, it)| (name.to_owned(), it.as_bytes().to_vec()))
            .collect()
    }
}

fn canary() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).unwrap();
    BASE32_NOPAD.encode(&random).to_ascii_lowercase()
}

/// The keys of a phone's sessions, as they are agreed upon.
#[derive(Default)]
struct Keys(Mutex<Vec<Key>>);

/// What kind of key it is, the session's client random, and the key.
type Key = (String, Vec<u8>, Vec<u8>);

impl Keys {
    /// These, and others that are secret too.
    fn and(&self, mut secrets: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
        for (number, (label, _, secret)) in self.0.lock().unwrap().iter().enumerate() {
            let label = label.replace("CLIENT_TRAFFIC", "TRAFFIC");
            let label = label.replace("SERVER_TRAFFIC", "TRAFFIC");
            secrets.insert(format!("{label} {number}"), secret.clone());
        }
        secrets
    }

    /// What stands in the ClientHello of the last session, in the clear.
    fn known_to_relay(&self, canaries: &Canaries) -> BTreeMap<String, Vec<u8>> {
        let keys = self.0.lock().unwrap();
        let (_, random, _) = keys.last().expect("a session");
        [
            ("client random".to_owned(), random.clone()),
            ("server name".to_owned(), canaries.host.clone().into_bytes()),
        ]
        .into()
    }

    /// In the format that SSLKEYLOGFILE has everywhere.
    fn nss(&self) -> String {
        let keys = self.0.lock().unwrap();
        let lines = keys.iter().map(|(label, random, secret)| {
            let (random, secret) = (HEXLOWER.encode(random), HEXLOWER.encode(secret));
            format!("{label} {random} {secret}\n")
        });
        lines.collect()
    }
}

impl KeyLog for Keys {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let key = (label.to_owned(), client_random.to_vec(), secret.to_vec());
        self.0.lock().unwrap().push(key);
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// Another program that ends with the test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
