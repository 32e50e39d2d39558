//! What a running relay takes over from relay.toml, and what it says of the rest.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{on, until};
use crate::role::Role;

#[rustfmt::skip]
const INIT: [&str; 10] = ["relay", "init", "--address", "127.0.0.1", "--server-name", "relay.test",
    "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
/// In force is what the status tells of it.
const FALLBACK: &str = "# https = \"127.0.0.1:8443\"";
const OTHER_FALLBACK: &str = "https = \"127.0.0.1:9\"";

/// What a reload says of this file, and what the status says of it after that.
fn reload(state: &Path, file: &str) -> (String, Value) {
    fs::write(state.join("relay.toml"), file).unwrap();
    let said = on(state, &["relay", "reload"]).expect(0).stderr;
    let status = on(state, &["relay", "status", "--json"]).expect(0).json();
    (said, status)
}

#[test]
fn what_takes_a_restart_is_named_and_all_else_is_in_force() {
    let directory = TempDir::new().unwrap();
    let state = directory.path();
    on(state, &INIT).expect(0);
    let file = fs::read_to_string(state.join("relay.toml")).unwrap();
    let (_relay, _) = Role::start(state, "relay");
    for (setting, other, waiting) in [
        (
            "# metrics = ",
            "metrics = \"127.0.0.1:0\" # ",
            "`metrics` takes a restart",
        ),
        (
            "https = \"127.0.0.1:0\"",
            "https = \"[::1]:0\"",
            "`listen.https` takes a restart",
        ),
        (
            "http = \"127.0.0.1:0\"",
            "http = []",
            "`listen.http` takes a restart",
        ),
        (
            "ssh = []",
            "ssh = \"127.0.0.1:0\"",
            "`listen.ssh` takes a restart",
        ),
        (
            "sandbox = true",
            "sandbox = false",
            "`sandbox` takes a restart",
        ),
        (
            "# handshakes = 1024",
            "handshakes = 1025",
            "`limits.handshakes` above 1024 takes a restart for tunnels from where no home has come",
        ),
        (
            "# visitors = 8192",
            "visitors = 8193",
            "`limits.visitors` above 8192 takes a restart for visitors of web servers beside the relay",
        ),
    ] {
        let changed = file.replacen(setting, other, 1);
        assert_ne!(changed, file, "{setting}");
        let (said, status) = reload(state, &changed);
        assert_eq!(said.matches("except: ").count(), 1, "{said}");
        assert!(said.contains(&format!("except: {waiting}\n")), "{said}");
        assert_eq!(status["reload"]["waiting"], serde_json::json!([waiting]));
    }
    // Limits that are lowered, and what is read anew for each connection, count at once.
    for (setting, other) in [
        ("# handshakes = 1024", "handshakes = 512"),
        ("# visitors = 8192", "visitors = 4096"),
        ("hold = \"5s\"", "hold = \"1s\""),
        ("legs = true", "legs = false"),
        (FALLBACK, OTHER_FALLBACK),
    ] {
        let changed = file.replacen(setting, other, 1);
        assert_ne!(changed, file, "{setting}");
        let (said, status) = reload(state, &changed);
        assert!(said.contains("is in force"), "{said}");
        assert!(!said.contains("except: "), "{said}");
        assert_eq!(status["reload"]["waiting"], serde_json::json!([]));
    }
    until(state, "relay", |status| {
        status["servers"][0]["address"] == "127.0.0.1:9"
    });
}
