//! Networks that let out less than home wants, or answer in the relay's place.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cloudless_testbed::{Bed, Family};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::Value;

use crate::corpus;
use crate::network::machines::Machines;
use crate::network::outages::{SECOND, within};

/// The router, as home sees it.
const ROUTER: [&str; 2] = ["192.168.1.1", "[2001:db8:4::1]"];
const PATIENCE: Duration = Duration::from_secs(30);

/// The router lets nothing through, and what was meant for a server's port 443 comes to itself.
const SHUT: &str = "
table inet shut {
    chain prerouting {
        type nat hook prerouting priority dstnat
        iifname wifi tcp dport 443 redirect to :443
    }
    chain forward {
        type filter hook forward priority raw
        drop
    }
}
";

/// The same for a server's port 80. What was meant for its port 443 meets the verdict.
const PORT_80: &str = "
table inet shut {
    chain prerouting {
        type nat hook prerouting priority dstnat
        iifname wifi tcp dport 80 redirect to :80
    }
    chain forward {
        type filter hook forward priority raw
        tcp dport 443 VERDICT
        drop
    }
}
";
/// The network is shut no more.
const OPEN: [&str; 4] = ["delete", "table", "inet", "shut"];

#[test]
fn a_network_that_lets_only_a_proxy_out_over_ipv4() {
    a_network_that_lets_only_a_proxy_out(Family::V4);
}

#[test]
fn a_network_that_lets_only_a_proxy_out_over_ipv6() {
    a_network_that_lets_only_a_proxy_out(Family::V6);
}

fn a_network_that_lets_only_a_proxy_out(family: Family) {
    let Some(mut machines) = Machines::start(family) else {
        return;
    };
    let Some(_proxy) = Tinyproxy::start(&machines) else {
        return;
    };
    machines.bed.router.run("nft", &[SHUT]);
    let proxy = |login: &str| format!("http://{login}@{}:3128", ROUTER[family as usize]);
    machines.restart_home_with(&[("HTTPS_PROXY", &proxy("me:wrong"))]);
    machines.home_says("it wants a user and a password");
    let env = [
        ("HTTPS_PROXY", &*proxy("me:s%65cret")),
        ("NO_PROXY", "a.test"),
    ];
    machines.restart_home_with(&env);
    machines.await_tunnel();
    let prober = machines.prober();
    prober.back_after(Instant::now());
    // The tunnel through the proxy is dialed anew like any other.
    machines.kill_relay();
    machines.start_relay();
    let took = prober.back_after(Instant::now());
    within(2 * SECOND, "relay killed, behind a proxy", family, took);
    let log = machines.home_log();
    assert!(!log.contains("cret") && !log.contains("bWU6"), "{log}");
    // Whom the proxy is not for is not reached in this network.
    let env = [env[0], ("NO_PROXY", "203.0.113.0/24,2001:db8:1::1")];
    machines.restart_home_with(&env);
    machines.home_says("cannot connect to");
}

#[test]
fn home_is_back_with_its_proxy_and_names_it_without_the_password_over_ipv4() {
    home_is_back_with_its_proxy_and_names_it_without_the_password(Family::V4);
}

#[test]
fn home_is_back_with_its_proxy_and_names_it_without_the_password_over_ipv6() {
    home_is_back_with_its_proxy_and_names_it_without_the_password(Family::V6);
}

fn home_is_back_with_its_proxy_and_names_it_without_the_password(family: Family) {
    let Some(mut machines) = Machines::start(family) else {
        return;
    };
    let Some(proxy) = Tinyproxy::start(&machines) else {
        return;
    };
    machines.bed.router.run("nft", &[SHUT]);
    let address = format!("{}:3128", ROUTER[family as usize]);
    let url = format!("http://me:s%65cret@{address}");
    machines.restart_home_with(&[("HTTPS_PROXY", &url)]);
    machines.await_tunnel();
    let prober = machines.prober().calm();
    names(&machines, &address);

    drop(proxy);
    machines.home_says(&format!(
        "cannot reach the relay through the proxy at {address}: cannot connect"
    ));
    names(&machines, &address);
    assert_eq!(prober.go_on_for(SECOND, Instant::now()), 0);
    let _proxy = Tinyproxy::start(&machines);
    let took = prober.back_after(Instant::now());
    within(2 * SECOND, "proxy lost and started again", family, took);
    names(&machines, &address);
    let log = machines.home_log();
    assert!(log.contains(&address), "{log}");
    assert!(!log.contains("cret") && !log.contains("bWU6"), "{log}");
}

/// Asserts that home's status says which proxy there is, and not how home introduces itself to it.
fn names(machines: &Machines, proxy: &str) {
    let text = machines.on_home(&["home", "status"]);
    let json = machines.on_home(&["home", "status", "--json"]);
    assert!(
        text.contains(&format!("through the proxy      {proxy}\n")),
        "{text}"
    );
    let status: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status["relays"][0]["proxy"], proxy, "{json}");
    // What stands at the address is the proxy, and no relay.
    assert_eq!(status["relays"][0]["address"], Value::Null, "{json}");
    for said in [text, json] {
        assert!(!said.contains("cret") && !said.contains("bWU6"), "{said}");
    }
}

#[test]
fn a_network_that_intercepts_tls_is_named_with_the_issuer_over_ipv4() {
    a_network_that_intercepts_tls_is_named(Family::V4);
}

