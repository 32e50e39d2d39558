//! `[[upstream]]` changes in a home that runs, and nothing that is under way is dropped.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::Curl;
use crate::binary::{on, until};
use crate::pair::{HOSTNAME, Pair};

/// A server that says its name, once it has been asked and let go on.
fn start(name: &'static str, held: bool) -> (SocketAddr, SyncSender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, go_on) = sync_channel(1);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            if lines.take_while(|line| !line.is_empty()).count() == 0 {
                continue;
            }
            if held && go_on.recv().is_err() {
                return;
            }
            let length = name.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{name}"
            );
        }
    });
    (address, sender)
}

fn table(path: &str, server: SocketAddr) -> String {
    format!("[[upstream]]\npath = \"{path}\"\nserver = \"http://{server}\"\n")
}

fn get(pair: &Pair, path: &str) -> (u16, String) {
    let answer = Curl::new(pair, "GET").ask(path);
    let body = answer.text.rsplit("\r\n\r\n").next().unwrap_or_default();
    (answer.status, body.to_owned())
}

#[test]
fn servers_come_and_go_while_home_runs() {
    let (kept, _) = start("kept", false);
    let (gone, go_on) = start("gone", true);
    let (new, _) = start("new", false);
    let tables = table("/kept/", kept) + &table("/gone/", gone);
    let pair = Pair::start_configured(HOSTNAME, &tables);
    let home = pair.folder("home");
    let file = home.join("home.toml");
    let before = fs::read_to_string(&file).unwrap();
    assert_eq!(get(&pair, "/kept/"), (200, "kept".to_owned()));
    let pid = pair.home_pid();

    // A request is under way while its server is taken away.
    let under_way = Command::new("curl")
        .args(["--silent", "--ipv4", "--max-time", "120", "--cacert"])
        .arg(pair.ca_file())
        .arg(format!("https://{HOSTNAME}:{}/gone/", pair.relay_port()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until(&home, "home", |status| {
        let mut servers = status["upstreams"].as_array().unwrap().iter();
        servers.any(|it| it["path"] == "/gone/" && it["requests_now"] == 1)
    });
    let changed = before.replace(&table("/gone/", gone), &table("/new/", new));
    assert_ne!(changed, before);
    fs::write(&file, format!("{changed}[push]\nenabled = false\n")).unwrap();
    let said = on(&home, &["home", "reload"]).expect(0).stderr;
    assert!(said.contains("except: `push` takes a restart"), "{said}");
    assert_eq!(get(&pair, "/new/"), (200, "new".to_owned()));
    assert_eq!(get(&pair, "/gone/").0, 401, "home's own answer");
    assert_eq!(get(&pair, "/kept/"), (200, "kept".to_owned()));
    go_on.send(()).unwrap();
    assert_eq!(under_way.wait_with_output().unwrap().stdout, b"gone");
    let status = on(&home, &["home", "status", "--json"]).expect(0).json();
    // It is the same server, and counts on.
    assert_eq!(status["upstreams"][0]["requests_total"], 2, "{status}");
    assert_eq!(status["relays"][0]["state"], "connected");

    // A file that cannot be used changes nothing.
    let good = fs::read_to_string(&file).unwrap();
    for bad in ["[[upstream]]\npath = \"nonsense\"\n", "[[upstream"] {
        fs::write(&file, format!("{good}{bad}")).unwrap();
        let refused = on(&home, &["home", "reload"]).expect(1);
        assert!(refused.stderr.contains("home.toml"), "{refused:?}");
        assert_eq!(get(&pair, "/new/"), (200, "new".to_owned()));
        let status = on(&home, &["home", "status"]).expect(0).stdout;
        assert!(status.contains("home.toml was refused"), "{status}");
    }

    // By a signal, too.
    fs::write(&file, before).unwrap();
    let home_process = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(home_process, Signal::HUP).unwrap();
    until(&home, "home", |status| {
        let reload = &status["reload"];
        reload.is_object()
            && reload["refused"].is_null()
            && reload["waiting"] == serde_json::json!([])
    });
    go_on.send(()).unwrap();
    assert_eq!(get(&pair, "/gone/"), (200, "gone".to_owned()));
    assert_eq!(pair.home_pid(), pid);
}
