//! Config files: made once, and refused before anything is started.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;
use http::Request;

use crate::binary::{Run, on};
use crate::client::BOOK;
use crate::pair;

fn init(state: &Path) -> Run {
    on(
        state,
        &[
            "relay",
            "init",
            "--address",
            "127.0.0.1",
            "--listen",
            "127.0.0.1:0",
            "--no-http",
        ],
    )
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_makes_everything_once() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("deep/relay");
    let first = init(&state).expect(0);
    assert_eq!(first.stdout, "");
    assert!(first.stderr.contains("cloudless relay invite"), "{first:?}");
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("relay.key")), 0o600);
    assert_eq!(mode(&state.join("relay.toml")), 0o600);

    let key = fs::read(state.join("relay.key")).unwrap();
    let config = fs::read(state.join("relay.toml")).unwrap();
    let second = on(&state, &["relay", "init", "--address", "other.example.org"]).expect(0);
    assert!(second.stderr.contains("nothing changed"), "{second:?}");
    assert_eq!(fs::read(state.join("relay.key")).unwrap(), key);
    assert_eq!(fs::read(state.join("relay.toml")).unwrap(), config);
}

#[test]
fn init_takes_its_name_from_the_first_address() {
    let directory = tempfile::tempdir().unwrap();
    for (address, name) in [
        ("relay.example.org", "relay.example.org"),
        ("203.0.113.5", "relay.cloudless.internal"),
    ] {
        let state = directory.path().join(address);
        on(&state, &["relay", "init", "--address", address]).expect(0);
        let config = fs::read_to_string(state.join("relay.toml")).unwrap();
        assert!(
            config.contains(&format!("\nserver_name = \"{name}\"\n")),
            "{config}"
        );
        assert!(
            config.contains(&format!("\naddresses = [\"{address}:443\"]\n")),
            "{config}"
        );
        assert!(config.contains("\nhttps = \"[::]:443\"\n"), "{config}");
        assert!(config.contains("\nhttp = \"[::]:80\"\n"), "{config}");
    }
}

/// Each wrong file is told by name, line and column, with what was expected, and no port is bound:
/// the address in the file is taken, and nothing complains about that.
#[test]
fn a_corrupt_relay_config_is_refused_before_a_port_is_bound() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("relay");
    init(&state).expect(0);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = state.join("relay.toml");
    let good = fs::read_to_string(&path)
        .unwrap()
        .replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    let line_of = |start: &str| {
        good.lines()
            .position(|line| line.starts_with(start))
            .unwrap()
            + 1
    };

    let cases = [
        (
            good.replace("hold = \"5s\"", "hold = \"5 weeks\""),
            line_of("hold"),
            8,
            "expected a number and a unit",
        ),
        (
            good.replace("[listen]", "[listen"),
            line_of("[listen]"),
            8,
            "expected",
        ),
        (
            good.replace("hold", "holt"),
            line_of("hold"),
            1,
            "expected one of",
        ),
        (
            good.replace("addresses = [\"127", "addresses = [\"_127"),
            line_of("addresses"),
            13,
            "expected HOST",
        ),
        (
            good.replace("server_name = \"", "server_name = \"*."),
            line_of("server_name"),
            15,
            "",
        ),
    ];
    for (text, line, column, expected) in cases {
        assert_ne!(text, good);
        fs::write(&path, &text).unwrap();
        let refused = on(&state, &["relay", "run"]).expect(64);
        let place = format!("{}:{line}:{column}: ", path.display());
        assert!(refused.stderr.contains(&place), "{place} {refused:?}");
        assert!(refused.stderr.contains(expected), "{expected} {refused:?}");
        assert_eq!(refused.stdout, "");
    }
    // Only the whole file gets as far as the port.
    fs::write(&path, &good).unwrap();
    let failed = on(&state, &["relay", "run"]).expect(1);
    assert!(
        failed.stderr.contains("cannot listen on 127.0.0.1:"),
        "{failed:?}"
    );
}

#[test]
fn a_missing_or_damaged_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("relay");
    init(&state).expect(0);
    fs::write(state.join("relay.key"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    let refused = on(&state, &["relay", "run"]).expect(64);
    assert!(
        refused
            .stderr
            .contains("relay.key is not an Ed25519 private key"),
        "{refused:?}"
    );
    fs::remove_file(state.join("relay.key")).unwrap();
    let refused = on(&state, &["relay", "run"]).expect(64);
    assert!(
        refused.stderr.contains("relay.key does not exist"),
        "{refused:?}"
    );
    assert!(
        refused.stderr.contains("cloudless relay init"),
        "{refused:?}"
    );
}

#[test]
fn a_damaged_registry_names_the_line_and_binds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("relay");
    let init = [
        "relay",
        "init",
        "--address",
        "127.0.0.1",
        "--listen",
        "127.0.0.1:0",
    ];
    on(&state, &[&init[..], &["--no-http"]].concat()).expect(0);
    fs::write(state.join("homes.toml"), "[[home]]\nhostname = 7\n").unwrap();
    let refused = on(&state, &["relay", "run"]).expect(64);
    assert!(refused.stderr.contains("homes.toml"), "{refused:?}");
    assert!(refused.stderr.contains("line 2, column 12"), "{refused:?}");
    assert!(!refused.stderr.contains("is ready"), "{refused:?}");
}

