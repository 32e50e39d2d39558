//! The classic recipe's machine at home, as it is: autossh, nginx, a client of Let's Encrypt, Radicale.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Bed, HOSTNAME, Running};
use crate::acme::pebble::{self, Pebble, Settings};
use crate::binary::on;
use crate::cards;
use crate::corpus;
use crate::upstreams::peer::Peer;
use crate::vdirsyncer::{self, Account, Folder};

const NGINX: &str = "/usr/sbin/nginx";
const DEHYDRATED: &str = "/usr/bin/dehydrated";
const GENERATED: usize = 30;
const PATIENCE: Duration = Duration::from_secs(60);
const BOOK: &str = r#"<?xml version="1.0"?><mkcol xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><set><prop>
    <resourcetype><collection/><C:addressbook/></resourcetype></prop></set></mkcol>"#;

#[test]
fn a_certificate_by_http_01_and_radicale_behind_nginx() {
    for (program, name) in [(NGINX, "nginx"), (DEHYDRATED, "dehydrated")] {
        if !Path::new(program).exists() {
            return corpus::missing(&format!(
                "{name}: run `cargo xtask test`, which installs it"
            ));
        }
    }
    if !pebble::is_installed() {
        return;
    }
    let (Some(program), Some(radicale)) = (vdirsyncer::program(), Peer::radicale()) else {
        return;
    };
    let Some(mut bed) = Bed::start() else { return };
    bed.allow("id");
    let pebble = Pebble::start(&Settings {
        https: bed.https.port(),
        http: bed.http.port(),
        nonces_refused: 0,
        external: None,
        validity_s: None,
    });

    // nginx without a certificate, and the tunnel.
    let nginx = Nginx::start(&bed, &radicale);
    let log = bed.path("autossh.log");
    let mut autossh = bed.ssh_by("autossh", "id");
    autossh
        .args([
            "-N",
            "-o",
            "ServerAliveInterval=1",
            "-o",
            "ServerAliveCountMax=2",
        ])
        .args(["-o", "ExitOnForwardFailure=yes"])
        .args(["-R", &format!("{HOSTNAME}:443:{}", nginx.site.tls)])
        .args(["-R", &format!("{HOSTNAME}:80:{}", nginx.site.plain)])
        .arg("relay@127.0.0.1");
    let _autossh = Running::start(&mut autossh, &log);
    bed.is_connected(true);
    bed.is_online(false);

    // The certificate, and nginx with it.
    order(&bed, &pebble);
    nginx.serve_tls();
    let root = bed.path("root.pem");
    pebble.write_root(&root);
    let root = root.to_str().unwrap();
    until(|| bed.curl("/me/", &["--cacert", root]), "Radicale");
    bed.is_online(true);
    // Nothing else of port 80 comes home.
    let url = format!("http://{HOSTNAME}:{}/.web/", bed.http.port());
    let plain = super::curl(&["--ipv4", &url]);
    assert!(plain.starts_with("HTTP/1.1 308"), "{plain}");

    let made = bed.curl(
        "/me/contacts/",
        &[
            "--cacert",
            root,
            "--user",
            "me:secret",
            "-X",
            "MKCOL",
            "--data-binary",
            BOOK,
        ],
    );
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    let account = Account {
        url: format!("https://{HOSTNAME}:{}/", bed.https.port()),
        user: "me",
        password: "secret".to_owned(),
        ca_file: root.into(),
    };
    let folder = |name: &str| {
        fs::create_dir(bed.path(name)).unwrap();
        Folder::new(&program, bed.path(name), account.clone())
    };
    let (laptop, desktop) = (folder("laptop"), folder("desktop"));
    for (name, card) in cards::varied(GENERATED) {
        laptop.write(&name, &card);
    }
    laptop.discover();
    laptop.sync();
    desktop.discover();
    desktop.sync();
    assert_eq!(desktop.read().len(), GENERATED);

    // The relay is killed, and everything is back without anybody's doing.
    bed.kill_relay();
    bed.start_relay();
    until(|| bed.curl("/me/", &["--cacert", root]), "Radicale");
    laptop.edit("card-1", "NOTE:edited after the restart");
    laptop.remove("card-2");
    laptop.sync();
    desktop.sync();
    assert_eq!(desktop.read().len(), GENERATED - 1);

    let status = on(&bed.state(), &["relay", "status"]).expect(0).stdout;
    assert!(status.contains("(ssh)"), "{status}");
    // A name that was taken stays so, however often autossh tries.
    on(&bed.state(), &["relay", "revoke", HOSTNAME]).expect(0);
    until(
        || fs::read_to_string(&log).unwrap(),
        "Permission denied (publickey)",
    );
    let gone = bed.curl("/me/", &["--cacert", root]);
    assert!(!gone.contains("HTTP/1.1 "), "{gone}");
    bed.allow("id");
    until(|| bed.curl("/me/", &["--cacert", root]), "Radicale");
}

