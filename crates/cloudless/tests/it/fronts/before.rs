//! Another program has the ports, and passes homes' names and the relay's own to the relay, which
//! believes nobody else who came.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;

use crate::acme::pebble::free_port;
use crate::binary::on;
use crate::client::BOOK;
use crate::documented::{self, here};
use crate::fronts::{self, PAGE, Program, curl};
use crate::pair::{HOSTNAME, Pair};
use crate::upstreams::peer::Peer;

/// Enough to go over legs, where there are any.
const LARGE: usize = 2 * 1024 * 1024;
const HOME: (&str, &str) = ("contacts.example.org", HOSTNAME);
const RELAY: (&str, &str) = ("relay.cloudless.internal", "relay.test");

#[test]
fn haproxy_before_apache() {
    let with_legs = ("legs = false", "legs = true");
    let has_legs = check(Program::Haproxy, Program::Apache, &[with_legs]);
    assert!(has_legs.is_none_or(|it| it), "HAProxy leads legs");
}

#[test]
fn nginx_before_itself() {
    let has_legs = check(Program::Nginx, Program::Nginx, &[]);
    assert!(has_legs.is_none_or(|it| !it), "nginx cannot lead legs");
}

/// Says whether a visitor went on on a leg; `None` where something is missing on this machine.
fn check(program: Program, site: Program, settings: &[(&str, &str)]) -> Option<bool> {
    if !program.is_there() || !site.is_there() {
        return None;
    }
    let (echo, authority) = (fronts::start_echo(), fronts::start_echo());
    let passed = format!("[hostname.\"{HOSTNAME}\"]\npassthrough_http = \"{authority}\"\n");
    let mut pair = Pair::start_configured(HOSTNAME, &(fronts::echo_table(echo) + &passed));
    let relay = [pair.relay_address(), pair.relay_http_address()].map(|it| it.to_string());
    let listen_http = format!("http = \"{}\"", relay[1]);
    let own = [("127.0.0.1:8444", &*relay[0]), ("http = []", &*listen_http)];
    let block = documented::block(PAGE, "## The web server has port 443", "toml");
    let file = pair.folder("relay").join("relay.toml");
    documented::set(&file, &here(block, &[&own[..], settings].concat()));
    pair.kill_relay();
    pair.start_relay();

    // What listens for visitors, and for those who come without TLS.
    let folder = pair.folder("site");
    let (site_http, http) = (Cell::new(free_port()), Cell::new(free_port()));
    let beside = (site != program).then(|| {
        Peer::start(|https| {
            site_http.set(free_port());
            let text = site.site(&folder, https, free_port());
            let more = port_80(site, site_http.get(), &relay[1]);
            site.command(&folder, &(text + &more))
        })
    });
    let folder = pair.folder("front");
    let front = Peer::start(|address| {
        http.set(free_port());
        let more = port_80(program, http.get(), &relay[1]);
        let text = match &beside {
            Some(site) => port_443(program, address, site.address(), &relay[0]) + &more,
            None => {
                let https = free_port();
                let site = site.site(&folder, https, free_port());
                let servers = fronts::nginx_http(&folder, &(site + &more));
                servers + &port_443(program, address, https, &relay[0])
            }
        };
        program.command(&folder, &text)
    });
    pair.lead_home_over(front.address());
    pair.kill_home();
    pair.start_home();
    pair.await_tunnel();

    fronts::assert_home_knows_the_visitor(front.address(), &pair.ca_file());
    fronts::assert_site_knows_the_visitor(front.address(), "https");
    assert_contacts_and_files_pass(&pair, front.address());
    assert_port_80(http.get());
    if beside.is_some() {
        assert_port_80(site_http.get());
    }
    let status = on(&pair.folder("relay"), &["relay", "status", "--json"]);
    let homes = &status.expect(0).json()["homes"];
    Some(homes[0]["legs_total"].as_u64().unwrap() > 0)
}

