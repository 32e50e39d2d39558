//! What Prometheus reads of a running pair, against docs/metrics.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use cloudless_home::VisitorRefusal;
use cloudless_relay::Outcome;
use http::StatusCode;
use serde_json::{Value, json};

use crate::binary::{self, on};
use crate::pair::{HOSTNAME, Pair};
use crate::role::{LOG, Role};

const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");

/// Families by name, with their type.
type Families = BTreeMap<String, String>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_has_each_metric_and_no_other() {
    let mut pair = Pair::start();
    let (relay, home) = (pair.folder("relay"), pair.folder("home"));
    pair.kill_home();
    pair.kill_relay();
    set(&relay, "relay.toml", "127.0.0.1:0");
    set(&home, "home.toml", "[::1]:0");
    let (_relay, ready) = Role::start(&relay, "relay");
    let relay_address = ready["metrics"].as_str().unwrap().to_owned();
    let (mut role, ready) = Role::start(&home, "home");
    let home_address = ready["metrics"].as_str().unwrap().to_owned();
    assert_eq!(role.line()["tunnel"], "up");
    let mut connection = pair.phone().connect().await.unwrap();
    let got = connection.get("not-there.vcf").await.unwrap();
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    // Who says hello and goes is not served.
    let mut visitor = TcpStream::connect(pair.relay_address()).unwrap();
    visitor.write_all(&pair.phone().hello()).unwrap();
    visitor.shutdown(Shutdown::Write).unwrap();
    let is_refused = |status: &Value| status["refused"]["handshake_failed"] == 1;
    binary::until(&home, "home", is_refused);

    for (heading, address) in [("Relay", relay_address), ("Home", home_address)] {
        let text = get(&address, "/metrics", "200");
        let mut documented = documented(heading);
        documented.extend(self::documented("Both"));
        assert_eq!(families(&text), documented, "{text}");
        for private in [HOSTNAME, "127.0.0.1", "relay.test", "not-there"] {
            assert!(!text.contains(private), "{private}: {text}");
        }
        get(&address, "/", "404");
        assert_eq!(ask(&address, "POST", "/metrics", "405"), "");
        let value = |start: &str| -> f64 {
            let mut lines = text.lines();
            let rest = lines.find_map(|line| line.strip_prefix(start));
            rest.unwrap_or_else(|| panic!("no {start} in {text}"))
                .trim()
                .parse()
                .unwrap()
        };
        if heading == "Relay" {
            assert!(value("cloudless_relay_sessions ") >= 1.0, "{text}");
            assert!(value("cloudless_relay_visitors_total ") >= 1.0, "{text}");
        } else {
            let of_tunnel = r#"{relay="0",direction="up",path="tunnel"} "#;
            let up = value(&format!("cloudless_home_bytes_total{of_tunnel}"));
            assert!(up > 0.0, "{text}");
            let of_get = r#"{method="GET",class="4xx"} "#;
            let requests = value(&format!("cloudless_home_requests_total{of_get}"));
            assert!((requests - 1.0).abs() < 0.1, "{text}");
            let of_failed = r#"{class="handshake_failed"} "#;
            let refused = value(&format!("cloudless_home_visitors_refused_total{of_failed}"));
            assert!((refused - 1.0).abs() < 0.1, "{text}");
            assert!(value("cloudless_home_store_bytes ") > 0.0, "{text}");
        }
        assert!(value("process_open_fds ") > 3.0, "{text}");
        assert!(
            value("process_resident_memory_bytes ") > 1_000_000.0,
            "{text}"
        );
        assert!(value("cloudless_tasks ") >= 1.0, "{text}");
    }
}

