use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use cloudless_proto::trust::Level;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::certificate::{AcmeConfig, Gate, IntendedOrder, ValidationMethod, import_accounts};
use crate::trust::dns::DnsConfig;
use crate::trust::dns::tests::knot::{Keys, Knot, Signed, is_missing};
use crate::trust::report::{Account, records};
use crate::trust::transparency::tests::config;
use crate::trust::transparency::tests::log_server::{Log, LogServer};
use crate::trust::{CheckResult, CheckState, LogWatch, TransparencyConfig};

mod alarm;
mod logs;
mod relays;
mod rounds;

/// What an IPv6 address is to a line without IPv6: sending to it fails at once, on every machine.
const UNREACHABLE: Ipv4Addr = Ipv4Addr::BROADCAST;
const NAME: &str = "home.alice.de";
const URI: &str = "https://ca.example/acct/7";
const ADDRESS: &str = "home.alice.de. 60 A 203.0.113.5\n";

fn caa() -> String {
    let wanted = wanted(Level::Public, Some(&account()));
    let lines = records(&NAME.parse().unwrap(), wanted.as_ref());
    lines
        .iter()
        .map(|line| format!("{}\n", line.replacen(" CAA", " 60 CAA", 1)))
        .collect()
}

fn account() -> Account {
    Account {
        issuer: "ca.example".to_owned(),
        uri: URI.to_owned(),
        method: "tls-alpn-01".to_owned(),
    }
}

/// Signs and serves `alice.de`.
fn serve(keys: &Keys, records: &str) -> Knot {
    let ds = keys.ds("alice.de").replacen(" DS", " 60 DS", 1);
    let top = format!("alice.de. 60 NS ns.test.\n{ds}\n");
    let name_server = format!("ns.test. 60 A ADDRESS\nns.test. 60 A {UNREACHABLE}\n");
    Knot::start(
        keys,
        &[
            ("test", name_server, Signed::Nsec),
            ("de", top, Signed::Nsec),
            ("alice.de", records.to_owned(), Signed::Nsec),
        ],
    )
}

fn boot_clock() -> BootClock {
    let started = std::time::Instant::now();
    Arc::new(move || started.elapsed())
}

fn order(number: u32, method: ValidationMethod) -> IntendedOrder {
    IntendedOrder {
        hostname: NAME.parse().unwrap(),
        account_uri: format!("https://ca.example/acct/{number}"),
        method,
        caa_identities: vec!["ca.example".to_owned()],
        directory: "https://ca.example/directory".to_owned(),
    }
}

/// What doctor says of the account, and the records that it shows.
fn account_told(trust: &Trust) -> (CheckState, Vec<String>) {
    let report = trust.reports().remove(0);
    let is_account = |it: &&CheckResult| it.title.contains("account");
    let check = report.checks.iter().find(is_account).unwrap();
    (check.state, report.records)
}

/// A home that asks this server, in a state directory that outlives it.
fn home(keys: &Keys, dns: &Knot, logs: &LogServer, state: &Path, level: Level) -> Trust {
    let anchors = keys.dnskey("de") + &keys.dnskey("test");
    Trust::new(Parts {
        config: TrustConfig {
            level: Some(level),
            dns: DnsConfig {
                // One resolver by two addresses, of which the first is out of reach.
                resolvers: vec![vec![SocketAddr::new(UNREACHABLE.into(), 53), dns.address]],
                trust_anchor: Some(anchors),
                name_server_port: dns.address.port(),
                timeout: Duration::from_secs(5),
            },
            transparency: Some(config(logs)),
            ..TrustConfig::default()
        },
        hostnames: vec![NAME.parse().unwrap()],
        demanding: BTreeSet::new(),
        trusted_alone: BTreeSet::new(),
        relays: Relays::at(&["203.0.113.5:443"]),
        state_dir: state.to_owned(),
        proxy: None,
        ledger: Arc::new(|| Ok(HashSet::from(["0".repeat(64)]))),
        clock: Arc::new(SystemTime::now),
        boot_clock: boot_clock(),
    })
    .unwrap()
}

