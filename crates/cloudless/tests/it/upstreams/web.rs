//! A web server with WebSockets, events and large bodies behind home, with TLS or without.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Curl;
use super::peer::{self, Peer};
use crate::acme::pebble::identity;
use crate::binary::on;
use crate::pair::{HOSTNAME, Pair};
use crate::pattern;

const NGINX: &str = "/usr/sbin/nginx";
const MIB: u64 = 1024 * 1024;
/// What a stream of any length may add to home's memory, in KiB.
pub(super) const GROWTH_MAX: u64 = 24 * 1024;

fn script() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/upstreams/server.py")
}

/// The server, with TLS where a certificate is given.
pub(crate) fn start(certificate: Option<&Path>) -> Option<Peer> {
    let python = peer::program("python")?;
    Some(Peer::start(|address| {
        let mut command = Command::new(&python);
        command
            .arg(script())
            .arg("serve")
            .arg(address.ip().to_string());
        command.arg(address.port().to_string());
        if let Some(folder) = certificate {
            command.args([folder.join("cert.pem"), folder.join("key.pem")]);
        }
        command
    }))
}

#[test]
fn websockets_and_events_pass_through_the_relay() {
    let Some(peer) = start(None) else { return };
    let table = format!(
        "[[upstream]]\npath = \"/web/\"\nstrip_prefix = true\nserver = \"{}\"\n",
        peer.url()
    );
    let pair = Pair::start_configured(HOSTNAME, &table);
    let url = format!("wss://{HOSTNAME}:{}/web/ws", pair.relay_port());
    let visited = Command::new(peer::program("python").unwrap())
        .arg(script())
        .args(["visit", &url])
        .arg(pair.ca_file())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&visited.stdout);
    assert_eq!(
        said, "echo hello 0\necho hello 1\necho hello 2\nTrue\n1000\n",
        "{visited:?}"
    );

    // Each event comes before the next one is asked for.
    let mut listening = Command::new("curl")
        .args([
            "--silent",
            "--no-buffer",
            "--ipv4",
            "--max-time",
            "120",
            "--cacert",
        ])
        .arg(pair.ca_file())
        .arg(format!(
            "https://{HOSTNAME}:{}/web/events",
            pair.relay_port()
        ))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(listening.stdout.take().unwrap()).lines();
    for number in 0..3 {
        let next = Curl::new(&pair, "POST")
            .with(&["--data-binary", ""])
            .ask("/web/next");
        assert_eq!(next.status, 200, "{next:?}");
        assert_eq!(lines.next().unwrap().unwrap(), format!("data: {number}"));
        assert_eq!(lines.next().unwrap().unwrap(), "");
    }
    assert!(listening.wait().unwrap().success());
}

#[test]
fn a_server_with_tls_and_an_authority_of_its_own() {
    let folder = tempfile::TempDir::new().unwrap();
    identity(folder.path());
    let Some(peer) = start(Some(folder.path())) else {
        return;
    };
    let url = format!("https://localhost:{}", peer.address().port());
    let table = |path: &str, lines: &str| {
        format!(
            "[[upstream]]\npath = \"{path}\"\nstrip_prefix = true\nserver = \"{url}\"\n{lines}\n"
        )
    };
    let ca_file = format!("ca_file = \"{}\"", folder.path().join("ca.pem").display());
    let tables = table("/good/", &ca_file)
        + &table("/stranger/", "")
        + &table(
            "/other/",
            &format!("{ca_file}\nserver_name = \"other.example.org\""),
        );
    let pair = Pair::start_configured(HOSTNAME, &tables);
    let good = Curl::new(&pair, "PUT")
        .with(&["--data-binary", "abc"])
        .ask("/good/upload");
    assert!(good.text.contains("\"length\": 3"), "{good:?}");
    // A certificate that nobody vouches for, and one that is for somebody else.
    for path in ["/stranger/upload", "/other/upload"] {
        let refused = Curl::new(&pair, "PUT")
            .with(&["--data-binary", "abc"])
            .ask(path);
        assert_eq!(refused.status, 502, "{refused:?}");
    }
    let status = on(&pair.folder("home"), &["home", "status"])
        .expect(0)
        .stdout;
    assert!(status.contains("UnknownIssuer"), "{status}");
    assert!(status.contains("name that in ca_file"), "{status}");
    assert!(
        status.contains("NotValidForName") || status.contains("not valid for name"),
        "{status}"
    );
}

