//! The relay has port 443, and a web server gets what is for no home.

use std::cell::Cell;

use crate::acme::pebble::free_port;
use crate::binary::on;
use crate::client::BOOK;
use crate::documented;
use crate::fronts::{self, PAGE, Program};
use crate::pair::{HOSTNAME, Pair};
use crate::upstreams::peer::Peer;

#[test]
fn apache() {
    check(Program::Apache);
}

#[test]
fn haproxy() {
    check(Program::Haproxy);
}

#[test]
fn nginx() {
    check(Program::Nginx);
}

fn check(program: Program) {
    if !program.is_there() {
        return;
    }
    let echo = fronts::start_echo();
    let pair = Pair::start_configured(HOSTNAME, &fronts::echo_table(echo));
    let folder = pair.folder("site");
    let http = Cell::new(free_port());
    let site = Peer::start(|https| {
        http.set(free_port());
        let site = program.site(&folder, https, http.get());
        let text = match program {
            Program::Nginx => fronts::nginx_http(&folder, &site),
            Program::Apache | Program::Haproxy => site,
        };
        program.command(&folder, &text)
    });

    let block = documented::block(PAGE, "## The relay has port 443", "toml");
    let (https, http) = (site.address().to_string(), http.get().to_string());
    let ports = [("127.0.0.1:8443", &*https), ("127.0.0.1:8080", &*http)];
    let relay = pair.folder("relay");
    documented::set(&relay.join("relay.toml"), &documented::here(block, &ports));
    on(&relay, &["relay", "reload"]).expect(0);

    let to = pair.relay_address();
    fronts::assert_site_knows_the_visitor(to, "https");
    fronts::assert_site_knows_the_visitor(pair.relay_http_address(), "http");
    fronts::assert_home_knows_the_visitor(to, &pair.ca_file());
    let login = format!("me:{}", pair.password());
    let ca_file = pair.ca_file();
    let depth = ["--header", "depth: 1"];
    let propfind = ["--request", "PROPFIND", "--user", &login, "--cacert"];
    let arguments = [&depth[..], &propfind, &[ca_file.to_str().unwrap()]].concat();
    let found = fronts::curl(to, "https", HOSTNAME, BOOK, &arguments);
    let found = String::from_utf8_lossy(&found);
    assert!(found.starts_with("HTTP/2 207"), "{found}");
}
