//! What the logs of both roles never hold, at the most talkative level, and the files of the relay.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::path::Path;
use std::thread;

use data_encoding::BASE64;
use http::StatusCode;
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use crate::binary;
use crate::cards;
use crate::pair::{HOSTNAME, Pair};

const CANARY: &str = "Canaria Serinus";
/// Of a DNS message.
const HEADER: usize = 12;

/// What two roles log at the most talkative level while a phone and a program come and go.
async fn talkative(pair: &mut Pair, format: &str) {
    pair.restart_with_log("trace", format);
    let card =
        format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:canary-uid\r\nFN:{CANARY}\r\nEND:VCARD\r\n");
    for client in [pair.phone(), pair.local_program()] {
        let mut connection = client.connect().await.unwrap();
        let put = connection
            .put("canary-name.vcf", card.as_bytes())
            .await
            .unwrap();
        assert!(put.status.is_success());
        assert_eq!(connection.get("canary-name.vcf").await.unwrap().body, card);
        let refused = connection
            .put("canary-name.vcf", CANARY.as_bytes())
            .await
            .unwrap();
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    pair.kill_relay();
    pair.kill_home();
}

#[track_caller]
fn assert_no_secret(pair: &Pair, role: &str, log: &str) {
    let credentials = BASE64.encode(format!("me:{}", pair.password()).as_bytes());
    for secret in [
        CANARY,
        "canary-uid",
        "canary-name",
        pair.password(),
        &credentials,
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{role} logs {secret:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_hold_no_contact_and_no_password() {
    let mut pair = Pair::start();
    talkative(&mut pair, "text").await;
    for role in ["relay", "home"] {
        let log = pair.log(role);
        // The logs are there, and would show it.
        assert!(log.contains(" TRACE "), "{role} logs nothing");
        assert_no_secret(&pair, role, &log);
        let loud = [" INFO ", " WARN ", " ERROR "];
        for line in log
            .lines()
            .filter(|line| loud.iter().any(|level| line.contains(level)))
        {
            for private in [HOSTNAME, "127.0.0.1"] {
                assert!(
                    !line.contains(private),
                    "{role} says {private} above DEBUG: {line}"
                );
            }
        }
    }
}

/// From the start of both to the end of one: visitors of all kinds, wrong logins, both sides lost in
/// turn, files read again, a name taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_run_at_info_names_no_host_and_no_address() {
    const NAME: &str = "canaria.example.test";
    let mut pair = Pair::start_as(NAME);
    pair.restart_with_log("info", "text");
    let phone = async |pair: &Pair| {
        let mut connection = pair.phone().connect().await.unwrap();
        let put = connection.put("one.vcf", &cards::small("canary-uid")).await;
        assert!(put.unwrap().status.is_success());
    };
    phone(&pair).await;
    let stranger = pair.phone().authorized_by("Basic bWU6d3Jvbmc=");
    let refused = stranger.connect().await.unwrap().get("one.vcf").await;
    assert_eq!(refused.unwrap().status, StatusCode::UNAUTHORIZED);
    let get = |host: &str, path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
    };
    let (https, http) = (pair.relay_address(), pair.relay_http_address());
    for (address, opening) in [
        (https, pair.phone().named("unknown.example.test").hello()),
        (https, pair.phone().hello()[..40].to_vec()),
        (https, get(NAME, "/")),
        (https, vec![0xa5; 1024]),
        (http, get(NAME, "/")),
        (http, get(NAME, "/.well-known/acme-challenge/token")),
        (http, get("unknown.example.test", "/")),
        (http, b"nonsense\r\n\r\n".to_vec()),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        // The relay may have closed it before all was said.
        let _ = stream.write_all(&opening);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    pair.kill_home();
    pair.start_home();
    pair.await_tunnel();
    phone(&pair).await;
    pair.kill_relay();
    pair.start_relay();
    // It is held until home is back.
    phone(&pair).await;
    let relay = pair.folder("relay");
    binary::on(&relay, &["relay", "reload"]).expect(0);
    binary::on(&relay, &["relay", "revoke", NAME]).expect(0);
    let is_refused = |status: &Value| status.to_string().contains("refused");
    binary::until(&pair.folder("home"), "home", is_refused);
    pair.kill_home();
    pair.kill_relay();
    for (role, said) in [
        ("relay", "A home is offline"),
        ("home", "refuses this home"),
    ] {
        let log = pair.log(role);
        assert!(log.contains(said), "{role}: {log}");
        assert!(
            log.contains(" INFO ") && !log.contains(" DEBUG "),
            "{role}: {log}"
        );
        for private in [
            NAME,
            "canaria",
            "unknown.example",
            "relay.test",
            "127.0.0.1",
            "::1",
        ] {
            // What a role says of itself as it starts, to whoever started it, has no level.
            let levels = [" INFO ", " WARN ", " ERROR "];
            let mut logged = log
                .lines()
                .filter(|line| levels.iter().any(|level| line.contains(level)));
            let line = logged.find(|line| line.contains(private));
            assert_eq!(line, None, "{role} says {private} above DEBUG");
        }
    }
}

/// Whose certificate fails is said in the status, and in the log for whoever asks it for more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_fails_is_told_above_debug_and_its_name_is_not() {
    const NAME: &str = "canaria.example.test";
    let mut pair = Pair::start_as(NAME);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let certificate = params.self_signed(&key).unwrap().pem();
    let state = pair.folder("home");
    let files = [("certificate", certificate), ("key", key.serialize_pem())];
    let settings = files.map(|(kind, pem)| {
        let path = state.join(format!("{NAME}_{kind}.pem"));
        fs::write(&path, pem).unwrap();
        format!("{kind}_file = \"{}\"\n", path.display())
    });
    let file = state.join("home.toml");
    let text = fs::read_to_string(&file).unwrap();
    let settings = settings.concat();
    let name = format!("[hostname.\"{NAME}\"]\ntrust = \"honest-relay\"\n{settings}");
    fs::write(&file, format!("{text}\n{name}")).unwrap();
    pair.restart_with_log("debug", "text");
    let status = binary::on(&state, &["home", "status"]).expect(0).stdout;
    let reason = format!("the certificate for {NAME} is good from");
    assert!(status.contains(&reason), "{status}");
    // A certificate whose time is over is never shown.
    pair.phone().connect().await.map(drop).unwrap_err();
    let is_refused = |status: &Value| status["refused"]["name_not_served"] == 1;
    binary::until(&state, "home", is_refused);
    pair.kill_home();
    let log = pair.log("home");
    let lines = |levels: &'static [&str], words: &str| {
        let mut lines = log.lines();
        lines.any(|line| levels.iter().any(|it| line.contains(it)) && line.contains(words))
    };
    let loud = &[" INFO ", " WARN ", " ERROR "];
    assert!(lines(&[" WARN "], "`cloudless home status`"), "{log}");
    assert!(!lines(loud, NAME), "{log}");
    assert!(lines(&[" DEBUG "], &reason), "{log}");
    assert!(lines(&[" DEBUG "], "class=\"name_not_served\""), "{log}");
}

/// The same where programs read them: each line is an object, whoever said it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_json_where_that_is_asked_for() {
    let mut pair = Pair::start();
    talkative(&mut pair, "json").await;
    for role in ["relay", "home"] {
        let log = pair.log(role);
        assert_no_secret(&pair, role, &log);
        let mut levels = BTreeSet::new();
        for line in log.lines() {
            let event: Value = serde_json::from_str(line).expect(line);
            let text = |name: &str| event[name].as_str().expect(line);
            let moment = text("timestamp");
            assert!(moment.len() >= 20 && moment.ends_with('Z'), "{line}");
            levels.insert(text("level").to_owned());
            if !["DEBUG", "TRACE"].contains(&text("level")) {
                assert!(!text("message").is_empty(), "{line}");
                for private in [HOSTNAME, "127.0.0.1", "relay.test"] {
                    assert!(!line.contains(private), "{role} says {private}: {line}");
                }
            }
        }
        for level in ["INFO", "DEBUG", "TRACE"] {
            assert!(levels.contains(level), "{role}: {levels:?}");
        }
        assert!(log.contains(r#""message":"  redirect to https"#) == (role == "relay"));
        assert!(log.contains(r#""message":"home is ready"#) == (role == "home"));
    }
}

/// A role that cannot start says so in the same way.
#[test]
fn a_failure_is_json_too() {
    let directory = tempfile::tempdir().unwrap();
    let run = |format: &str| {
        let mut command = binary::command(&["relay", "run", "--state"]);
        let command = command.arg(directory.path());
        let output = command.env("CLOUDLESS_LOG_FORMAT", format).output();
        String::from_utf8(output.unwrap().stderr).unwrap()
    };
    let said = run("json");
    let event: Value = serde_json::from_str(said.trim_end()).expect(&said);
    assert_eq!(event["level"], "ERROR");
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("cloudless relay init"), "{message}");
    let said = run("yaml");
    assert!(
        said.contains("CLOUDLESS_LOG_FORMAT=yaml is ignored"),
        "{said}"
    );
    assert!(said.contains("error: "), "{said}");
}

/// The same for everything that the relay keeps; home's files show that the search finds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relays_files_hold_no_contact_and_no_password() {
    const UID: &str = "canary-uid";
    let mut pair = Pair::start();
    let mut connection = pair.phone().connect().await.unwrap();
    let put = connection.put("one.vcf", &cards::small(UID)).await.unwrap();
    assert_eq!(put.status, StatusCode::CREATED);
    pair.kill_relay();
    pair.kill_home();

    assert!(is_below(&pair.folder("home"), UID));
    assert!(is_below(&pair.folder("relay"), HOSTNAME));
    for secret in [UID, pair.password()] {
        assert!(!is_below(&pair.folder("relay"), secret), "{secret}");
    }
    assert!(!is_below(&pair.folder("home"), pair.password()));
}

/// Whether a file in the directory or below holds the text.
fn is_below(directory: &Path, text: &str) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        let holds = |bytes: Vec<u8>| bytes.windows(text.len()).any(|it| it == text.as_bytes());
        if path.is_dir() {
            is_below(&path, text)
        } else {
            path.is_file() && holds(fs::read(&path).unwrap())
        }
    })
}

