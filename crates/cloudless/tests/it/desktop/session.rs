//! A desktop session without a screen, of which nothing is left when it ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::pair::Pair;

/// Debian's; that of a virtual environment knows nothing of GObject.
const PYTHON: &str = "/usr/bin/python3";
/// Puts other certificates in the place of those that the system trusts, for this session alone, and
/// keeps the answers apart from what all other programs say.
const COMMANDS: &str = r#"mount --bind "$1" /etc/ssl/certs && exec stdbuf --output=L \
    dbus-run-session --config-file="$2" -- "$3" "$4" 3>&1 >"$5" 2>&1"#;

/// Whether the machine knows home's authority.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    Nothing,
    System,
}

/// What runs in a session.
pub(super) struct Program {
    pub(super) name: &'static str,
    /// What it is told by, in the folder of these tests.
    pub(super) driver: &'static str,
    /// Its parts that are called for over D-Bus, which are all that is there to be called for.
    pub(super) services: &'static [(&'static str, &'static str)],
    pub(super) environment: &'static [(&'static str, &'static str)],
}

/// A running session with a program's driver.
pub(super) struct Session {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    said: PathBuf,
}

impl Session {
    pub(super) fn start(pair: &Pair, program: &Program, trust: Trust) -> Self {
        let folder = pair.folder(program.name);
        let runtime = pair.folder(program.name).join("run");
        fs::create_dir_all(&runtime).unwrap();
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
        let said = folder.join("said");
        let drivers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/desktop");

        let mut command = Command::new("unshare");
        // With the first process of the namespace, which is the session, all others end.
        command.args([
            "--map-root-user",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
        ]);
        command.args(["sh", "-c", COMMANDS, "sh"]);
        command.arg(certificates(pair, &folder, trust));
        command.arg(bus(&folder, &runtime, program.services));
        command.arg(PYTHON).arg(drivers.join(program.driver));
        command.arg(&said);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", "C.UTF-8");
        command
            .env("HOME", &folder)
            .env("XDG_RUNTIME_DIR", &runtime);
        command.envs(program.environment.iter().copied());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            commands: child.stdin.take().expect("piped"),
            answers: BufReader::new(child.stdout.take().expect("piped")),
            child,
            said,
        }
    }

    /// Has the driver do something; returns what came of it.
    pub(super) fn run(&mut self, command: &str, arguments: &[&str]) -> Value {
        let mut line = json!([command]);
        let words = line.as_array_mut().expect("an array");
        words.extend(arguments.iter().map(|it| Value::from(*it)));
        self.exchange(&line)
    }

    /// The same with a number.
    pub(super) fn run_for(&mut self, command: &str, count: usize) -> Value {
        self.exchange(&json!([command, count]))
    }

    fn exchange(&mut self, line: &Value) -> Value {
        writeln!(self.commands, "{line}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{line}: {}", self.last_words()))
    }

    /// What all programs of the session said so far.
    pub(super) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.said).unwrap_or_default()).into_owned()
    }

    fn last_words(&self) -> String {
        let said = self.said();
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder as programs read it: GnuTLS one file, OpenSSL one that is named after its subject.
fn certificates(pair: &Pair, folder: &Path, trust: Trust) -> PathBuf {
    let certificates = folder.join("certificates");
    fs::create_dir_all(&certificates).unwrap();
    let mut authority = String::new();
    if trust == Trust::System {
        authority = fs::read_to_string(pair.ca_file()).unwrap();
        fs::write(certificates.join("home.pem"), &authority).unwrap();
        let mut command = Command::new("openssl");
        command.arg("rehash").arg(&certificates);
        assert!(command.status().unwrap().success(), "{command:?}");
    }
    fs::write(certificates.join("ca-certificates.crt"), authority).unwrap();
    certificates
}

/// A bus for this session alone, and the programs that it may start.
fn bus(folder: &Path, runtime: &Path, services: &[(&str, &str)]) -> PathBuf {
    let directory = folder.join("services");
    fs::create_dir_all(&directory).unwrap();
    for (name, program) in services {
        let text = format!("[D-BUS Service]\nName={name}\nExec={program}\n");
        fs::write(directory.join(format!("{name}.service")), text).unwrap();
    }
    let config = folder.join("bus.conf");
    let text = format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:tmpdir={}</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{}</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#,
        runtime.display(),
        directory.display()
    );
    fs::write(&config, text).unwrap();
    config
}