#[tokio::test]
async fn the_order_of_steps_is_kept() {
    if is_missing() {
        return;
    }
    let keys = Keys::new(&["test", "de", "alice.de"]);
    let logs = LogServer::start().await;
    let state = tempfile::tempdir().unwrap();
    let name: Hostname = NAME.parse().unwrap();
    let decide = async |records: &str| {
        let dns = serve(&keys, records);
        let trust = home(&keys, &dns, &logs, state.path(), Level::Public);
        let decided = trust.decide(&name, account()).await;
        (decided, trust.is_served(&name), trust)
    };
    // Before the CAA records nothing else is looked at; the text says what to publish, to the letter.
    let (refused, is_served, _) = decide(ADDRESS).await;
    let refusal = refused.unwrap_err();
    assert!(!is_served);
    assert!(refusal.contains("there are no CAA records"), "{refusal}");
    for line in caa().replace(" 60 CAA", " CAA").lines() {
        assert!(refusal.contains(line), "{line}: {refusal}");
    }
    assert_eq!(logs.requests(), [""; 0]);
    // Then whether somebody else has a certificate.
    let theirs = logs.issue(NAME);
    let (refused, _, trust) = decide(&caa()).await;
    let refusal = refused.unwrap_err();
    assert!(
        refusal.contains(&theirs) && refusal.contains("Example CA"),
        "{refusal}"
    );
    assert_eq!(trust.reports()[0].unknown_certificates[0].key, theirs);
    let alarms = logs.log.lock().unwrap().alarms.clone();
    assert_eq!(alarms.len(), 1);
    assert_eq!(alarms[0]["hostname"], NAME);
    assert_eq!(alarms[0]["key"], theirs);
    drop(trust);
    accept_key(state.path(), &theirs.to_uppercase()).unwrap();
    // Then the addresses.
    let (refused, is_served, _) = decide(&caa()).await;
    let refusal = refused.unwrap_err();
    assert!(refusal.contains("no A and no AAAA"), "{refusal}");
    assert!(is_served, "the name is protected from here on");
    let wildcards = "alice.de. 60 CAA 0 issuewild \";\"\n";
    let (allowed, is_served, trust) = decide(&(caa() + ADDRESS + wildcards)).await;
    assert_eq!(allowed, Ok(()));
    assert!(is_served);
    let report = trust.reports().remove(0);
    assert_eq!(report.in_force, Level::Public);
    assert!(report.is_signed, "{report:?}");
    // Nobody has said what time it is.
    let wrong: Vec<_> = report
        .checks
        .iter()
        .filter(|it| it.state != CheckState::Good)
        .collect();
    assert!(
        wrong.iter().all(|it| it.title.contains("clock")),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn a_name_is_served_while_it_is_protected_and_silence_changes_nothing() {
    if is_missing() {
        return;
    }
    let keys = Keys::new(&["test", "de", "alice.de"]);
    let logs = LogServer::start().await;
    let state = tempfile::tempdir().unwrap();
    let name: Hostname = NAME.parse().unwrap();
    let good = serve(&keys, &(caa() + ADDRESS));
    let trust = home(&keys, &good, &logs, state.path(), Level::Public);
    // Nothing is known yet.
    assert!(!trust.is_served(&name));
    trust.change(&name, |it| it.account = Some(account()));
    trust.look_at_all().await;
    assert!(trust.is_served(&name));
    drop(trust);
    // The network is gone, also over a restart.
    drop(good);
    let gone = serve(&keys, "");
    let mut trust = home(&keys, &gone, &logs, state.path(), Level::Public);
    drop(gone);
    trust.dns = Dns::new(&DnsConfig {
        resolvers: vec![vec!["127.0.0.1:1".parse().unwrap()]],
        timeout: Duration::from_millis(200),
        ..DnsConfig::default()
    })
    .unwrap();
    trust.look_at_all().await;
    assert!(trust.is_served(&name));
    // Somebody has taken the records away, or added one.
    for records in [
        ADDRESS.to_owned(),
        caa() + ADDRESS + "home.alice.de. 60 CAA 0 issue \"ca.example\"\n",
    ] {
        let bad = serve(&keys, &records);
        let trust = home(&keys, &bad, &logs, state.path(), Level::Public);
        trust.look_at_all().await;
        assert!(!trust.is_served(&name), "{records}");
        assert_eq!(trust.reports()[0].in_force, Level::HonestRelay);
        let honest = home(&keys, &bad, &logs, state.path(), Level::HonestRelay);
        assert!(honest.is_served(&name));
        trust.change(&name, |it| it.is_protected = true);
    }
}

#[tokio::test]
async fn a_pinned_name_is_served_once_no_authority_may_issue() {
    if is_missing() {
        return;
    }
    let keys = Keys::new(&["test", "de", "alice.de"]);
    let logs = LogServer::start().await;
    let name: Hostname = NAME.parse().unwrap();
    for (records, expected) in [
        (caa() + ADDRESS, false),
        (
            "home.alice.de. 60 CAA 0 issue \";\"\n".to_owned() + ADDRESS,
            true,
        ),
    ] {
        let state = tempfile::tempdir().unwrap();
        let dns = serve(&keys, &records);
        let trust = home(&keys, &dns, &logs, state.path(), Level::Pinned);
        trust.look_at_all().await;
        assert_eq!(trust.is_served(&name), expected);
        let refused = trust.decide(&name, account()).await.unwrap_err();
        assert!(refused.contains("pinned"), "{refused}");
    }
}

/// A home that watches the logs and does not ask the DNS.
fn watch_alone(logs: &LogServer, state: &Path) -> Trust {
    let transparency = TransparencyConfig {
        backoff: Duration::from_millis(10),
        ..config(logs)
    };
    Trust::new(Parts {
        config: TrustConfig {
            level: Some(Level::HonestRelay),
            dns: DnsConfig::default(),
            transparency: Some(transparency),
            ..TrustConfig::default()
        },
        hostnames: vec![NAME.parse().unwrap(), "nas.home.internal".parse().unwrap()],
        demanding: BTreeSet::new(),
        trusted_alone: BTreeSet::new(),
        relays: Relays::default(),
        state_dir: state.to_owned(),
        proxy: None,
        ledger: Arc::new(|| Ok(HashSet::new())),
        clock: Arc::new(SystemTime::now),
        boot_clock: boot_clock(),
    })
    .unwrap()
}

#[tokio::test]
async fn the_watch_asks_both_monitors_and_raises_an_alarm_for_what_is_unknown() {
    let keys_dir = tempfile::tempdir().unwrap();
    let logs = LogServer::start().await;
    let theirs = logs.issue(NAME);
    let trust = Arc::new(watch_alone(&logs, keys_dir.path()));
    let shutdown = CancellationToken::new();
    let watch = tokio::spawn(trust.clone().keep(rounds::nothing(), shutdown.clone()));
    let told = |logs: &LogServer| logs.log.lock().unwrap().alarms.len();
    let has = |log: &Log, part: &str| log.requests.iter().any(|it| it.contains(part));
    logs.until(|log| !log.alarms.is_empty() && has(log, "/v1/") && has(log, "?d="))
        .await;
    let requests = logs.requests();
    assert!(
        requests.iter().all(|it| !it.contains("internal")),
        "{requests:?}"
    );
    shutdown.cancel();
    watch.await.unwrap();
    // It is one alarm, though both monitors tell of it.
    assert_eq!(told(&logs), 1);
    let report = trust.reports().remove(0);
    assert_eq!(report.unknown_certificates[0].key, theirs);
    trust.accept(&theirs).unwrap();
    assert!(trust.reports()[0].unknown_certificates.is_empty());
}

#[tokio::test]
async fn a_watch_that_hears_nothing_is_noticed_once() {
    let state = tempfile::tempdir().unwrap();
    let logs = LogServer::start().await;
    let trust = watch_alone(&logs, state.path());
    let name: Hostname = NAME.parse().unwrap();
    let transparency = trust.transparency.clone().unwrap();
    let mut is_silent = false;
    let mut notice = |trust: &Trust| {
        trust.notice_silence(&mut is_silent);
        (trust.reports()[0].logs, is_silent)
    };
    assert_eq!(notice(&trust), (LogWatch::Waiting, false));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3 * 60 * 60)).await;
    tokio::time::resume();
    assert_eq!(notice(&trust), (LogWatch::Silent, true));
    let refusal = "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n";
    logs.log.lock().unwrap().instead = Some(refusal.to_owned());
    let ask = || trust.ask_logs(&transparency, Monitor::CertSpotter, &name);
    ask().await.unwrap_err();
    assert_eq!(notice(&trust), (LogWatch::Silent, true));
    logs.log.lock().unwrap().instead = None;
    ask().await.unwrap();
    assert_eq!(notice(&trust), (LogWatch::Heard, false));
    assert_eq!(trust.reports()[1].logs, LogWatch::Unneeded);
}

