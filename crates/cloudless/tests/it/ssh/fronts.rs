//! Proxies that own port 443 on the server: sniproxy, HAProxy and nginx, before sshd's port.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::corpus;
use crate::role::LOG;
use crate::ssh::home::Home;
use crate::ssh::sshd::{RECIPE, Sshd, free_address};
use crate::upstreams::peer::Peer;

const CARD: &[u8] = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:one\r\nFN:One\r\nEND:VCARD\r\n";

#[tokio::test]
async fn haproxy_tells_home_the_visitors_address() {
    let program = Path::new("/usr/sbin/haproxy");
    let config = |front: SocketAddr, forward: SocketAddr| {
        format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             frontend https\n  bind {front}\n  tcp-request inspect-delay 5s\n  \
             tcp-request content accept if {{ req_ssl_hello_type 1 }}\n  \
             use_backend contacts if {{ req_ssl_sni -i localhost }}\n\
             backend contacts\n  server home {forward} send-proxy-v2\n"
        )
    };
    let run = |config: &Path| {
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(config);
        command
    };
    pass_through(program, Some("v2"), config, run).await;
}

#[tokio::test]
async fn nginx_tells_home_the_visitors_address() {
    let program = Path::new("/usr/sbin/nginx");
    let config = |front: SocketAddr, forward: SocketAddr| {
        format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nmaster_process off;\n\
             error_log stderr;\npid /dev/null;\nevents {{}}\n\
             stream {{\n  map $ssl_preread_server_name $behind {{ localhost {forward}; }}\n  \
             server {{ listen {front}; ssl_preread on; proxy_protocol on; proxy_pass $behind; }}\n}}\n"
        )
    };
    let run = |config: &Path| {
        let mut command = Command::new(program);
        command
            .arg("-c")
            .arg(config)
            .arg("-p")
            .arg(config.parent().unwrap());
        command
    };
    pass_through(program, Some("v1"), config, run).await;
}

#[tokio::test]
async fn sniproxy_passes_visitors_on() {
    let program = Path::new("/usr/sbin/sniproxy");
    let config = |front: SocketAddr, forward: SocketAddr| {
        format!(
            "listener {front} {{\n  protocol tls\n  table contacts\n}}\n\
             table contacts {{\n  localhost {forward}\n}}\n"
        )
    };
    let run = |config: &Path| {
        let mut command = Command::new(program);
        command.arg("-f").arg("-c").arg(config);
        command
    };
    pass_through(program, None, config, run).await;
}

/// A card goes through the proxy and sshd to home and comes back, and home learns who brought it.
async fn pass_through(
    program: &Path,
    version: Option<&str>,
    config: impl Fn(SocketAddr, SocketAddr) -> String,
    run: impl Fn(&Path) -> Command,
) {
    if !program.exists() {
        return corpus::missing(&program.display().to_string());
    }
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let forward = free_address();
    let more = version
        .map(|it| format!("proxy_protocol = \"{it}\"\n"))
        .unwrap_or_default();
    let mut home = Home::set_up(&sshd, &forward.to_string(), &more);
    home.start_with(&[("CLOUDLESS_LOG", "debug")]);
    home.await_tunnel();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config");
    let front = Peer::start(|address| {
        std::fs::write(&file, config(address, forward)).unwrap();
        let mut command = run(&file);
        command.stderr(Stdio::null());
        command
    });

    let mut phone = home.phone(front.address()).connect().await.unwrap();
    assert!(
        phone
            .put("one.vcf", CARD)
            .await
            .unwrap()
            .status
            .is_success()
    );
    assert_eq!(phone.get("one.vcf").await.unwrap().body, CARD);

    if version.is_some() {
        let mut visitor = TcpStream::connect(front.address()).unwrap();
        let own = visitor.local_addr().unwrap().to_string();
        visitor
            .write_all(&home.phone(front.address()).hello())
            .unwrap();
        home.log_until(&own);
        // Who gets past the proxy does not say where it comes from, and is not served.
        let mut around = TcpStream::connect(forward).unwrap();
        around.write_all(&home.phone(forward).hello()).unwrap();
        let mut answer = Vec::new();
        let _ = around.read_to_end(&mut answer);
        assert_eq!(answer, b"");
        home.log_until("class=\"proxy_protocol_missing\"");
    }
}

impl Home {
    /// Waits until home has logged this.
    fn log_until(&self, words: &str) {
        let begun = Instant::now();
        loop {
            let log = std::fs::read_to_string(self.state().join(LOG)).unwrap();
            if log.contains(words) {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "not logged: {words}"
            );
        }
    }
}
