//! A relay that is started anew on sockets that systemd keeps: SIGTERM, a drain, and the next
//! process.

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use cloudless_testbed::{Bed, Family, RELAY};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use crate::corpus::missing;
use crate::network::machines::Machines;
use crate::network::outages::{SECOND, within};
use crate::role::Role;

/// Starts the relay again whenever it ends; its process number is in the file that comes first.
pub(crate) const AGAIN: &str =
    r#"while :; do sh -c 'echo $$ >"$0"; LISTEN_PID=$$ exec "$@"' "$@"; done"#;
/// How long the relay holds a visitor whose home is away.
pub(crate) const HOLD: Duration = Duration::from_secs(5);
const ROUNDS: usize = 2;

#[test]
fn a_restart_of_the_relay_loses_no_visitor_over_ipv4() {
    a_restart_of_the_relay_loses_no_visitor(Family::V4);
}

#[test]
fn a_restart_of_the_relay_loses_no_visitor_over_ipv6() {
    a_restart_of_the_relay_loses_no_visitor(Family::V6);
}

fn a_restart_of_the_relay_loses_no_visitor(family: Family) {
    let tool = Command::new("systemd-socket-activate")
        .arg("--version")
        .output();
    if tool.is_err() {
        return missing("systemd-socket-activate, of Debian's systemd");
    }
    let address = SocketAddr::from((RELAY[family as usize], 443));
    let web_server = SocketAddr::from((RELAY[family as usize], 8443));
    let ip = address.ip().to_string();
    let init = ["--address", &ip];
    let mut pid_file = PathBuf::new();
    let start = |bed: &Bed, state: &Path| {
        pid_file = state.with_extension("pid");
        let file = state.join("relay.toml");
        let text = fs::read_to_string(&file).unwrap();
        let fallback = format!("[fallback]\nhttps = \"{web_server}\"");
        assert!(text.contains("[fallback]"));
        fs::write(&file, text.replace("[fallback]", &fallback)).unwrap();
        // The tool starts the relay when somebody comes.
        bed.relay.spawn(move || {
            while TcpStream::connect(address).is_err() {
                thread::yield_now();
            }
        });
        let mut command = bed.relay.command("systemd-socket-activate");
        command.args(["-l", &address.to_string(), "--fdname=https"]);
        command.args(["sh", "-c", AGAIN, "sh"]).arg(&pid_file);
        command.arg(env!("CARGO_BIN_EXE_cloudless"));
        Role::start_under(command, state, "relay").0
    };
    let Some(mut machines) = Machines::start_by(family, &init, |_| (), start) else {
        return;
    };
    let relay = Relay { pid_file };
    let (listening, listens) = sync_channel(1);
    let web = machines.bed.relay.spawn(move || {
        listening
            .send(TcpListener::bind(web_server).unwrap())
            .unwrap();
    });
    let web_listener = listens.recv().unwrap();
    web.join().unwrap();
    let prober = machines.prober().calm();
    for _ in 0..crate::rounds(ROUNDS) {
        // Whoever has asked for something, and keeps the connection for later.
        let _idle = Idle::new(&machines, address, &web_listener);
        let (before, told) = (relay.pid(), Instant::now());
        kill_process(before, Signal::TERM).unwrap();
        machines.await_relay();
        assert_ne!(relay.pid(), before);
        // Those that came while it was away are among them.
        let longest = prober.all_answered(3 * SECOND, told);
        within(
            HOLD,
            "relay restarted by SIGTERM, the longest try",
            family,
            longest,
        );
    }
}

/// Connections on which nothing moves, to home and to the web server beside the relay.
struct Idle {
    end: CancellationToken,
    phone: Option<thread::JoinHandle<()>>,
    _web_server: TcpStream,
}

impl Idle {
    /// Returns once home has answered, and the web server has heard.
    fn new(machines: &Machines, relay: SocketAddr, web_server: &TcpListener) -> Self {
        let end = CancellationToken::new();
        let (answered, answer) = sync_channel(1);
        let (client, told) = (machines.client(relay), end.clone());
        let phone = machines.bed.phone.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut home = client.connect().await.unwrap();
                home.get("none.vcf").await.unwrap();
                let mut web = tokio::net::TcpStream::connect(relay).await.unwrap();
                web.write_all(&client.named("www.example.test").hello())
                    .await
                    .unwrap();
                answered.send(()).unwrap();
                told.cancelled().await;
            });
        });
        answer.recv().unwrap();
        // The first ones are the relay's own looks.
        let heard = loop {
            let (mut stream, _) = web_server.accept().unwrap();
            if stream.read(&mut [0; 16]).is_ok_and(|n| n == 16) {
                break stream;
            }
        };
        Self {
            end,
            phone: Some(phone),
            _web_server: heard,
        }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(phone) = self.phone.take() {
            // What it panicked with is printed already.
            let _ = phone.join();
        }
    }
}

/// The process behind the sockets.
pub(crate) struct Relay {
    pub(crate) pid_file: PathBuf,
}

impl Relay {
    pub(crate) fn pid(&self) -> Pid {
        let text = fs::read_to_string(&self.pid_file).unwrap();
        Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }
}