#[tokio::test]
async fn a_name_with_a_certificate_can_be_protected_without_another_order() {
    if is_missing() {
        return;
    }
    let keys = Keys::new(&["test", "de", "alice.de"]);
    let logs = LogServer::start().await;
    let state = tempfile::tempdir().unwrap();
    let name: Hostname = NAME.parse().unwrap();
    let mine = order(7, ValidationMethod::TlsAlpn01);
    let dns = serve(&keys, ADDRESS);
    // Under the lowest level, too, what home is told is kept.
    let trust = home(&keys, &dns, &logs, state.path(), Level::HonestRelay);
    Gate::learn(&trust, &mine);
    assert!(trust.is_served(&name));
    drop(trust);
    let trust = home(&keys, &dns, &logs, state.path(), Level::Public);
    trust.look_at_all().await;
    let (account, records) = account_told(&trust);
    assert_eq!(account, CheckState::Good);
    assert_eq!(records.join("\n") + "\n", caa().replace(" 60 CAA", " CAA"));
    assert!(!trust.is_served(&name));
    let dns = serve(&keys, &(caa() + ADDRESS));
    let trust = home(&keys, &dns, &logs, state.path(), Level::Public);
    trust.look_at_all().await;
    assert!(trust.is_served(&name));
}

/// A certificate that somebody got while nothing was known to forbid it lasts for months.
#[tokio::test]
async fn the_logs_are_asked_again_once_protection_was_broken_and_not_before() {
    if is_missing() {
        return;
    }
    let keys = Keys::new(&["test", "de", "alice.de"]);
    let name: Hostname = NAME.parse().unwrap();
    let mine = order(7, ValidationMethod::TlsAlpn01);
    let good = serve(&keys, &(caa() + ADDRESS));
    let open = serve(&keys, ADDRESS);
    let other = serve(&keys, &(caa().replace("acct/7", "acct/8") + ADDRESS));
    let week = 7 * 24 * 60 * 60 * 1000;
    for broken in ["", "method", "open", "away", "account", "before"] {
        let logs = LogServer::start().await;
        let state = tempfile::tempdir().unwrap();
        let start = |dns: &Knot| home(&keys, dns, &logs, state.path(), Level::Public);
        let trust = start(&good);
        assert_eq!(trust.may_order(&mine).await, Ok(()));
        let theirs = logs.issue(NAME);
        let mut next = mine.clone();
        match broken {
            "method" => Gate::learn(&trust, &order(7, ValidationMethod::Http01)),
            "open" => {
                start(&open).look_at_all().await;
                start(&good).look_at_all().await;
            }
            "away" => trust.change(&name, |it| {
                let at = it.protected_at.as_mut().unwrap();
                *at -= week;
            }),
            "account" => next = order(8, ValidationMethod::TlsAlpn01),
            // What an earlier version kept.
            "before" => trust.change(&name, |it| it.protected_at = None),
            _ => {}
        }
        let dns = if broken == "account" { &other } else { &good };
        logs.requests();
        let bad = "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n";
        logs.log.lock().unwrap().instead = Some(bad.to_owned());
        // A restart changes nothing. All the time the name is served.
        let trust = start(dns);
        let decided = trust.may_order(&next).await;
        if ["", "method"].contains(&broken) {
            assert_eq!(decided, Ok(()), "{broken}");
            assert_eq!(logs.requests(), [""; 0]);
        } else {
            // Nor is what was heard before of use while nobody answers.
            let refusal = decided.unwrap_err().message;
            assert!(refusal.contains("502"), "{broken}: {refusal}");
            logs.log.lock().unwrap().instead = None;
            let refusal = trust.may_order(&next).await.unwrap_err().message;
            assert!(refusal.contains(&theirs), "{broken}: {refusal}");
            assert!(trust.is_served(&name));
            trust.accept(&theirs).unwrap();
            assert_eq!(trust.may_order(&next).await, Ok(()), "{broken}");
        }
    }
}

