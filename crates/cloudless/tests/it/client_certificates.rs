//! A device with a client certificate, from the command line to programs that other people wrote.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::binary::{on, until};
use crate::corpus;
use crate::metrics;
use crate::pair::{HOSTNAME, Pair};
use crate::role::{LOG, Role};

/// It leads to loopback wherever that is asked, RFC 6761 section 6.3.
pub(crate) const DEMANDING: &str = "m.localhost";

/// What `device add` printed.
pub(crate) struct Enrolled {
    pub(crate) password: String,
    pub(crate) file: PathBuf,
    pub(crate) file_password: String,
}

pub(crate) fn enroll(pair: &Pair, name: &str) -> Enrolled {
    let file = pair.folder("devices").join(format!("{name}.p12"));
    let path = file.to_str().unwrap();
    let add = [
        "device",
        "add",
        "me",
        name,
        "--client-certificate",
        "--output",
        path,
    ];
    let said = on(&pair.folder("home"), &add).expect(0);
    let value = |key: &str| {
        let line = said.stdout.lines().find_map(|it| it.strip_prefix(key));
        line.unwrap_or_else(|| panic!("no {key}: {said:?}"))
            .trim()
            .to_owned()
    };
    assert_eq!(
        value("URL"),
        format!("https://{DEMANDING}:{}/", pair.relay_port())
    );
    assert!(
        !said.stdout.contains("http:"),
        "not on this machine: {said:?}"
    );
    assert_eq!(value("file "), path);
    // Of the two authorities of this home only one is the device's business.
    let authority = pair.folder("home").join(format!("ca-{DEMANDING}.pem"));
    let told = said
        .stderr
        .trim_end()
        .ends_with(authority.to_str().unwrap());
    assert!(told, "{said:?}");
    assert!(authority.exists(), "{said:?}");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    Enrolled {
        password: value("password"),
        file_password: value("its password"),
        file,
    }
}

/// A home with a name of its own for such devices.
pub(crate) fn start() -> Pair {
    let mut pair = Pair::start();
    let home = pair.folder("home");
    let add = ["device", "add", "me", "tablet", "--client-certificate"];
    let refused = on(&home, &add).expect(1);
    assert!(
        refused.stderr.contains("client_certificates = true"),
        "{refused:?}"
    );
    let invite = ["relay", "invite", DEMANDING];
    let code = on(&pair.folder("relay"), &invite).expect(0).stdout;
    on(&home, &["home", "join", code.trim()]).expect(0);
    let config = home.join("home.toml");
    let text = fs::read_to_string(&config).unwrap();
    let table = format!("[hostname.\"{DEMANDING}\"]\nclient_certificates = true\n");
    fs::write(&config, format!("{text}\n{table}")).unwrap();
    pair.kill_home();
    pair.start_home();
    pair.await_tunnel();
    pair
}

