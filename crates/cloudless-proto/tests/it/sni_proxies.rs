//! The reader against the SNI proxies that others run: nginx with `ssl_preread`, and HAProxy.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use cloudless_proto::client_hello::{Parsed, Reader};
use tempfile::TempDir;

use crate::{corpus, corpus::Capture, pieces::reframe};

const NGINX: &str = "/usr/sbin/nginx";
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
const HAPROXY: &str = "/usr/sbin/haproxy";
/// Far beyond what a proxy takes for a connection.
const PATIENCE: Duration = Duration::from_secs(60);
/// From the type of the server name extension to its name: five lengths and types.
const BEFORE_NAME: usize = 9;

/// A running proxy, which says the name that it would route by.
struct Proxy {
    process: Child,
    socket: PathBuf,
    /// Where it writes the name once a connection is over, unless it answers with it.
    log: Option<Receiver<String>>,
    _directory: TempDir,
}

impl Proxy {
    /// `None`, with a loud line, when nginx or its module is missing.
    fn nginx() -> Option<Self> {
        let is_there = Path::new(NGINX).exists() && Path::new(NGINX_STREAM).exists();
        if !is_there {
            say_missing("nginx with libnginx-mod-stream");
            return None;
        }
        let directory = TempDir::new().unwrap();
        let at = directory.path().display();
        let configuration = format!(
            "load_module {NGINX_STREAM};\n\
             daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log stderr crit;\n\
             events {{}}\n\
             stream {{ server {{ listen unix:{at}/socket; ssl_preread on; \
             return $ssl_preread_server_name; }} }}\n"
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut command = Command::new(NGINX);
        command.arg("-e").arg("stderr").arg("-c").arg(file);
        Some(Self::start(command, directory, false))
    }

    /// `None`, with a loud line, when HAProxy is missing.
    fn haproxy() -> Option<Self> {
        if !Path::new(HAPROXY).exists() {
            say_missing("haproxy");
            return None;
        }
        let directory = TempDir::new().unwrap();
        let at = directory.path().display();
        // One thread: of two that log at once, one drops its line.
        let configuration = format!(
            "global\n nbthread 1\n log stdout format raw local0 info\n\
             defaults\n mode tcp\n timeout client 60s\n timeout connect 60s\n timeout server 60s\n\
             frontend sni\n bind unix@{at}/socket\n log global\n\
             \x20log-format \"%[capture.req.hdr(0)]\"\n\
             \x20tcp-request inspect-delay 60s\n\
             \x20tcp-request content capture req.ssl_sni len 300 if {{ req.ssl_hello_type 1 }}\n\
             \x20tcp-request content reject\n"
        );
        let file = directory.path().join("haproxy.cfg");
        std::fs::write(&file, configuration).unwrap();
        let mut command = Command::new(HAPROXY);
        command.arg("-db").arg("-f").arg(file);
        Some(Self::start(command, directory, true))
    }

    fn start(mut command: Command, directory: TempDir, logs_names: bool) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        let log = logs_names.then(|| {
            let (sender, receiver) = channel();
            // Ends with the process.
            thread::spawn(move || {
                for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                    let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                }
            });
            receiver
        });
        Self {
            process,
            socket: directory.path().join("socket"),
            log,
            _directory: directory,
        }
    }

    /// Waits until it listens.
    fn connect(&mut self) -> UnixStream {
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(connection) => return connection,
                Err(_) => thread::yield_now(),
            }
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "the proxy ended: {ended:?}");
        }
    }

    fn logged(&self) -> Option<String> {
        let log = self.log.as_ref()?;
        let line = log.recv_timeout(PATIENCE).expect("a line for a connection");
        Some(line)
    }

    /// The name that it would route these bytes by.
    fn read(&mut self, stream: &[u8]) -> Option<String> {
        let mut connection = self.connect();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may have made up its mind, and closed, before the end.
        let _ = connection.write_all(stream);
        let _ = connection.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        match connection.read_to_end(&mut answer) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => {}
        }
        let name = match self.logged() {
            Some(line) => line,
            None => String::from_utf8_lossy(&answer).into_owned(),
        };
        (!name.is_empty() && name != "-").then(|| name.to_ascii_lowercase())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn say_missing(program: &str) {
    let message = format!("MISSING: {program}, so its reading of ClientHellos is not compared");
    assert!(env::var_os("CI").is_none(), "{message}");
    io::stderr()
        .write_all(format!("{message}\n").as_bytes())
        .unwrap();
}

