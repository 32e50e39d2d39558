//! Web servers that share an address with the relay, behind it or before it, configured as
//! `docs/port-443.md` says.

mod before;
mod behind;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::acme::pebble::identity;
use crate::pair::HOSTNAME;
use crate::{corpus, documented};

const PAGE: &str = "port-443.md";
/// Where visitors come from, which is none of the addresses that anything here listens at.
const VISITOR: &str = "127.0.0.3";
const SITE: &str = "www.example.org";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Apache,
    Haproxy,
    Nginx,
}

impl Program {
    fn path(self) -> &'static str {
        match self {
            Self::Apache => "/usr/sbin/apache2",
            Self::Haproxy => "/usr/sbin/haproxy",
            Self::Nginx => "/usr/sbin/nginx",
        }
    }

    /// Says loudly what is missing.
    fn is_there(self) -> bool {
        let is_there = Path::new(self.path()).exists();
        if !is_there {
            let path = self.path();
            corpus::missing(&format!(
                "{path}: run `cargo xtask test`, which installs it"
            ));
        }
        is_there
    }

    /// The language of its blocks in the page.
    fn language(self) -> &'static str {
        match self {
            Self::Apache => "apache",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// The web server of the page, which tells a visitor from where and how they came.
    fn site(self, folder: &Path, https: SocketAddr, http: SocketAddr) -> String {
        let heading = match self {
            Self::Apache => "### Apache behind the relay",
            Self::Haproxy => "### HAProxy behind the relay",
            Self::Nginx => "### nginx behind the relay",
        };
        let (cert, key) = identity(folder);
        let both = folder.join("both.pem");
        let text = [&cert, &key].map(|it| fs::read_to_string(it).unwrap());
        fs::write(&both, text.concat()).unwrap();
        let [cert, key, both] = [cert, key, both].map(|it| it.to_str().unwrap().to_owned());
        let (https, http) = (https.to_string(), http.to_string());
        let ports = [("127.0.0.1:8443", &*https), ("127.0.0.1:8080", &*http)];
        let files = [("/etc/ssl/www.pem", &*cert), ("/etc/ssl/www.key", &*key)];
        let own: Vec<_> = match self {
            Self::Apache => {
                let told =
                    "Header always set X-Seen \"expr=seen %{REMOTE_ADDR} %{REQUEST_SCHEME}\"";
                [&files[..], &[("DocumentRoot /var/www/html", told)]].concat()
            }
            Self::Haproxy => {
                let told = "http-request return status 200 content-type text/plain \
                            lf-string \"seen %[src] %[ssl_fc,iif(https,http)]\"";
                vec![
                    ("/etc/haproxy/www.pem", &*both),
                    ("default_backend www", told),
                ]
            }
            Self::Nginx => {
                let told = "location / { return 200 \"seen $remote_addr $scheme\"; }";
                [&files[..], &[("root /var/www/html;", told)]].concat()
            }
        };
        let text = documented::block(PAGE, heading, self.language());
        documented::here(text, &[&ports[..], &own].concat())
    }

    /// Runs it in the foreground, as one process, with what the page leaves to the system.
    fn command(self, folder: &Path, text: &str) -> Command {
        let at = folder.display();
        let modules = "/usr/lib/apache2/modules";
        let (before, arguments) = match self {
            Self::Apache => {
                let load =
                    |name: &&str| format!("LoadModule {name}_module {modules}/mod_{name}.so\n");
                let names = [
                    "mpm_event",
                    "authz_core",
                    "headers",
                    "proxy",
                    "proxy_http",
                    "remoteip",
                    "rewrite",
                    "ssl",
                ];
                let loads: String = names.iter().map(load).collect();
                let more = format!(
                    "ServerName localhost\nServerRoot {at}\nPidFile {at}/pid\nErrorLog /dev/stderr\n\
                     LogLevel crit\nUser www-data\nGroup www-data\nMutex posixsem\n"
                );
                (loads + &more, &["-X", "-f"][..])
            }
            Self::Haproxy => {
                let times = "timeout client 60s\ntimeout connect 60s\ntimeout server 60s\n";
                (
                    format!("global\nnbthread 1\ndefaults\n{times}"),
                    &["-db", "-f"][..],
                )
            }
            Self::Nginx => {
                let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
                let more = format!(
                    "load_module {module}; daemon off; master_process off; pid {at}/pid;\n\
                     error_log stderr crit; events {{}}\n"
                );
                (more, &["-e", "stderr", "-c"][..])
            }
        };
        let file = folder.join("configuration");
        fs::write(&file, format!("{before}{text}")).unwrap();
        let mut command = Command::new(self.path());
        command.args(arguments).arg(file);
        command
    }
}

/// nginx's `http`, with these servers.
fn nginx_http(folder: &Path, servers: &str) -> String {
    let at = folder.display();
    format!(
        "http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p;\n\
         fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n{servers}\n}}\n"
    )
}

/// A server behind home that answers each request with its head. It ends with the test's process.
fn start_echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let lines = lines.take_while(|line| !line.is_empty());
            let head: String = lines.map(|line| line + "\n").collect();
            let length = head.len();
            // Home looks from time to time whether it is there, and says nothing then.
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{head}"
            );
        }
    });
    address
}

/// home.toml's table for the echo.
fn echo_table(echo: SocketAddr) -> String {
    format!("[[upstream]]\npath = \"/echo/\"\nserver = \"http://{echo}\"\n")
}

/// What curl is answered, which comes from the visitor's address.
fn curl(to: SocketAddr, scheme: &str, name: &str, path: &str, arguments: &[&str]) -> Vec<u8> {
    let port = to.port();
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--include"])
        .args(["--interface", VISITOR])
        .args(["--resolve", &format!("{name}:{port}:{}", to.ip())])
        .args(arguments)
        .arg(format!("{scheme}://{name}:{port}{path}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// The web server answers a visitor whose address it knows.
fn assert_site_knows_the_visitor(to: SocketAddr, scheme: &str) {
    let answer = curl(to, scheme, SITE, "/", &["--insecure"]);
    let answer = String::from_utf8_lossy(&answer);
    let seen = format!("seen {VISITOR} {scheme}");
    assert!(answer.contains(&seen), "{answer}");
}

/// A server behind home is told the visitor's address.
fn assert_home_knows_the_visitor(to: SocketAddr, ca_file: &Path) {
    let trust = ["--cacert", ca_file.to_str().unwrap()];
    let answer = curl(to, "https", HOSTNAME, "/echo/", &trust);
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    let told = format!("\nx-forwarded-for: {VISITOR}\n");
    assert!(answer.contains(&told), "{answer}");
}