/// nginx, over HTTP/2 with TLS and over HTTP/1.1 on a unix socket, 16 MiB each way.
#[test]
fn http2_and_a_unix_socket() {
    if !Path::new(NGINX).exists() {
        return crate::corpus::missing("nginx: run `cargo xtask test`, which installs it");
    }
    let folder = tempfile::TempDir::new().unwrap();
    identity(folder.path());
    fs::create_dir(folder.path().join("files")).unwrap();
    let at = folder.path().display();
    let peer = Peer::start(|address| {
        let told = "return 200 \"spoke $server_protocol $http_host $http_x_forwarded_proto\";";
        let files = |path: &str| {
            format!(
                "location {path}/files/ {{ alias {at}/files/; dav_methods PUT; create_full_put_path on;\n\
                 client_max_body_size 0; }}"
            )
        };
        let (tls_files, socket_files) = (files("/tls"), files("/socket"));
        let configuration = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr crit; events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p;\n\
             fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             server {{ listen unix:{at}/socket; location / {{ {told} }} {socket_files} }}\n\
             server {{ listen {address} ssl http2; location / {{ {told} }} {tls_files}\n\
             ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem; }} }}\n"
        );
        let _ = fs::remove_file(folder.path().join("socket"));
        fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
        let mut command = Command::new(NGINX);
        command
            .args(["-e", "stderr", "-c"])
            .arg(folder.path().join("nginx.conf"));
        command
    });
    let tables = format!(
        "[[upstream]]\npath = \"/tls/\"\nserver = \"https://{}\"\nca_file = \"{at}/ca.pem\"\n\
         server_name = \"localhost\"\n\
         [[upstream]]\npath = \"/socket/\"\nserver = \"unix:{at}/socket\"\n",
        peer.address()
    );
    let pair = Pair::start_configured(HOSTNAME, &tables);
    let host = format!("{HOSTNAME}:{}", pair.relay_port());
    for (path, version) in [("/tls/", "HTTP/2.0"), ("/socket/", "HTTP/1.1")] {
        for visitor in ["--http1.1", "--http2"] {
            let told = Curl::new(&pair, "GET").with(&[visitor]).ask(path);
            let expected = format!("spoke {version} {host} https");
            assert!(told.text.ends_with(&expected), "{visitor} {path}: {told:?}");
        }
    }

    // Bodies, of a known length and of none.
    let (file, got) = (folder.path().join("file"), folder.path().join("got"));
    let chunked = ["--header", "transfer-encoding: chunked"];
    let mut seed = 1;
    for path in ["/tls/", "/socket/"] {
        for (visitor, length) in [
            ("--http1.1", &[][..]),
            ("--http1.1", &chunked),
            ("--http2", &[]),
        ] {
            seed += 1;
            let sent = pattern::write(&file, seed, 16 * MIB);
            let target = format!("{path}files/{seed}");
            let up = Curl::new(&pair, "PUT").with(&[visitor]).with(length);
            let up = up
                .with(&["--upload-file", file.to_str().unwrap()])
                .ask(&target);
            assert_eq!(up.status, 201, "{visitor} {target}: {up:?}");
            let written = folder.path().join(format!("files/{seed}"));
            assert_eq!(pattern::digest(&written), sent, "{visitor} {target}");
            let down = Curl::new(&pair, "GET").with(&[visitor, "--fail", "--output"]);
            let down = down.with(&[got.to_str().unwrap()]).run(&target);
            assert!(down.status.success(), "{visitor} {target}: {down:?}");
            assert_eq!(pattern::digest(&got), sent, "{visitor} {target}");
        }
    }
}

/// 64 MiB each way, and 1 GiB in `cargo xtask acceptance`.
#[test]
fn large_bodies_pass_unchanged_in_bounded_memory() {
    let Some(peer) = start(None) else { return };
    let table = format!(
        "[[upstream]]\nhostname = \"{HOSTNAME}\"\nserver = \"{}\"\n",
        peer.url()
    );
    let pair = Pair::start_configured(HOSTNAME, &table);
    let mib = if crate::is_acceptance() { 1024 } else { 64 };
    let folder = pair.folder("large");
    let (file, got) = (folder.join("file"), folder.join("got"));
    let sent = pattern::write(&file, 1, mib * MIB);
    let (path, got_path) = (file.to_str().unwrap(), got.to_str().unwrap());
    let told = Command::new("curl")
        .args(["--silent", "--fail"])
        .arg(format!("{}/downloaded/{mib}", peer.url()))
        .output();
    let expected = String::from_utf8(told.unwrap().stdout).unwrap();
    // Whatever is made once, such as buffers of TLS, is there.
    let small = Curl::new(&pair, "GET")
        .with(&["--output", "/dev/null"])
        .run("/download/4");
    assert!(small.status.success(), "{small:?}");
    let before = peak(pair.home_pid());

    for version in ["--http1.1", "--http2"] {
        for length in [&["--header", "transfer-encoding: chunked"][..], &[]] {
            let up = Curl::new(&pair, "PUT")
                .with(&[version, "--max-time", "600"])
                .with(length);
            let up = up
                .with(&["--upload-file", path, "--header", "expect:"])
                .run("/upload");
            let told: Value =
                serde_json::from_slice(&up.stdout).unwrap_or_else(|_| panic!("{up:?}"));
            assert_eq!(told["length"], mib * MIB, "{version}");
            assert_eq!(told["sha256"], sent, "{version}");
        }
        let down = Curl::new(&pair, "GET").with(&[version, "--max-time", "600"]);
        let down = down
            .with(&["--output", got_path])
            .run(&format!("/download/{mib}"));
        assert!(down.status.success(), "{down:?}");
        assert_eq!(fs::metadata(&got).unwrap().len(), mib * MIB, "{version}");
        assert_eq!(pattern::digest(&got), expected, "{version}");
    }
    let growth = peak(pair.home_pid()).saturating_sub(before);
    println!("{mib} MiB each way: {growth} KiB more than {before}");
    assert!(growth < GROWTH_MAX, "{growth} KiB more than {before}");
}

/// The most memory that a process has had, in KiB.
pub(super) fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|it| it.trim().strip_suffix(" kB")?.trim().parse().ok())
        .unwrap()
}