/// What an owner would be woken for is in the status and in the metrics.
#[test]
fn a_name_that_is_not_served_and_a_certificate_of_somebody_else_count() {
    const NAME: &str = "home.somebody.de";
    let mut pair = Pair::start();
    let home = pair.folder("home");
    pair.kill_home();
    set(&home, "home.toml", "[::1]:0");
    let file = home.join("home.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replacen(
        &format!("hostnames = [\"{HOSTNAME}\"]"),
        &format!("hostnames = [\"{HOSTNAME}\", \"{NAME}\"]"),
        1,
    );
    // Nobody answers there.
    let rest = "[dns]\nresolvers = [\"127.0.0.1:1\"]\nname_server_port = 1\n\
                [transparency]\ncert_spotter = \"https://127.0.0.1:1\"\ncrt_sh = \"https://127.0.0.1:1\"\n";
    fs::write(&file, format!("{text}\n{rest}")).unwrap();
    let known = json!({ "names": { NAME: { "watched": { "unknown": [{
        "key": "ab".repeat(32),
        "issuer": "Example CA",
        "not_before": "2026-01-01T00:00:00Z",
        "not_after": "2099-01-01T00:00:00Z",
        "monitor": "cert_spotter",
        "id": "1",
    }]}}}});
    fs::write(home.join("trust.json"), known.to_string()).unwrap();
    let (role, ready) = Role::start(&home, "home");
    let text = get(ready["metrics"].as_str().unwrap(), "/metrics", "200");
    for line in [
        "cloudless_home_names_not_served 1",
        "cloudless_home_unknown_certificates 1",
        "cloudless_home_names_not_watched 0",
        "cloudless_home_silent_devices 0",
        "cloudless_home_certificates_missing 0",
        "cloudless_home_tunnel_warning{relay=\"0\"} 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    // Who has just set it up is told at once what is left to do.
    let log = fs::read_to_string(home.join(LOG)).unwrap();
    let told = format!("not served yet     {NAME}: `cloudless home doctor`");
    assert!(log.contains(&told), "{log}");
    assert!(
        !log.contains(&format!("not served yet     {HOSTNAME}")),
        "{log}"
    );
    let status = on(&home, &["home", "status"]).expect(0).stdout;
    for part in [
        "alarm",
        "Example CA",
        "home did not make its key",
        "not served",
    ] {
        assert!(status.contains(part), "{part}: {status}");
    }
    // Who has turned the watch off is told what that means.
    drop(role);
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replacen("[transparency]\n", "[transparency]\nenabled = false\n", 1);
    fs::write(&file, text).unwrap();
    let (_role, ready) = Role::start(&home, "home");
    let text = get(ready["metrics"].as_str().unwrap(), "/metrics", "200");
    let line = "cloudless_home_names_not_watched 1";
    assert!(text.lines().any(|it| it == line), "{text}");
    for (command, part) in [
        ("status", "nobody watches them"),
        ("trust", "nobody watches the logs"),
    ] {
        let shown = on(&home, &["home", command]).expect(0).stdout;
        assert!(shown.contains(part), "{command}: {shown}");
    }
}

#[test]
fn the_document_has_each_class_of_connections_and_no_other() {
    let row = |it: &Outcome| format!("| `{}` | {} |", it.name(), it.meaning());
    let expected: Vec<_> = Outcome::ALL.iter().map(row).collect();
    assert_eq!(classes("Classes"), expected);
}

#[test]
fn the_document_has_each_class_of_refused_visitors_and_no_other() {
    let row = |it: &VisitorRefusal| format!("| `{}` | {} |", it.name(), it.meaning());
    let expected: Vec<_> = VisitorRefusal::ALL.iter().map(row).collect();
    assert_eq!(classes("Refused visitors"), expected);
}

/// The rows of the table of classes below a heading.
fn classes(heading: &str) -> Vec<String> {
    let mut sections = DOCUMENT.split("\n## ");
    let section = sections.find(|it| it.starts_with(heading)).unwrap();
    let rows = section.lines().filter(|it| it.starts_with("| `"));
    rows.map(str::to_owned).collect()
}

#[test]
fn metrics_are_for_this_machine_alone() {
    let mut pair = Pair::start();
    pair.kill_home();
    pair.kill_relay();
    for role in ["relay", "home"] {
        let state = pair.folder(role);
        set(&state, &format!("{role}.toml"), "0.0.0.0:9464");
        let refused = on(&state, &[role, "run"]).expect(64);
        let expected = "`0.0.0.0:9464` can be reached from other machines";
        assert!(refused.stderr.contains(expected), "{refused:?}");
    }
}

/// A reload that is refused counts beside one that is not.
#[test]
fn a_role_that_cannot_be_asked_answers_503_and_reloads_are_counted() {
    let mut pair = Pair::start();
    let state = pair.folder("relay");
    pair.kill_relay();
    set(&state, "relay.toml", "127.0.0.1:0");
    let (_relay, ready) = Role::start(&state, "relay");
    let address = ready["metrics"].as_str().unwrap();
    on(&state, &["relay", "reload"]).expect(0);
    let path = state.join("relay.toml");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, "nonsense").unwrap();
    for _ in 0..2 {
        assert_ne!(on(&state, &["relay", "reload"]).code, Some(0));
    }
    fs::write(&path, good).unwrap();
    for (result, count) in [("taken", 1), ("refused", 2)] {
        let sample = format!("cloudless_relay_reloads_total{{result=\"{result}\"}} ");
        assert_eq!(value(address, &sample), count);
    }
    // Somebody has cleaned up too much.
    fs::remove_file(state.join("relay.sock")).unwrap();
    get(address, "/metrics", "503");
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting() {
    let mut pair = Pair::start();
    pair.kill_home();
    pair.kill_relay();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for role in ["relay", "home"] {
        let state = pair.folder(role);
        set(&state, &format!("{role}.toml"), &address);
        let refused = on(&state, &[role, "run"]);
        assert_ne!(refused.code, Some(0), "{refused:?}");
        for said in [&address, &format!("`metrics` in {role}.toml")] {
            assert!(refused.stderr.contains(said), "{refused:?}");
        }
    }
}

/// Puts the setting before all tables.
pub(crate) fn set(state: &Path, file: &str, address: &str) {
    let path = state.join(file);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("metrics = \"{address}\"\n{text}")).unwrap();
}

