//! A relay that may open fewer files than its limits allow for.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::binary::on;
use crate::role::{LOG, Role};

const MAY_OPEN: &str = "1024";
/// Starts the binary with this hard limit.
const LIMITED: &str = r#"ulimit -n "$1" && shift && exec "$@""#;
const FEW: &str =
    "connections_per_source = 8\nhandshakes = 16\nhomes = 16\nvisitors = 64\nlegs = 16\n";

#[test]
fn a_relay_that_may_run_out_of_files_says_so_once_with_what_to_do() {
    for (limits, may_need) in [
        (
            "",
            Some(1024 + 2 * 16_384 + 1024 + 8192 * 3 / 2 + 2048 + 656),
        ),
        (FEW, None),
    ] {
        let directory = TempDir::new().unwrap();
        let state = directory.path();
        #[rustfmt::skip]
        on(state, &["relay", "init", "--address", "127.0.0.1", "--listen", "127.0.0.1:0", "--no-http"])
            .expect(0);
        let file = state.join("relay.toml");
        let text = fs::read_to_string(&file).unwrap();
        let changed = text.replacen("[limits]\n", &format!("[limits]\n{limits}"), 1);
        fs::write(&file, changed).unwrap();
        let mut command = Command::new("sh");
        let binary = env!("CARGO_BIN_EXE_cloudless");
        command.args(["-c", LIMITED, "sh", MAY_OPEN, binary]);
        command.env_remove("CLOUDLESS_LOG").env_remove("RUST_LOG");
        let (_relay, _) = Role::start_by(command, state, "relay");
        let log = fs::read_to_string(state.join(LOG)).unwrap();
        let lines: Vec<_> = log.lines().filter(|it| it.contains("open files")).collect();
        let Some(may_need) = may_need else {
            assert_eq!(lines, [""; 0]);
            continue;
        };
        let [line] = lines[..] else {
            panic!("{log}");
        };
        assert!(line.contains(" WARN "), "{line}");
        let numbers = format!("may_need={may_need} may_open={MAY_OPEN}");
        for said in [&numbers, "LimitNOFILE=", "`visitors` and `homes`"] {
            assert!(line.contains(said), "{said}: {line}");
        }
    }
}