/// The name in the spelling that all are compared in.
fn spelled(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Compares, and says whether both found the name.
fn compare(what: &str, stream: &[u8], proxy: &mut Proxy) -> bool {
    let parsed = Reader::new().push(stream);
    let theirs = proxy.read(stream);
    let theirs = theirs.as_deref().map(spelled);
    match (&parsed, theirs) {
        (Parsed::Name(ours, _), Some(theirs)) => {
            assert_eq!(ours.as_str(), theirs, "{what}");
            return true;
        }
        // What is wrong elsewhere in the hello, or in the name, they pass over. It reaches no home.
        (Parsed::Malformed(_), _) => {}
        (_, Some(theirs)) => panic!("{what}: {parsed:?}, but a name for them: {theirs:?}"),
        (Parsed::Name(..), None) => panic!("{what}: no name for them"),
        (_, None) => {}
    }
    false
}

/// Every capture, and the same with one byte changed in and around its server name, and here and
/// there in the rest.
fn damaged(capture: &Capture) -> Vec<(String, Vec<u8>)> {
    let mut streams = vec![(capture.file_name.clone(), capture.bytes.clone())];
    let name_at = capture.name_at();
    let around = name_at - BEFORE_NAME..name_at + corpus::HOSTNAME.len() + 4;
    let rest = (0..capture.bytes.len()).step_by(41);
    for at in around.chain(rest) {
        let byte = capture.bytes[at];
        for value in [0, byte.wrapping_add(1), byte ^ 0x20, 0xff] {
            let mut bytes = capture.bytes.clone();
            bytes[at] = value;
            streams.push((format!("{} {at}: {value}", capture.file_name), bytes));
        }
    }
    streams
}

#[test]
fn nginx_reads_the_same_name_however_the_hello_is_cut() {
    let Some(mut nginx) = Proxy::nginx() else {
        return;
    };
    for capture in corpus::hellos() {
        for record_len in [3, 64, capture.name_at()] {
            let stream = reframe(&capture.bytes, std::iter::repeat(record_len));
            assert!(
                compare(&capture.file_name, &stream, &mut nginx),
                "{} in records of {record_len}",
                capture.file_name
            );
        }
    }
    for capture in corpus::hellos_without_name() {
        assert!(!compare(&capture.file_name, &capture.bytes, &mut nginx));
    }
}

#[test]
fn nginx_reads_no_other_name_in_a_damaged_hello() {
    let Some(mut nginx) = Proxy::nginx() else {
        return;
    };
    for capture in corpus::hellos() {
        let mut n_same = 0;
        for (what, stream) in damaged(capture) {
            n_same += usize::from(compare(&what, &stream, &mut nginx));
        }
        assert!(n_same > 50, "{}: {n_same} the same", capture.file_name);
    }
}

/// Only hellos in one record: HAProxy reads on over the header of a second one as if it belonged to
/// the hello, and finds no name, or one with that header inside.
#[test]
fn haproxy_reads_no_other_name_in_a_hello_whole_or_damaged() {
    let Some(mut haproxy) = Proxy::haproxy() else {
        return;
    };
    for capture in corpus::hellos() {
        assert!(
            compare(&capture.file_name, &capture.bytes, &mut haproxy),
            "{}",
            capture.file_name
        );
        let mut n_same = 0;
        for (what, stream) in damaged(capture) {
            n_same += usize::from(compare(&what, &stream, &mut haproxy));
        }
        assert!(n_same > 50, "{}: {n_same} the same", capture.file_name);
    }
    for capture in corpus::hellos_without_name() {
        assert!(!compare(&capture.file_name, &capture.bytes, &mut haproxy));
    }
}