/// A whole number that a running role tells; `sample` is its name with its labels, and a space.
pub(crate) fn value(address: &str, sample: &str) -> u64 {
    let text = get(address, "/metrics", "200");
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(sample));
    let value = value.unwrap_or_else(|| panic!("no {sample} in {text}"));
    value.parse().unwrap()
}

fn get(address: &str, path: &str, status: &str) -> String {
    ask(address, "GET", path, status)
}

fn ask(address: &str, method: &str, path: &str, status: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    body.to_owned()
}

/// The rows of the tables below a heading.
fn documented(heading: &str) -> Families {
    let mut sections = DOCUMENT.split("\n## ");
    let section = sections.find(|it| it.starts_with(heading)).unwrap();
    let rows = section.lines().filter_map(|it| it.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        let (kind, _) = rest.split_once(' ').unwrap();
        (name.to_owned(), kind.to_owned())
    })
    .collect()
}

/// Checks the text as the format's grammar has it: HELP, TYPE, then samples of that family alone,
/// no family and no sample twice, names and labels of the allowed characters, numbers as values.
fn families(text: &str) -> Families {
    assert!(text.ends_with('\n'), "{text}");
    let mut found = Families::new();
    let mut samples = BTreeSet::new();
    let (mut helped, mut current) = ("", "");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').expect("a name and a help text").0;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, helped, "{line}");
            assert!(is_name(name), "{line}");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let before = found.insert(name.to_owned(), kind.to_owned());
            assert_eq!(before, None, "{line}");
            current = name;
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert!(samples.insert(sample), "twice: {line}");
            let labels = sample.strip_prefix(current).expect("its own family");
            if !labels.is_empty() {
                let labels = labels.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
                for label in labels.expect("labels in braces").split(',') {
                    let (name, value) = label.split_once('=').unwrap();
                    assert!(is_name(name), "{line}");
                    let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
                    assert!(!value.expect("quoted").contains(['"', '\\']), "{line}");
                }
            }
        }
    }
    found
}

fn is_name(name: &str) -> bool {
    let is_allowed = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    name.starts_with(|it: char| it.is_ascii_lowercase()) && name.chars().all(is_allowed)
}
