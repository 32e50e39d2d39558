use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use self::log_server::LogServer;
use super::*;
use crate::config::{BootClock, Clock, unix_ms};

pub(crate) mod log_server;
mod watched;

const NAME: &str = "home.alice.de";

/// A config that asks this server, without pauses.
pub(crate) fn config(server: &LogServer) -> TransparencyConfig {
    let url = server.url();
    TransparencyConfig {
        cert_spotter: Some(url.clone()),
        crt_sh: Some(url.clone()),
        webhook: Some(Redacted::new(format!("{url}/webhook"))),
        roots: vec![server.root().clone()],
        crt_sh_pause: Duration::ZERO,
        ..TransparencyConfig::default()
    }
}

fn transparency(server: &LogServer) -> Transparency {
    let clock: Clock = Arc::new(SystemTime::now);
    let started = Instant::now();
    let boot_clock: BootClock = Arc::new(move || started.elapsed());
    let config = config(server);
    let fetcher = Fetcher::new(&config.roots, None, clock, boot_clock).unwrap();
    Transparency { config, fetcher }
}

struct Watch {
    transparency: Transparency,
    watched: Watched,
    known: HashSet<String>,
    /// What time this machine thinks it is.
    now: SystemTime,
}

impl Watch {
    fn new(server: &LogServer) -> Self {
        Self {
            transparency: transparency(server),
            watched: Watched::default(),
            known: HashSet::new(),
            now: SystemTime::now(),
        }
    }

    /// The keys that are new and unknown.
    async fn look(&mut self, monitor: Monitor) -> Vec<String> {
        let name = NAME.parse().unwrap();
        let mut cursor = self.watched.clone();
        let look = self.transparency.look(monitor, &name, &mut cursor).await;
        let brought = (monitor, look, cursor);
        let fresh = take_in(&mut self.watched, brought, &self.known, self.now);
        fresh.into_iter().map(|it| it.key).collect()
    }
}

#[tokio::test]
async fn cert_spotter_is_read_page_by_page_and_goes_on_where_it_was() {
    let server = LogServer::start().await;
    let mut watch = Watch::new(&server);
    assert_eq!(watch.look(Monitor::CertSpotter).await, [""; 0]);
    assert!(watch.watched.checked_at.is_some() && watch.watched.error().is_none());
    let [ours, theirs, wild] = [NAME, NAME, "*.alice.de"].map(|name| server.issue(name));
    server.issue("other.alice.de");
    watch.known.insert(ours);
    server.requests();
    assert_eq!(
        watch.look(Monitor::CertSpotter).await,
        [theirs.clone(), wild.clone()]
    );
    assert_eq!(server.requests().len(), 3, "two pages and the empty one");
    // Each is told once, and stays known as unknown.
    assert_eq!(watch.look(Monitor::CertSpotter).await, [""; 0]);
    let requests = server.requests();
    assert!(requests[0].contains("after=1002"), "{requests:?}");
    assert!(requests[0].contains("match_wildcards=true"), "{requests:?}");
    let unknown: Vec<_> = watch.watched.unknown.iter().map(|it| &it.key).collect();
    assert_eq!(unknown, [&theirs, &wild]);
    // What the owner says is theirs is unknown no more.
    watch.known.insert(theirs);
    watch.look(Monitor::CertSpotter).await;
    assert_eq!(watch.watched.unknown.len(), 1);
    let text = watch.watched.unknown[0].to_string();
    assert!(
        text.contains("Example CA") && text.contains("2126-11-28"),
        "{text}"
    );
}

#[tokio::test]
async fn crt_sh_is_read_certificate_by_certificate() {
    let server = LogServer::start().await;
    let mut watch = Watch::new(&server);
    let [ours, theirs, wild] = [NAME, NAME, "*.alice.de"].map(|name| server.issue(name));
    // The precertificate of the second is a row of its own.
    {
        let mut log = server.log.lock().unwrap();
        let mut precertificate = log.certificates[1].clone();
        precertificate.id = 2000;
        log.certificates.push(precertificate);
    }
    watch.known.insert(ours);
    assert_eq!(watch.look(Monitor::CrtSh).await, [theirs, wild]);
    let read = |requests: Vec<String>| requests.iter().filter(|it| it.contains("?d=")).count();
    assert_eq!(read(server.requests()), 3);
    assert_eq!(watch.look(Monitor::CrtSh).await, [""; 0]);
    assert_eq!(read(server.requests()), 0);
}

#[tokio::test]
async fn a_failure_is_told_and_nothing_is_passed_over() {
    let server = LogServer::start().await;
    let theirs = server.issue(NAME);
    let mut watch = Watch::new(&server);
    let long = "x".repeat(5 * 1024 * 1024);
    let huge = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{long}",
        long.len()
    );
    for (monitor, instead, expected) in [
        (
            Monitor::CertSpotter,
            "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
            "429",
        ),
        (
            Monitor::CertSpotter,
            "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
            "302",
        ),
        (
            Monitor::CertSpotter,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "something else",
        ),
        (Monitor::CertSpotter, &huge, "too long"),
        (
            Monitor::CertSpotter,
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[",
            "could not be asked",
        ),
        (
            Monitor::CrtSh,
            "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n",
            "502",
        ),
        (
            Monitor::CrtSh,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm>",
            "something else",
        ),
    ] {
        server.log.lock().unwrap().instead = Some(instead.to_owned());
        assert_eq!(watch.look(monitor).await, [""; 0], "{expected}");
        let error = watch.watched.error().unwrap();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(watch.watched.checked_at.is_none());
    }
    server.log.lock().unwrap().instead = None;
    assert_eq!(watch.look(Monitor::CertSpotter).await, [theirs]);
    assert_eq!(watch.look(Monitor::CrtSh).await, [""; 0]);
    assert!(watch.watched.error().is_none());
}

#[tokio::test]
async fn a_monitor_that_goes_round_in_circles_is_left() {
    let server = LogServer::start().await;
    let mut watch = Watch::new(&server);
    let row = r#"[{"id":"5","pubkey_sha256":"aa","not_before":"x","not_after":"y"}]"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{row}",
        row.len()
    );
    server.log.lock().unwrap().instead = Some(answer);
    // A date that nobody can read does not make it pass.
    assert_eq!(watch.look(Monitor::CertSpotter).await, ["aa"]);
    assert!(watch.watched.error().unwrap().contains("something else"));
    assert!(server.requests().len() <= 2);
}

#[tokio::test]
async fn what_the_monitor_wants_and_its_clock_are_heard() {
    let server = LogServer::start().await;
    let theirs = SystemTime::now() - Duration::from_secs(60 * 60);
    server.log.lock().unwrap().clock = Some(theirs);
    let transparency = transparency(&server);
    let name = NAME.parse().unwrap();
    let look = transparency
        .look(Monitor::CertSpotter, &name, &mut Watched::default())
        .await;
    let told = look.time.unwrap().told();
    assert!((told - unix_ms(theirs)).abs() < 1000);
    assert!(transparency.time().await.unwrap().told() == told);
    let slow = "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    server.log.lock().unwrap().instead = Some(slow.to_owned());
    let look = transparency
        .look(Monitor::CertSpotter, &name, &mut Watched::default())
        .await;
    let error = look.result.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}