/// Asks for what is at the top, and returns curl's exit status with the status of HTTP, 0 if there
/// was none.
fn curl(pair: &Pair, hostname: &str, password: &str, certificate: Option<&Enrolled>) -> (i32, u16) {
    let url = format!("https://{hostname}:{}/dav/", pair.relay_port());
    let mut command = Command::new("curl");
    command.args(["--silent", "--max-time", "60", "--request", "PROPFIND"]);
    command.args(["--header", "depth: 0", "--output", "/dev/null"]);
    command.args([
        "--write-out",
        "%{http_code}",
        "--user",
        &format!("me:{password}"),
    ]);
    command.arg("--cacert").arg(pair.ca_file());
    command.args([
        "--resolve",
        &format!("{hostname}:{}:127.0.0.1", pair.relay_port()),
    ]);
    if let Some(enrolled) = certificate {
        let file = format!("{}:{}", enrolled.file.display(), enrolled.file_password);
        command.args(["--cert-type", "P12", "--cert", &file]);
    }
    let output = command.arg(url).output().unwrap();
    let code = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), code.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_gets_in_with_certificate_and_password_and_not_after_the_revocation() {
    let mut pair = start();
    let home = pair.folder("home");
    let tablet = enroll(&pair, "tablet");
    let add = [
        "device",
        "add",
        "me",
        "second",
        "--client-certificate",
        "--output",
    ];
    let again = on(
        &home,
        &[&add[..], &[tablet.file.to_str().unwrap()]].concat(),
    )
    .expect(1);
    assert!(again.stderr.contains("is there already"), "{again:?}");
    let devices = on(&home, &["device", "list", "--json"]).expect(0).json();
    let certificates = devices.as_array().unwrap().iter();
    let certificates = certificates.map(|it| (&it["name"], &it["client_certificate"]));
    let (phone, name) = ("phone".into(), "tablet".into());
    let wanted = [(&phone, &false.into()), (&name, &true.into())];
    assert_eq!(certificates.collect::<Vec<_>>(), wanted);

    assert_eq!(
        curl(&pair, DEMANDING, &tablet.password, Some(&tablet)),
        (0, 207)
    );
    assert_eq!(
        curl(&pair, DEMANDING, pair.password(), Some(&tablet)),
        (0, 401)
    );
    assert_eq!(
        curl(&pair, HOSTNAME, &tablet.password, Some(&tablet)),
        (0, 401)
    );
    assert_eq!(curl(&pair, HOSTNAME, pair.password(), None), (0, 207));
    let (exit, status) = curl(&pair, DEMANDING, &tablet.password, None);
    assert!(exit != 0 && status == 0, "{exit} {status}");
    // Home itself gets no further on that name, and sees that it leads here.
    on(&home, &["home", "status", "--check"]).expect(0);

    // Which devices are for which name is told, also without a running home.
    let devices = |name: &str| {
        let report = on(&home, &["home", "trust", name, "--json"])
            .expect(0)
            .json();
        let report = &report[0];
        let devices = report["devices"].as_array().unwrap().iter();
        let names: Vec<_> = devices
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect();
        (report["client_certificates"] == true, names)
    };
    assert_eq!(devices(DEMANDING), (true, vec!["tablet".to_owned()]));
    assert_eq!(devices(HOSTNAME), (false, vec!["phone".to_owned()]));
    let text = on(&home, &["home", "trust", DEMANDING]).expect(0).stdout;
    assert!(text.contains("with a certificate: tablet of me"), "{text}");

    on(&home, &["device", "revoke", "me", "tablet"]).expect(0);
    assert_eq!(devices(DEMANDING), (true, Vec::new()));
    let (exit, status) = curl(&pair, DEMANDING, &tablet.password, Some(&tablet));
    assert!(exit != 0 && status == 0, "{exit} {status}");

    pair.kill_home();
    assert_eq!(devices(DEMANDING), (true, Vec::new()));
    assert_eq!(devices(HOSTNAME), (false, vec!["phone".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_and_nss_import_the_file_with_its_password_alone() {
    let pair = start();
    let tablet = enroll(&pair, "tablet");
    let (file, password) = (tablet.file.to_str().unwrap(), &tablet.file_password);
    let read = |password: &str| -> Output {
        let mut command = Command::new("openssl");
        command.args(["pkcs12", "-in", file, "-nodes", "-passin"]);
        command.arg(format!("pass:{password}")).output().unwrap()
    };
    let output = read(password);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("friendlyName: me tablet"), "{text}");
    assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2, "{text}");
    assert_eq!(text.matches("PRIVATE KEY").count(), 2, "{text}");
    assert!(!read("wrong").status.success());

    let database = format!("sql:{}", pair.folder("nss").display());
    let nss = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-d", &database]).args(arguments).output()
    };
    let Ok(made) = nss("certutil", &["-N", "--empty-password"]) else {
        return corpus::missing("certutil and pk12util of libnss3-tools");
    };
    assert!(made.status.success(), "{made:?}");
    let refused = nss("pk12util", &["-i", file, "-W", "wrong"]).unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    let imported = nss("pk12util", &["-i", file, "-W", password]).unwrap();
    assert!(imported.status.success(), "{imported:?}");
    let keys = nss("certutil", &["-K"]).unwrap();
    let keys = String::from_utf8(keys.stdout).unwrap();
    assert!(keys.contains("me tablet"), "{keys}");
    assert!(Path::new(file).exists());
}

/// Something imitates the name towards a device: nothing of it is heard any more.
#[test]
fn a_device_that_stops_coming_is_told_once_it_could_have_come_for_long_enough() {
    let mut pair = start();
    let home = pair.folder("home");
    let tablet = enroll(&pair, "tablet");
    pair.kill_home();
    pair.kill_relay();
    metrics::set(&home, "home.toml", "[::1]:0");
    let contacts = rusqlite::Connection::open(home.join("store.sqlite")).unwrap();
    let hour_ago =
        "UPDATE devices SET last_seen_at = (unixepoch() - 3600) * 1000 WHERE name = 'tablet'";
    assert_eq!(contacts.execute(hour_ago, []).unwrap(), 1);
    drop(contacts);
    let config = home.join("home.toml");
    let text = fs::read_to_string(&config).unwrap();
    let allow = |time: &str| {
        let table = format!("{text}\n[devices]\nsilent_after = \"{time}\"\n");
        fs::write(&config, table).unwrap();
    };
    let silent = |count: usize| {
        let status = until(&home, "home", |status| {
            status["silent_devices"].as_array().map(Vec::len) == Some(count)
        });
        status["silent_devices"].clone()
    };

    // Without a tunnel it cannot come.
    allow("1s");
    let (mut role, ready) = Role::start(&home, "home");
    role.is_quiet_for(Duration::from_secs(3));
    silent(0);
    let metric = |ready: &serde_json::Value| {
        let address = ready["metrics"].as_str().unwrap();
        metrics::value(address, "cloudless_home_silent_devices ")
    };
    assert_eq!(metric(&ready), 0);
    pair.start_relay();
    assert_eq!(role.line()["tunnel"], "up");
    let told = silent(1);
    let named = (told[0]["user"].as_str(), told[0]["name"].as_str());
    assert_eq!(named, (Some("me"), Some("tablet")));
    assert_eq!(metric(&ready), 1);
    let screen = on(&home, &["home", "status"]).expect(0).stdout;
    assert!(screen.contains("silent: tablet of me"), "{screen}");
    let line = "A device with a client certificate does not come";
    let log = || fs::read_to_string(home.join(LOG)).unwrap();
    until(&home, "home", |_| log().contains(line));
    role.kill();
    pair.kill_relay();
    assert_eq!(log().matches(line).count(), 1, "{}", log());

    // It goes on where it was, from a file for nobody else.
    let file = home.join("silence.json");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(kept[0]["open_ms"].as_u64().unwrap() >= 1_000, "{kept}");
    kept[0]["open_ms"] = 20_000.into();
    fs::write(&file, kept.to_string()).unwrap();
    allow("20s");
    let (mut role, _) = Role::start(&home, "home");
    silent(1);

    // It comes.
    pair.start_relay();
    assert_eq!(role.line()["tunnel"], "up");
    let got = curl(&pair, DEMANDING, &tablet.password, Some(&tablet));
    assert_eq!(got, (0, 207));
    silent(0);
}
