//! Relay, home and phone on machines of their own: network namespaces with nothing between home and
//! phone but the relay.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::cards;
use crate::client::BOOK;
use crate::corpus::missing;
use crate::role::Role;

const HOSTNAME: &str = "contacts.example.org";

#[test]
fn three_machines_over_ipv4() {
    sync_between_machines(Family {
        relay_for_home: "10.77.1.1",
        home: "10.77.1.2",
        relay_for_phone: "10.77.2.1",
        phone: "10.77.2.2",
        prefix: 24,
    });
}

#[test]
fn three_machines_over_ipv6() {
    sync_between_machines(Family {
        relay_for_home: "fd77:1::1",
        home: "fd77:1::2",
        relay_for_phone: "fd77:2::1",
        phone: "fd77:2::2",
        prefix: 64,
    });
}

/// The README's commands, with the ports that it names.
fn sync_between_machines(family: Family) {
    let Some(machines) = Machines::connect(&family) else {
        return;
    };
    let directory = TempDir::new().unwrap();
    let (relay_state, home_state) = (
        directory.path().join("relay"),
        directory.path().join("home"),
    );

    let on_relay = |arguments: &[&str]| machines.relay.cloudless(&relay_state, arguments);
    let on_home = |arguments: &[&str]| machines.home.cloudless(&home_state, arguments);
    on_relay(&["relay", "init", "--address", family.relay_for_home]);
    let (_relay, _) = Role::start_by(machines.relay.binary(), &relay_state, "relay");
    let code = on_relay(&["relay", "invite", HOSTNAME]);
    on_home(&["home", "join", code.trim()]);
    on_home(&["user", "add", "me"]);
    let added = on_home(&["device", "add", "me", "phone", "--json"]);
    let added: serde_json::Value = serde_json::from_str(&added).unwrap();
    assert_eq!(added["public_urls"][0], "https://contacts.example.org/");
    let (mut home, _) = Role::start_by(machines.home.binary(), &home_state, "home");
    assert_eq!(home.line()["tunnel"], "up");

    let phone = Phone {
        namespace: &machines.phone,
        relay: family.relay_for_phone,
        login: format!("me:{}", added["password"].as_str().unwrap()),
        ca_file: home_state.join("ca.pem"),
    };
    let card = cards::small("over-the-network");
    let file = directory.path().join("card.vcf");
    std::fs::write(&file, &card).unwrap();
    let url = format!("https://{HOSTNAME}{BOOK}card.vcf");
    let put = [
        "--header",
        "content-type: text/vcard",
        "--upload-file",
        file.to_str().unwrap(),
    ];
    assert_eq!(
        phone.curl(&[&put[..], &["--write-out", "%{http_code}", &url]].concat()),
        b"201"
    );
    assert_eq!(phone.curl(&[&url]), card);
    let clear = format!("http://{HOSTNAME}/dav/");
    let redirect = phone.curl(&["--write-out", "%{http_code} %{redirect_url}", &clear]);
    assert_eq!(
        String::from_utf8(redirect).unwrap(),
        "308 https://contacts.example.org/dav/"
    );

    // Nothing but the relay joins the two.
    let mut route = Command::new("ip");
    route.args(["-n", &machines.phone.name, "route", "get", family.home]);
    assert!(
        !succeeds(&mut route),
        "the phone reaches home without the relay"
    );
}

/// The addresses of one family.
struct Family {
    relay_for_home: &'static str,
    home: &'static str,
    relay_for_phone: &'static str,
    phone: &'static str,
    prefix: u8,
}

struct Machines {
    relay: Namespace,
    home: Namespace,
    phone: Namespace,
}

impl Machines {
    /// Three namespaces and two cables.
    fn connect(family: &Family) -> Option<Self> {
        let may = succeeds(Command::new("ip").args(["netns", "list"]))
            && std::fs::metadata("/proc/self")
                .is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
        if !may {
            missing("network namespaces, which need root and the package iproute2");
            return None;
        }
        let tag = format!(
            "{}{}",
            std::process::id(),
            if family.prefix == 24 { "a" } else { "b" }
        );
        let machines = Self {
            relay: Namespace::new(format!("relay{tag}")),
            home: Namespace::new(format!("home{tag}")),
            phone: Namespace::new(format!("phone{tag}")),
        };
        let cables = [
            (
                &machines.home,
                "to-home",
                family.relay_for_home,
                family.home,
            ),
            (
                &machines.phone,
                "to-phone",
                family.relay_for_phone,
                family.phone,
            ),
        ];
        for (machine, cable, relay_address, address) in cables {
            #[rustfmt::skip]
            ip(&["-n", &machines.relay.name, "link", "add", cable, "type", "veth",
                "peer", "name", "to-relay", "netns", &machine.name]);
            machines
                .relay
                .set_address(cable, relay_address, family.prefix);
            machine.set_address("to-relay", address, family.prefix);
        }
        Some(machines)
    }
}

struct Namespace {
    name: String,
}

impl Namespace {
    fn new(name: String) -> Self {
        ip(&["netns", "add", &name]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        Self { name }
    }

    fn set_address(&self, link: &str, address: &str, prefix: u8) {
        let address = format!("{address}/{prefix}");
        let mut arguments = vec!["-n", &self.name, "address", "add", &address, "dev", link];
        if address.contains(':') {
            // Usable at once: nobody else can have it.
            arguments.push("nodad");
        }
        ip(&arguments);
        ip(&["-n", &self.name, "link", "set", link, "up"]);
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, program])
            .stdin(Stdio::null());
        command
    }

    fn binary(&self) -> Command {
        self.command(env!("CARGO_BIN_EXE_cloudless"))
    }

    fn cloudless(&self, state: &Path, arguments: &[&str]) -> String {
        let mut command = self.binary();
        let output = command
            .args(arguments)
            .arg("--state")
            .arg(state)
            .output()
            .unwrap();
        String::from_utf8(success(&command, output)).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.name]);
    }
}

struct Phone<'a> {
    namespace: &'a Namespace,
    relay: &'a str,
    login: String,
    ca_file: PathBuf,
}

impl Phone<'_> {
    /// curl with the phone's account; its DNS knows where the relay is.
    fn curl(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = self.namespace.command("curl");
        command.args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--user",
            &self.login,
        ]);
        for port in ["80", "443"] {
            command.args([
                "--resolve",
                &format!("{HOSTNAME}:{port}:{}", bracketed(self.relay)),
            ]);
        }
        command.arg("--cacert").arg(&self.ca_file).args(arguments);
        let output = command.output().unwrap();
        success(&command, output)
    }
}

fn bracketed(address: &str) -> String {
    if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    }
}

fn ip(arguments: &[&str]) {
    let mut command = Command::new("ip");
    let output = command.args(arguments).output().unwrap();
    success(&command, output);
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|it| it.status.success())
}

fn success(command: &Command, output: Output) -> Vec<u8> {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{told}",
        output.status
    );
    output.stdout
}