/// The page's configuration of what gets everybody at `address`.
fn port_443(program: Program, address: SocketAddr, site: SocketAddr, relay: &str) -> String {
    let (address, site) = (address.to_string(), site.to_string());
    let both = [
        HOME,
        RELAY,
        ("127.0.0.1:8444", relay),
        ("127.0.0.1:8443", &site),
    ];
    let listen = format!("listen {address};");
    let (heading, own) = match program {
        Program::Apache => unreachable!("it reads what it passes on"),
        Program::Haproxy => (
            "### HAProxy before the relay",
            vec![(":::443 v4v6", &*address)],
        ),
        Program::Nginx => (
            "### nginx before the relay",
            vec![("listen 443;", &*listen), ("listen [::]:443;", "")],
        ),
    };
    let text = documented::block(PAGE, heading, program.language());
    here(text, &[&both[..], &own].concat())
}

/// The page's configuration of what gets those without TLS.
fn port_80(program: Program, address: SocketAddr, relay: &str) -> String {
    let address = address.to_string();
    let (listen, listen_apache, host) = (
        format!("listen {address};"),
        format!("Listen {address}\n<VirtualHost {address}>"),
        [HOME, ("127.0.0.1:8081", relay)],
    );
    let (heading, own) = match program {
        Program::Apache => (
            "### Apache at port 80",
            vec![("<VirtualHost *:80>", &*listen_apache)],
        ),
        Program::Haproxy => ("### HAProxy at port 80", vec![(":::80 v4v6", &*address)]),
        Program::Nginx => (
            "### nginx at port 80",
            vec![("listen 80;", &*listen), ("listen [::]:80;", "")],
        ),
    };
    let text = documented::block(PAGE, heading, program.language());
    here(text, &[&host[..], &own].concat())
}

fn assert_contacts_and_files_pass(pair: &Pair, to: SocketAddr) {
    let login = format!("me:{}", pair.password());
    let ca_file = pair.ca_file();
    let known = ["--user", &login, "--cacert", ca_file.to_str().unwrap()];
    let propfind = [
        &known[..],
        &["--request", "PROPFIND", "--header", "depth: 1"],
    ]
    .concat();
    let found = curl(to, "https", HOSTNAME, BOOK, &propfind);
    let found = String::from_utf8_lossy(&found);
    assert!(found.starts_with("HTTP/2 207"), "{found}");

    let large: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    let file = pair.folder("front").join("large");
    fs::write(&file, &large).unwrap();
    let path = "/dav/files/me/large";
    let up = [&known[..], &["--upload-file", file.to_str().unwrap()]].concat();
    let up = curl(to, "https", HOSTNAME, path, &up);
    let up = String::from_utf8_lossy(&up);
    assert!(up.contains("HTTP/2 201"), "{up}");
    let down = curl(to, "https", HOSTNAME, path, &known);
    assert!(down.ends_with(&large), "{} bytes", down.len());
}

/// Whoever asks for a home's name is sent to https, but for certificate authorities.
fn assert_port_80(to: SocketAddr) {
    let host = format!("Host: {HOSTNAME}");
    let asked = |path: &str| {
        let answer = curl(to, "http", HOSTNAME, path, &["--header", &host]);
        String::from_utf8_lossy(&answer).to_lowercase()
    };
    let sent_on = asked("/dav/");
    assert!(sent_on.starts_with("http/1.1 308"), "{sent_on}");
    let location = format!("\r\nlocation: https://{HOSTNAME}/dav/\r\n");
    assert!(sent_on.contains(&location), "{sent_on}");
    let challenge = asked("/.well-known/acme-challenge/token");
    assert!(
        challenge.contains("\nget /.well-known/acme-challenge/token http/1.1\n"),
        "{challenge}"
    );
    assert!(
        challenge.contains(&format!("\nhost: {HOSTNAME}\n")),
        "{challenge}"
    );
}
