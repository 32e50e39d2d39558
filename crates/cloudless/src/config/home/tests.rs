use super::super::parse;
use super::*;
use cloudless_home::certificate::{CertificateFiles, CertificateSource};
use cloudless_proto::proxy_protocol::Version;

fn relay(address: &str, key: u8) -> RelayTable {
    RelayTable {
        addresses: vec![address.parse().unwrap()],
        server_name: "relay.cloudless.internal".parse().unwrap(),
        key: PublicKey([key; 32]),
    }
}

#[test]
fn joining_twice_keeps_comments_and_both_names() {
    let mut document = HomeDocument::new();
    document
        .add(
            &"a.example".parse().unwrap(),
            &relay("203.0.113.5:443", 1),
            |_| false,
        )
        .unwrap();
    let text = format!("# mine\n{}", document.0);
    let mut document = HomeDocument(text.parse().unwrap());
    document
        .add(
            &"b.example".parse().unwrap(),
            &relay("203.0.113.6:443", 1),
            |_| false,
        )
        .unwrap();
    document
        .add(
            &"c.example".parse().unwrap(),
            &relay("203.0.113.7:443", 2),
            |_| false,
        )
        .unwrap();
    let text = document.0.to_string();
    assert!(text.starts_with("# mine\n"), "{text}");
    let file: HomeFile = parse(text.as_bytes()).unwrap();
    let hostnames: Vec<_> = file.hostnames.iter().map(Hostname::as_str).collect();
    assert_eq!(hostnames, ["a.example", "b.example", "c.example"]);
    assert_eq!(
        file.relay.own,
        [relay("203.0.113.6:443", 1), relay("203.0.113.7:443", 2)]
    );
    assert_eq!(file.local.0, [DEFAULT_LOCAL]);
}

#[test]
fn a_relay_with_another_key_at_the_same_place_is_the_same_relay() {
    let add = |relays: &[RelayTable], is_successor: fn(PublicKey) -> bool| {
        let mut document = HomeDocument::new();
        for relay in relays {
            let hostname = "a.example".parse().unwrap();
            document.add(&hostname, relay, is_successor).unwrap();
        }
        parse::<HomeFile>(document.0.to_string().as_bytes()).unwrap()
    };
    // It was set up anew, or rotated its key while home was away.
    let (old, new) = (relay("203.0.113.5:443", 1), relay("203.0.113.5:443", 2));
    let file = add(&[old.clone(), new.clone()], |_| false);
    assert_eq!(file.relay.own, [new]);
    assert_eq!(file.hostnames.len(), 1);
    // It has announced that key, and what home joined with stays the mark of it.
    let moved = relay("203.0.113.6:443", 2);
    let file = add(&[old.clone(), moved.clone()], |known| {
        known == PublicKey([1; 32])
    });
    assert_eq!(file.relay.own, [relay("203.0.113.6:443", 1)]);
    assert_eq!(
        add(&[old.clone(), moved.clone()], |_| false).relay.own,
        [old, moved]
    );
}

#[test]
fn a_table_belongs_to_a_name_of_this_home() {
    let good = "hostnames = [\"a.example\", \"nas.example\"]\n[[relay]]\naddresses = \
        [\"r.example\"]\nserver_name = \"r.example\"\n";
    let good = format!("{good}key = \"{}\"\n", PublicKey([1; 32]));
    let read = |table: &str| parse::<HomeFile>(format!("{good}{table}").as_bytes());
    for address in ["127.0.0.1:443", "[::1]:443", "unix:/run/web.sock"] {
        let table = format!("[hostname.\"NAS.example\"]\npassthrough = \"{address}\"\n");
        let file = read(&table).unwrap();
        assert_eq!(file.contradiction(), None);
        let table = &file.hostname["nas.example"];
        assert_eq!(table.passthrough, Some(address.parse().unwrap()));
    }
    let http = read(
        "[hostname.\"nas.example\"]\npassthrough_http = \"127.0.0.1:80\"\n\
         proxy_protocol = \"v1\"\n",
    );
    let passthrough = http.unwrap().hostname["nas.example"].passthrough();
    assert_eq!(passthrough.http, Some("127.0.0.1:80".parse().unwrap()));
    assert_eq!(passthrough.proxy_protocol, Some(Version::V1));
    let stray = read("[hostname.\"b.example\"]\npassthrough = \"127.0.0.1:443\"\n").unwrap();
    let message = stray.contradiction().unwrap();
    assert!(message.contains("b.example"), "{message}");
    for (table, place, expected) in [
        (
            "[hostname.\"nas.example\"]\npassthrough = \"443\"\n",
            "7:15:",
            "expected an IP",
        ),
        (
            "[hostname.\"nas.example\"]\npasstrough = \"x\"\n",
            "7:1:",
            "unknown field",
        ),
        (
            "[hostname.\"192.0.2.1\"]\n",
            "6:",
            "an IP address is no host name",
        ),
    ] {
        let fault = read(table).unwrap_err().to_string();
        assert!(fault.starts_with(place), "{place} {fault}");
        assert!(fault.contains(expected), "{expected}: {fault}");
    }
}