#[test]
fn a_network_that_intercepts_tls_is_named_with_the_issuer_over_ipv6() {
    a_network_that_intercepts_tls_is_named(Family::V6);
}

fn a_network_that_intercepts_tls_is_named(family: Family) {
    let Some(mut machines) = Machines::start(family) else {
        return;
    };
    let config = interceptor("Example Corp Inspection CA");
    answer_in_the_relays_place(&machines.bed, family, move |mut tcp| {
        let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        while tls.is_handshaking() && tls.complete_io(&mut tcp).is_ok() {}
    });
    machines.restart_home_with(&[]);
    machines.home_says("this network intercepts TLS");
    machines.home_says("Example Corp Inspection CA");
}

#[test]
fn a_captive_portal_is_named_with_its_page_and_home_goes_on_when_it_opens_over_ipv4() {
    a_captive_portal_is_named(Family::V4);
}

#[test]
fn a_captive_portal_is_named_with_its_page_and_home_goes_on_when_it_opens_over_ipv6() {
    a_captive_portal_is_named(Family::V6);
}

fn a_captive_portal_is_named(family: Family) {
    let Some(mut machines) = Machines::start(family) else {
        return;
    };
    // To a ClientHello it says the same as to a browser.
    answer_in_the_relays_place(&machines.bed, family, sends_to_its_page);
    machines.restart_home_with(&[]);
    machines.home_says("a captive portal answers for the relay");
    machines.home_says("sends browsers to http://portal.example/login");
    machines.bed.router.run("nft", &OPEN);
    machines.await_tunnel();
}

#[test]
fn a_captive_portal_that_answers_browsers_alone_is_named_and_home_is_back_when_it_opens_over_ipv4()
{
    a_captive_portal_that_answers_browsers_alone_is_named(Family::V4);
}

#[test]
fn a_captive_portal_that_answers_browsers_alone_is_named_and_home_is_back_when_it_opens_over_ipv6()
{
    a_captive_portal_that_answers_browsers_alone_is_named(Family::V6);
}

fn a_captive_portal_that_answers_browsers_alone_is_named(family: Family) {
    let Some(mut machines) = Machines::start(family) else {
        return;
    };
    answer_at_the_router(&machines.bed, family, 80, sends_to_its_page);
    for verdict in ["reject with tcp reset", "drop"] {
        let table = PORT_80.replace("VERDICT", verdict);
        machines.bed.router.run("nft", &[&table]);
        machines.restart_home_with(&[]);
        machines.home_says("a captive portal answers for the relay");
        machines.home_says("sends browsers to http://portal.example/login");
        let prober = machines.prober();
        machines.bed.router.run("nft", &OPEN);
        let took = prober.back_after(Instant::now());
        let event = format!("captive portal opened, {verdict} before");
        within(2 * SECOND, &event, family, took);
    }
}

/// Says the same to everybody.
fn sends_to_its_page(mut tcp: TcpStream) {
    let _ = tcp.read(&mut [0; 4096]);
    let _ = tcp.write_all(
        b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/login\r\n\
          Content-Length: 0\r\nConnection: close\r\n\r\n",
    );
}

/// Another server's TLS, of an authority of its own.
fn interceptor(issuer: &str) -> Arc<ServerConfig> {
    let mut authority = rcgen::CertificateParams::new([]).unwrap();
    let name = &mut authority.distinguished_name;
    name.push(rcgen::DnType::CommonName, issuer);
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(authority, key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(["relay.cloudless.internal".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key);
    Arc::new(config.unwrap())
}

/// Shuts the network and lets the router answer what is meant for the relay.
fn answer_in_the_relays_place(
    bed: &Bed,
    family: Family,
    answer: impl Fn(TcpStream) + Send + Sync + 'static,
) {
    answer_at_the_router(bed, family, 443, answer);
    bed.router.run("nft", &[SHUT]);
}

/// Lets the router answer what comes to this port of its own.
fn answer_at_the_router(
    bed: &Bed,
    family: Family,
    port: u16,
    answer: impl Fn(TcpStream) + Send + Sync + 'static,
) {
    // Redirected to whichever IPv6 address the router has there.
    let address = ["192.168.1.1", "::"][family as usize];
    let listener = bed.router.enter(|| TcpListener::bind((address, port)));
    let listener = listener.unwrap();
    let answer = Arc::new(answer);
    // It ends with the test's process.
    thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            let _ = tcp.set_read_timeout(Some(PATIENCE));
            thread::spawn(move || answer(tcp));
        }
    });
}

/// Debian's tinyproxy on the router.
struct Tinyproxy(Child);

impl Tinyproxy {
    fn start(machines: &Machines) -> Option<Self> {
        if Command::new("tinyproxy").arg("-v").output().is_err() {
            corpus::missing("tinyproxy");
            return None;
        }
        let configuration = machines.folder().join("tinyproxy.conf");
        let text = "Port 3128\nListen 192.168.1.1\nListen 2001:db8:4::1\nTimeout 600\n\
                    ConnectPort 443\nBasicAuth me secret\n";
        std::fs::write(&configuration, text).unwrap();
        let mut command = machines.bed.router.command("tinyproxy");
        command.arg("-d").arg("-c").arg(configuration);
        Some(Self(command.stdout(Stdio::null()).spawn().unwrap()))
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
