//! Thunderbird without a screen, told what to do over its Marionette port.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client_certificates::{DEMANDING, Enrolled};
use crate::corpus;
use crate::pair::{HOSTNAME, Pair};

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PROGRAM: &str = "/usr/lib/thunderbird/thunderbird";
const RESOLVER: &str = "/etc/resolv.conf";
/// Puts another file in the place of resolv.conf, for this program alone.
const COMMANDS: &str = r#"mount --bind "$1" /etc/resolv.conf && shift && exec "$@""#;
/// No port of its own choice, and no window but those that are asked for.
const PREFERENCES: &str = r#"
user_pref("marionette.port", 0);
user_pref("app.update.enabled", false);
user_pref("datareporting.policy.dataSubmissionPolicyBypassNotification", true);
user_pref("mail.provider.suppress_dialog_on_startup", true);
user_pref("mail.spotlight.firstRunDone", true);
user_pref("mailnews.start_page.enabled", false);
user_pref("security.default_personal_cert", "Select Automatically");
"#;

/// Whether the profile has home's authority.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    Nothing,
    Profile,
}

/// A running Thunderbird; nothing of it is left when it ends.
pub(super) struct Thunderbird {
    child: Child,
    connection: BufReader<TcpStream>,
    commands: u32,
}

impl Thunderbird {
    /// Starts one with a new profile; None where it is not installed.
    pub(super) fn start(pair: &Pair, trust: Trust) -> Option<Self> {
        Self::start_with(pair, trust, None, None)
    }

    /// The same with a client certificate, which it shows without asking, and with another file in the
    /// place of resolv.conf, which says whom the DNS is asked of.
    pub(super) fn start_with(
        pair: &Pair,
        trust: Trust,
        certificate: Option<&Enrolled>,
        resolver: Option<&Path>,
    ) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            corpus::missing("thunderbird");
            return None;
        }
        let profile = pair.folder("thunderbird/profile");
        fs::write(profile.join("user.js"), PREFERENCES).unwrap();
        let database = format!("sql:{}", profile.display());
        if trust == Trust::Profile {
            nss("certutil", &database, &["-N", "--empty-password"]);
            for (number, authority) in authorities(pair).iter().enumerate() {
                let (name, file) = (format!("home-{number}"), authority.to_str().unwrap());
                let import = ["-A", "-n", &name, "-t", "C,,", "-i", file];
                nss("certutil", &database, &import);
            }
        }
        if let Some(enrolled) = certificate {
            let file = enrolled.file.to_str().unwrap();
            let import = ["-i", file, "-W", &enrolled.file_password];
            nss("pk12util", &database, &import);
        }
        let said = fs::File::create(pair.folder("thunderbird").join("said")).unwrap();
        let mut command = Command::new("unshare");
        // With the first process of the namespace all others end.
        command.args([
            "--map-root-user",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
        ]);
        command.args(["sh", "-c", COMMANDS, "sh"]);
        command
            .arg(resolver.unwrap_or_else(|| Path::new(RESOLVER)))
            .arg(PROGRAM);
        command.args(["--headless", "--marionette", "--remote-allow-system-access"]);
        command.args(["--no-remote", "--profile"]).arg(&profile);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", "C.UTF-8");
        command.env("HOME", pair.folder("thunderbird"));
        command.stdin(Stdio::null());
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let mut child = command.spawn().unwrap();
        let port = port(&mut child, &profile.join("MarionetteActivePort"));
        let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        connection.set_read_timeout(Some(PATIENCE * 2)).unwrap();
        let mut thunderbird = Self {
            child,
            connection: BufReader::new(connection),
            commands: 0,
        };
        let greeting = thunderbird.read();
        assert_eq!(greeting["marionetteProtocol"], 3, "{greeting}");
        thunderbird.command("WebDriver:NewSession", &json!({}));
        let script = u64::try_from(PATIENCE.as_millis()).unwrap();
        thunderbird.command("WebDriver:SetTimeouts", &json!({"script": script}));
        thunderbird.command("Marionette:SetContext", &json!({"value": "chrome"}));
        Some(thunderbird)
    }

    /// Has the driver do something; returns what came of it.
    pub(super) fn run(&mut self, command: &str, arguments: &[&str]) -> Value {
        let script = include_str!("driver.js");
        let arguments = [&[command], arguments].concat();
        let answer = self.command(
            "WebDriver:ExecuteAsyncScript",
            &json!({"script": script, "args": arguments}),
        );
        let value = &answer["value"];
        assert_eq!(value.get("broken"), None, "{command}: {value}");
        value.clone()
    }

    fn command(&mut self, name: &str, parameters: &Value) -> Value {
        self.commands += 1;
        let text = json!([0, self.commands, name, parameters]).to_string();
        let frame = format!("{}:{text}", text.len());
        self.connection
            .get_mut()
            .write_all(frame.as_bytes())
            .unwrap();
        let answer = self.read();
        assert_eq!(answer[1], self.commands, "{answer}");
        assert_eq!(answer[2], Value::Null, "{name}");
        answer[3].clone()
    }

    fn read(&mut self) -> Value {
        let mut length = Vec::new();
        self.connection.read_until(b':', &mut length).unwrap();
        length.pop();
        let length = String::from_utf8(length)
            .unwrap()
            .parse()
            .expect("a length");
        let mut text = vec![0; length];
        self.connection.read_exact(&mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

impl Drop for Thunderbird {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where it listens, which it writes into its profile.
fn port(child: &mut Child, file: &Path) -> u16 {
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if let Ok(port) = text.trim().parse() {
            return port;
        }
        let ended = child.try_wait().unwrap();
        assert_eq!(ended, None, "Thunderbird ends at once");
        assert!(begun.elapsed() < PATIENCE, "Thunderbird does not listen");
        yield_now();
    }
}

/// Each authority of home's alone: programs take the first one of a file.
fn authorities(pair: &Pair) -> Vec<PathBuf> {
    let file = |name| pair.folder("home").join(format!("ca-{name}.pem"));
    let files = [HOSTNAME, DEMANDING].map(file).into_iter();
    files.filter(|file| file.exists()).collect()
}

/// Runs a program on a database of certificates.
fn nss(program: &str, database: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(["-d", database]).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