#[test]
fn a_name_has_one_certificate() {
    let read = |table: &str| {
        let text = format!(
            "hostnames = [\"a.example\"]\n[[relay]]\naddresses = [\"r.example\"]\n\
             server_name = \"r.example\"\nkey = \"{}\"\n[hostname.\"a.example\"]\n{table}\n",
            PublicKey([1; 32])
        );
        parse::<HomeFile>(text.as_bytes()).unwrap()
    };
    let state = Path::new("/state");
    let source = |table: &str| {
        let file = read(table);
        assert_eq!(file.contradiction(), None, "{table}");
        file.hostname["a.example"].certificate(state)
    };
    assert_eq!(source(""), CertificateSource::Own);
    assert_eq!(source("certificate = \"own\""), CertificateSource::Own);
    assert_eq!(
        source("certificate = \"pinned\""),
        CertificateSource::Pinned
    );
    assert_eq!(source("certificate = \"acme\""), CertificateSource::Acme);
    for (table, is_acme, is_own) in [
        ("", false, true),
        ("certificate = \"pinned\"", false, true),
        ("certificate = \"acme\"", true, false),
        ("certificate_file = \"a\"\nkey_file = \"b\"", false, false),
        ("passthrough = \"127.0.0.1:443\"", false, false),
    ] {
        let file = read(table);
        assert_eq!(file.has_acme(), is_acme, "{table}");
        assert_eq!(!file.names_to_trust().is_empty(), is_own, "{table}");
    }
    let files = "certificate_file = \"/etc/a.pem\"\nkey_file = \"a.key\"\ntrust = \"honest-relay\"";
    let files = source(files);
    assert_eq!(
        files,
        CertificateSource::Files(CertificateFiles {
            certificate: "/etc/a.pem".into(),
            key: "/state/a.key".into(),
        })
    );
    for (table, expected) in [
        ("certificate_file = \"a.pem\"", "write both"),
        ("key_file = \"a.key\"", "write both"),
        (
            "certificate = \"acme\"\ncertificate_file = \"a\"\nkey_file = \"b\"",
            "keep one",
        ),
        (
            "certificate = \"acme\"\npassthrough = \"127.0.0.1:443\"",
            "has its own",
        ),
        (
            "certificate = \"acme\"\npassthrough_http = \"127.0.0.1:80\"\n[acme]\n\
             challenge = \"http-01\"",
            "the ACME path",
        ),
    ] {
        let message = read(table).contradiction().unwrap_or_default();
        assert!(message.starts_with("[hostname.\"a.example\"]"), "{table}");
        assert!(message.contains(expected), "{table}: {message}");
    }
}

