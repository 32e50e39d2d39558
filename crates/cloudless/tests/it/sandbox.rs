//! What the kernel says of running roles.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::pair::Pair;
use crate::role::Role;

#[test]
fn every_thread_of_both_roles_is_in_the_sandbox_unless_a_file_says_no() {
    let mut pair = Pair::start();
    let (relay, home) = (pair.folder("relay"), pair.folder("home"));
    pair.kill_home();
    pair.kill_relay();
    let (relay_role, _) = Role::start(&relay, "relay");
    let (mut home_role, _) = Role::start(&home, "home");
    assert_eq!(home_role.line()["tunnel"], "up");
    for role in [&relay_role, &home_role] {
        let threads = threads(role.pid());
        assert!(threads.len() > 1, "{threads:?}");
        for (no_new_privileges, seccomp) in threads {
            assert_eq!(no_new_privileges, "1");
            if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
                assert_eq!(seccomp, "2");
            }
        }
    }
    // Not even for who may command it does home write elsewhere.
    let outside = pair.folder("outside").join("copy.sqlite");
    let refused = ask(
        &home.join("home.sock"),
        &json!({ "command": "backup", "path": outside }),
    );
    assert!(refused.contains("error"), "{refused}");
    assert!(!outside.exists(), "{refused}");

    drop((relay_role, home_role));
    for (state, name) in [(&relay, "relay"), (&home, "home")] {
        refuse(state, name);
        let (role, _) = Role::start(state, name);
        let before = status(Path::new("/proc/self/status"));
        assert!(threads(role.pid()).into_iter().all(|it| it == before));
    }
}

/// What a role answers to a command.
fn ask(socket: &Path, command: &Value) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    writeln!(stream, "{command}").unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut said = lines.filter(|line| !line.is_empty());
    said.next().expect("an answer")
}

/// Turns the sandbox off in a role's file.
fn refuse(state: &Path, name: &str) {
    let path = state.join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("sandbox = true\n", "");
    fs::write(&path, format!("sandbox = false\n{text}")).unwrap();
}

/// What a process's threads have given up: new privileges, and the mode of seccomp.
fn threads(pid: u32) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .map(|task| status(&task.unwrap().path().join("status")))
        .collect()
}

fn status(path: &Path) -> (String, String) {
    let text = fs::read_to_string(path).unwrap();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .trim()
            .to_owned()
    };
    (value("NoNewPrivs:"), value("Seccomp:"))
}