/// Asks until the answer has this in it.
#[track_caller]
fn until(ask: impl Fn() -> String, expected: &str) {
    let start = Instant::now();
    loop {
        let said = ask();
        if said.contains(expected) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "no {expected} in {said}");
        yield_now();
    }
}

/// A certificate by Debian's ACME client, proven over port 80.
fn order(bed: &Bed, pebble: &Pebble) {
    let folder = bed.path("dehydrated");
    fs::create_dir(&folder).unwrap();
    let at = folder.display();
    fs::write(
        folder.join("config"),
        // OpenSSL takes the certificate of the test's own authority for a self-signed one.
        format!(
            "CA=\"https://localhost:{}/dir\"\nBASEDIR={at}\nWELLKNOWN={}\nCURL_OPTS=\"--insecure\"\n\
             CHALLENGETYPE=http-01\nCONTACT_EMAIL=me@example.org\n",
            pebble.address().port(),
            bed.path("webroot").display(),
        ),
    )
    .unwrap();
    for arguments in [
        &["--register", "--accept-terms"][..],
        &["--cron", "--domain", HOSTNAME],
    ] {
        let output = Command::new(DEHYDRATED)
            .arg("--config")
            .arg(folder.join("config"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

/// The web server at home.
struct Nginx {
    running: Running,
    site: Site,
}

/// What it is told.
struct Site {
    tls: SocketAddr,
    plain: SocketAddr,
    folder: PathBuf,
    certificates: PathBuf,
    webroot: PathBuf,
    radicale: String,
}

impl Nginx {
    fn start(bed: &Bed, radicale: &Peer) -> Self {
        let site = Site {
            tls: pebble::free_port(),
            plain: pebble::free_port(),
            folder: bed.path("nginx"),
            certificates: bed.path("dehydrated").join("certs").join(HOSTNAME),
            webroot: bed.path("webroot"),
            radicale: radicale.url(),
        };
        for path in [&site.folder, &site.webroot] {
            fs::create_dir(path).unwrap();
        }
        site.configure(false);
        let mut command = Command::new(NGINX);
        command
            .args(["-e", "stderr", "-c"])
            .arg(site.folder.join("nginx.conf"));
        let running = Running::start(&mut command, &site.folder.join("log"));
        let start = Instant::now();
        while TcpStream::connect(site.plain).is_err() {
            assert!(start.elapsed() < PATIENCE, "nginx does not listen");
            yield_now();
        }
        Self { running, site }
    }

    /// Has it read its configuration again, with the certificate.
    fn serve_tls(&self) {
        self.site.configure(true);
        self.running.signal(Signal::HUP);
    }
}

impl Site {
    fn configure(&self, with_tls: bool) {
        let Self {
            tls,
            plain,
            folder,
            certificates,
            webroot,
            radicale,
        } = self;
        let (at, certificates, webroot) =
            (folder.display(), certificates.display(), webroot.display());
        let tls = if with_tls {
            format!(
                "server {{ listen {tls} ssl; ssl_certificate {certificates}/fullchain.pem;\n\
                 ssl_certificate_key {certificates}/privkey.pem;\n\
                 location / {{ proxy_pass {radicale}; proxy_set_header Host $http_host;\n\
                 proxy_set_header X-Forwarded-Proto https; }} }}\n"
            )
        } else {
            String::new()
        };
        let text = format!(
            "daemon off; user root; worker_processes 1; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p;\n\
             fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             server {{ listen {plain}; location /.well-known/acme-challenge/ {{ alias {webroot}/; }}\n\
             location / {{ return 200 \"in clear\"; }} }}\n{tls}}}\n"
        );
        fs::write(folder.join("nginx.conf"), text).unwrap();
    }
}