#[test]
fn a_name_has_the_level_of_its_certificate_unless_the_file_says_otherwise() {
    let text = |before: &str, table: &str| {
        let relay = format!(
            "[[relay]]\naddresses = [\"r.example\"]\nserver_name = \"r.example\"\nkey = \"{}\"\n",
            PublicKey([1; 32])
        );
        format!("hostnames = [\"a.example\"]\n{before}\n{relay}[hostname.\"a.example\"]\n{table}\n")
    };
    let read = |before: &str, table: &str| parse::<HomeFile>(text(before, table).as_bytes());
    let acme = "certificate = \"acme\"";
    let devices = "certificate = \"acme\"\nclient_certificates = true";
    for (before, table, expected) in [
        ("", "", Level::Pinned),
        ("", "certificate = \"pinned\"", Level::Pinned),
        ("", acme, Level::Public),
        ("", devices, Level::ClientCertificates),
        ("trust = \"public\"", devices, Level::ClientCertificates),
        (
            "trust = \"client-certificates\"",
            devices,
            Level::ClientCertificates,
        ),
        ("trust = \"honest-relay\"", devices, Level::HonestRelay),
        ("", "client_certificates = true", Level::Pinned),
        (
            "",
            "certificate_file = \"a\"\nkey_file = \"b\"\ntrust = \"honest-relay\"",
            Level::HonestRelay,
        ),
        (
            "trust = \"honest-relay\"",
            "certificate_file = \"a\"\nkey_file = \"b\"",
            Level::HonestRelay,
        ),
        ("trust = \"honest-relay\"", acme, Level::HonestRelay),
        (
            "trust = \"honest-relay\"",
            "trust = \"pinned\"",
            Level::Pinned,
        ),
        ("", "trust = \"honest-relay\"", Level::HonestRelay),
    ] {
        let file = read(before, table).unwrap();
        assert_eq!(file.contradiction(), None, "{before} {table}");
        let trust = file.trust();
        assert_eq!(
            trust.level(&"a.example".parse().unwrap()),
            expected,
            "{before} {table}"
        );
    }
    for (table, expected) in [
        ("trust = \"public\"", "certificate = \"acme\""),
        (
            "certificate = \"acme\"\ntrust = \"pinned\"",
            "certificate = \"own\"",
        ),
        (
            "certificate = \"acme\"\ntrust = \"client-certificates\"",
            "client_certificates = true",
        ),
        (
            "client_certificates = true\ntrust = \"client-certificates\"",
            "certificate = \"acme\"",
        ),
        // The relay may read everything only where somebody has said so.
        (
            "certificate_file = \"a\"\nkey_file = \"b\"",
            "write trust = \"honest-relay\" there",
        ),
        (
            "certificate_file = \"a\"\nkey_file = \"b\"\nclient_certificates = true",
            "write trust = \"honest-relay\" there",
        ),
        (
            "certificate_file = \"a\"\nkey_file = \"b\"\ntrust = \"public\"",
            "certificate = \"acme\"",
        ),
    ] {
        let message = read("", table).unwrap().contradiction().unwrap_or_default();
        assert!(message.contains(expected), "{table}: {message}");
    }
    // What another server shows is that server's matter.
    let passed = read("", "passthrough = \"127.0.0.1:443\"").unwrap();
    assert_eq!(passed.contradiction(), None);
    let fault = read("", "trust = \"all\"").unwrap_err().to_string();
    assert!(
        fault.starts_with("8:9:") && fault.contains("no level"),
        "{fault}"
    );
}

#[test]
fn legs_are_made_unless_the_file_says_no() {
    let file = |line: &str| -> HomeFile {
        let mut document = HomeDocument::new();
        let relay = relay("203.0.113.5:443", 1);
        document
            .add(&"a.example".parse().unwrap(), &relay, |_| false)
            .unwrap();
        parse(format!("{line}{}", document.0).as_bytes()).unwrap()
    };
    assert!(file("").legs);
    assert!(file("legs = true\n").legs);
    assert!(!file("legs = false\n").legs);
}

#[test]
fn settings_may_be_there_before_the_first_name() {
    let text = "# mine\n[history]\nkeep = \"2y\" # or more\n\n[push]\nenabled = false\n";
    let mut document = HomeDocument(text.parse().unwrap());
    let relay = relay("203.0.113.5:443", 1);
    document
        .add(&"a.example".parse().unwrap(), &relay, |_| false)
        .unwrap();
    let text = document.0.to_string();
    assert!(text.contains("# mine\n[history]\nkeep = \"2y\" # or more\n"));
    let file: HomeFile = parse(text.as_bytes()).unwrap();
    assert_eq!(file.hostnames.len(), 1, "{text}");
    assert_eq!(file.relay.own, [relay], "{text}");
    assert!(file.history.keep.duration().is_some() && !file.push.enabled);
    assert_eq!(file.local.0, [DEFAULT_LOCAL]);
}

#[test]
fn passwords_stay_on_this_machine() {
    let text = "hostnames = [\"a.example\"]\nlocal = \"0.0.0.0:8080\"\nrelay = []\n";
    let fault = parse::<HomeFile>(text.as_bytes()).unwrap_err().to_string();
    assert!(fault.starts_with("2:9:"), "{fault}");
    assert!(fault.contains("expected a loopback address"), "{fault}");
}