#[test]
fn what_is_not_set_up_says_what_to_do_first() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("none");
    let refused = on(&state, &["relay", "run"]).expect(64);
    assert!(
        refused.stderr.contains("cloudless relay init"),
        "{refused:?}"
    );
    let refused = on(&state, &["home", "run"]).expect(64);
    assert!(
        refused.stderr.contains("cloudless home join CODE"),
        "{refused:?}"
    );
    let refused = on(&state, &["device", "list"]).expect(64);
    assert!(refused.stderr.contains("no state directory"), "{refused:?}");
    assert!(!state.exists(), "asking makes nothing");
}

/// RFC 6352 §6.2.2: what clients may write is 3.0, and 4.0 only where home.toml says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vcard_4_is_offered_where_home_toml_says_so() {
    let mut pair = pair::Pair::start();
    let path = pair.folder("home").join("home.toml");
    let written = fs::read_to_string(&path).unwrap();
    for (table, versions) in [
        ("", 1),
        ("\n[carddav]\noffer_vcard_4 = true\n", 2),
        ("\n[carddav]\noffer_vcard_4 = false\n", 1),
    ] {
        pair.kill_home();
        fs::write(&path, format!("{written}{table}")).unwrap();
        pair.start_home();
        let request = Request::builder()
            .method("PROPFIND")
            .uri(BOOK)
            .header("depth", "0")
            .body(Bytes::from_static(
                br#"<propfind xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><prop><C:supported-address-data/></prop></propfind>"#,
            ))
            .unwrap();
        let answer = pair.local_program().send(request).await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let offered = text.matches("content-type=\"text/vcard\"").count();
        assert_eq!(offered, versions, "{table}: {text}");
        assert_eq!(text.contains("version=\"4.0\""), versions == 2, "{text}");
    }
    pair.kill_home();
    fs::write(&path, format!("{written}\n[carddav]\noffer_vcard_4 = 4\n")).unwrap();
    let refused = on(&pair.folder("home"), &["home", "run"]).expect(64);
    assert!(refused.stderr.contains("offer_vcard_4"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_home_config_is_refused_and_does_not_cost_a_join_code() {
    let mut pair = pair::Pair::start();
    pair.kill_home();
    let home = pair.folder("home");
    let path = home.join("home.toml");
    let good = fs::read_to_string(&path).unwrap();
    let outside = good.replace("127.0.0.1:0", "0.0.0.0:0");
    assert_ne!(outside, good);
    fs::write(&path, outside).unwrap();
    let refused = on(&home, &["home", "run"]).expect(64);
    assert!(refused.stderr.contains("home.toml:"), "{refused:?}");
    assert!(
        refused.stderr.contains("expected a loopback address"),
        "{refused:?}"
    );

    let relay = pair.folder("relay");
    let code = on(&relay, &["relay", "invite", "second.example.org"])
        .expect(0)
        .stdout;
    on(&home, &["home", "join", code.trim()]).expect(64);
    fs::write(&path, good).unwrap();
    on(&home, &["home", "join", code.trim()]).expect(0);
    let config = fs::read_to_string(&path).unwrap();
    assert!(
        config.contains("second.example.org") && config.contains("localhost"),
        "{config}"
    );
    assert_eq!(config.matches("[[relay]]").count(), 1, "{config}");
}

#[test]
fn settings_may_be_made_before_a_relay_is_joined() {
    let pair = pair::Pair::start();
    let home = pair.folder("second");
    let path = home.join("home.toml");
    fs::write(&path, "# mine\n[history]\nkeep = \"2y\"\n").unwrap();
    on(&home, &["user", "add", "me"]).expect(0);
    let refused = on(&home, &["home", "run"]).expect(64);
    assert!(refused.stderr.contains("joined no relay"), "{refused:?}");
    let code = on(&pair.folder("relay"), &["relay", "invite", "b.example"]);
    let code = code.expect(0).stdout;
    on(&home, &["home", "join", code.trim()]).expect(0);
    let config = fs::read_to_string(&path).unwrap();
    assert!(
        config.contains("# mine\n[history]\nkeep = \"2y\"\n"),
        "{config}"
    );
    let status = on(&home, &["home", "status", "--json"]).expect(0).json();
    assert_eq!(status["hostnames"][0], "b.example", "{config}");
}