/// The CAA records that doctor shows are those for what was set or imported, also before the next start.
#[tokio::test]
async fn what_was_imported_or_set_while_home_was_stopped_is_told_before_it_starts() {
    if is_missing() {
        return;
    }
    let keys = Keys::new(&["test", "de", "alice.de"]);
    let logs = LogServer::start().await;
    let name: Hostname = NAME.parse().unwrap();
    let dns = serve(&keys, &(caa() + ADDRESS));
    let directory = "https://ca.example/directory";
    let imported = |state: &Path, directory: &str, number: u32| {
        let account = serde_json::json!({
            "id": format!("https://ca.example/acct/{number}"),
            "key_pkcs8": "AAAA",
            "directory": directory,
        });
        let copy = serde_json::json!({ directory: account }).to_string();
        import_accounts(state, &copy, true).unwrap();
    };
    let told = |trust: &Trust| account_told(trust).1[0].clone();
    for (number, method, expected) in [
        (
            7,
            ValidationMethod::TlsAlpn01,
            "acct/7; validationmethods=tls-alpn-01",
        ),
        (
            8,
            ValidationMethod::TlsAlpn01,
            "acct/8; validationmethods=tls-alpn-01",
        ),
        (
            7,
            ValidationMethod::Http01,
            "acct/7; validationmethods=http-01",
        ),
    ] {
        let state = tempfile::tempdir().unwrap();
        let trust = home(&keys, &dns, &logs, state.path(), Level::Public);
        let mut acme = AcmeConfig {
            directory: directory.to_owned(),
            roots: vec![],
            contact: None,
            profile: None,
            method,
            external_account: None,
        };
        // Nothing is known of the authority before the first start.
        imported(state.path(), directory, 7);
        trust.catch_up(&name, state.path(), &acme);
        assert_eq!(trust.reports()[0].records, [""; 0]);
        assert_eq!(
            trust
                .may_order(&order(7, ValidationMethod::TlsAlpn01))
                .await,
            Ok(())
        );
        imported(state.path(), directory, number);
        trust.catch_up(&name, state.path(), &acme);
        let shown = told(&trust);
        assert!(shown.contains(expected), "{shown}");
        assert!(trust.is_served(&name));
        // By which name another authority is known is heard when home starts.
        let known = trust.kept(&name).ordering().cloned();
        acme.directory = "https://other.example/directory".to_owned();
        imported(state.path(), &acme.directory, 9);
        trust.catch_up(&name, state.path(), &acme);
        assert_eq!(trust.kept(&name).ordering().cloned(), known);
    }
}