/// What asks the DNS for home warns of each answer that DNSSEC does not prove, with the name in it.
#[test]
fn a_network_that_answers_for_the_dns_puts_no_name_into_a_log() {
    const NAME: &str = "home.somebody.de";
    let mut pair = Pair::start();
    pair.kill_home();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // It ends with the test's process.
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let question_end = HEADER
                + buffer[HEADER..length]
                    .iter()
                    .position(|it| *it == 0)
                    .unwrap()
                + 5;
            // A response that says NXDOMAIN and nothing else (RFC 1035 section 4.1.1).
            buffer[2..HEADER].copy_from_slice(&[0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0]);
            let _ = socket.send_to(&buffer[..question_end], from);
        }
    });
    let file = pair.folder("home").join("home.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replacen(
        &format!("hostnames = [\"{HOSTNAME}\"]"),
        &format!("hostnames = [\"{HOSTNAME}\", \"{NAME}\"]"),
        1,
    );
    let dns = format!(
        "[dns]\nresolvers = [\"{address}\"]\nname_server_port = {}\n",
        address.port()
    );
    fs::write(
        &file,
        format!("{text}\n{dns}\n[transparency]\nenabled = false\n"),
    )
    .unwrap();
    let doctor = binary::on(&pair.folder("home"), &["home", "doctor", NAME]).expect(1);
    assert!(
        doctor.stdout.contains("not valid under DNSSEC"),
        "{doctor:?}"
    );
    assert!(
        doctor.stdout.contains("look from another network"),
        "{doctor:?}"
    );
    assert!(!doctor.stderr.contains("WARN"), "{doctor:?}");
    assert!(!doctor.stderr.contains("somebody"), "{doctor:?}");
}
