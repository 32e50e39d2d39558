//! Relay, home and phone on machines of their own: network namespaces with nothing between home and
//! phone but the relay, and everything that befalls networks.
//!
//! What is measured is the time until a new connection of a phone works again. The tests assert
//! what is promised and print what they measured.

mod clones;
mod crowd;
mod homes;
mod legs;
pub(crate) mod machines;
pub(crate) mod name_server;
mod names;
pub(crate) mod outages;
pub(crate) mod prober;
pub(crate) mod relays;
pub(crate) mod restarts;
mod sleep;
mod strict;
mod unprivileged;

use std::path::PathBuf;

use cloudless_testbed::{Bed, Conditions, Family, HOME_LAN_V6, RELAY};

use crate::cards;
use crate::client::BOOK;
use crate::network::machines::{HOSTNAME, Machines, success};

#[test]
fn three_machines_over_ipv4() {
    sync_between_machines(Family::V4);
}

#[test]
fn three_machines_over_ipv6() {
    sync_between_machines(Family::V6);
}

/// The README's commands, with the ports that it names, and curl.
fn sync_between_machines(family: Family) {
    if let Some(machines) = Machines::start(family) {
        sync_between(&machines, family);
    }
}

fn sync_between(machines: &Machines, family: Family) {
    let phone = Phone {
        bed: &machines.bed,
        family,
        login: format!("me:{}", machines.password()),
        ca_file: machines.ca_file(),
    };
    let card = cards::small("over-the-network");
    let file = machines.folder().join("card.vcf");
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
        format!("308 https://{HOSTNAME}/dav/")
    );

    // Nothing but the relay joins the two.
    for home in ["192.168.1.2", &HOME_LAN_V6.to_string()] {
        let mut ping = machines.bed.phone.command("curl");
        ping.args(["--silent", "--connect-timeout", "0.3"])
            .arg(format!("http://{}", bracketed(home)));
        assert!(
            !ping.output().unwrap().status.success(),
            "the phone reaches home without the relay"
        );
    }
}

#[test]
fn a_slow_lossy_path_serves_over_ipv4() {
    a_slow_lossy_path_serves(Family::V4);
}

#[test]
fn a_slow_lossy_path_serves_over_ipv6() {
    a_slow_lossy_path_serves(Family::V6);
}

fn a_slow_lossy_path_serves(family: Family) {
    let Some(machines) = Machines::start(family) else {
        return;
    };
    machines.bed.internet.set(Conditions {
        delay: std::time::Duration::from_millis(20),
        loss: 0.01,
        reorder: 0.01,
        ..Conditions::default()
    });
    let phone = Phone {
        bed: &machines.bed,
        family,
        login: format!("me:{}", machines.password()),
        ca_file: machines.ca_file(),
    };
    // A card of a photo's size, so that losses fall upon it.
    let photo = "A".repeat(400_000);
    let card = format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:photo\r\nFN:Photo\r\nN:Photo;;;;\r\nNOTE:{photo}\r\nEND:VCARD\r\n"
    );
    let file = machines.folder().join("card.vcf");
    std::fs::write(&file, &card).unwrap();
    let url = format!("https://{HOSTNAME}{BOOK}photo.vcf");
    phone.curl(&[
        "--header",
        "content-type: text/vcard",
        "--upload-file",
        file.to_str().unwrap(),
        &url,
    ]);
    assert_eq!(phone.curl(&[&url]), card.as_bytes());
}

struct Phone<'a> {
    bed: &'a Bed,
    family: Family,
    login: String,
    ca_file: PathBuf,
}

impl Phone<'_> {
    /// curl with the phone's account; its DNS knows where the relay is.
    fn curl(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = self.bed.phone.command("curl");
        command.args(["--silent", "--show-error", "--max-time", "30"]);
        command.args(["--user", &self.login]);
        let relay = bracketed(&RELAY[self.family as usize].to_string());
        for port in ["80", "443"] {
            command.args(["--resolve", &format!("{HOSTNAME}:{port}:{relay}")]);
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