#[tokio::test]
async fn another_account_or_method_is_told_at_once_and_takes_nothing_offline() {
    if is_missing() {
        return;
    }
    let keys = Keys::new(&["test", "de", "alice.de"]);
    let logs = LogServer::start().await;
    let name: Hostname = NAME.parse().unwrap();
    let old = order(7, ValidationMethod::TlsAlpn01);
    for new in [
        order(8, ValidationMethod::TlsAlpn01),
        order(7, ValidationMethod::Http01),
    ] {
        let state = tempfile::tempdir().unwrap();
        let dns = serve(&keys, &(caa() + ADDRESS));
        let trust = home(&keys, &dns, &logs, state.path(), Level::Public);
        assert_eq!(trust.may_order(&old).await, Ok(()));
        Gate::learn(&trust, &new);
        // Without a look.
        let (account, told) = account_told(&trust);
        assert_eq!(account, CheckState::Bad);
        let expected = format!("{}; validationmethods={}\"", new.account_uri, new.method);
        assert!(told[0].ends_with(&expected), "{told:?}");
        // Neither looks, nor an order that is refused, nor a restart.
        trust.look_at_all().await;
        let refused = trust.may_order(&new).await.unwrap_err().message;
        assert!(refused.contains(&told[0]), "{refused}");
        assert!(trust.is_served(&name));
        drop(trust);
        let trust = home(&keys, &dns, &logs, state.path(), Level::Public);
        trust.look_at_all().await;
        let report = trust.reports().remove(0);
        assert!(report.is_served && report.in_force == Level::Public);
        assert!(report.next.unwrap().contains("publish the CAA records"));
        drop(trust);
        // Somebody else's records do, and those of the new account end the change.
        let (theirs, ours) = (caa().replace("acct/7", "acct/666"), told.join("\n"));
        let ours = ours.replace(" CAA", " 60 CAA") + "\n";
        for (records, is_served) in [(theirs, false), (ours, true)] {
            let dns = serve(&keys, &(records + ADDRESS));
            let trust = home(&keys, &dns, &logs, state.path(), Level::Public);
            trust.look_at_all().await;
            assert_eq!(trust.is_served(&name), is_served);
            if is_served {
                assert_eq!(account_told(&trust), (CheckState::Good, told.clone()));
                assert_eq!(trust.may_order(&new).await, Ok(()));
            }
        }
    }
}
