use super::*;

const NONE: [(usize, &str); 0] = [];

const PROTO: &str = "crates/cloudless-proto/src/hostname.rs";
const HOME: &str = "crates/cloudless-home/src/tunnel.rs";
const HOME_TEST: &str = "crates/cloudless-home/tests/it/tunnel.rs";

fn rules(path: &str, text: &str) -> Vec<(usize, &'static str)> {
    check(path, text)
        .into_iter()
        .map(|it| (it.line, it.rule))
        .collect()
}

#[test]
fn plain_code_is_clean() {
    let text = "//! tokio::spawn(todo!())\nlet a = \"#[ignore] env::var\";\ntasks.spawn(b);\n";
    assert_eq!(rules(HOME, text), NONE);
}

#[test]
fn cores_do_no_io() {
    let text = "let a = 1;\nlet now = std::time::Instant::now();\n";
    assert_eq!(rules(PROTO, text), [(2, "core-io")]);
    assert_eq!(rules(HOME, text), NONE);
    assert_eq!(rules(PROTO, "use std::net::IpAddr;\n"), NONE);
    assert_eq!(rules(PROTO, "use std::net::TcpStream;\n"), [(1, "core-io")]);
}

#[test]
fn only_the_binary_reads_the_environment() {
    let text = "let home = std::env::var(\"HOME\");\n";
    assert_eq!(rules(HOME, text), [(1, "environment")]);
    assert_eq!(rules("crates/cloudless/src/state.rs", text), NONE);
    assert_eq!(rules(HOME_TEST, text), NONE);
    assert_eq!(
        rules(HOME, "const VERSION: &str = env!(\"CARGO_PKG_VERSION\");\n"),
        NONE
    );
}

#[test]
fn no_test_is_ignored() {
    assert_eq!(
        rules(HOME_TEST, "#[test]\n#[ignore]\nfn a() {}\n"),
        [(2, "ignored-test")]
    );
    assert_eq!(
        rules(HOME_TEST, "#[ignore = \"slow\"]\n"),
        [(1, "ignored-test")]
    );
    assert_eq!(rules(HOME_TEST, "// #[ignore]\nfn a() {}\n"), NONE);
}

#[test]
fn tests_wait_for_events() {
    let inside = "fn a() { sleep(d) }\n#[cfg(test)]\nmod tests {\nfn b() { sleep(d) }\n}\n";
    assert_eq!(rules(HOME, inside), [(4, "sleep-in-test")]);
    assert_eq!(
        rules(HOME_TEST, "tokio::time::sleep(d).await;\n"),
        [(1, "sleep-in-test")]
    );
    assert_eq!(
        rules(
            HOME_TEST,
            "#[tokio::test(start_paused = true)]\nsleep(d).await;\n"
        ),
        NONE
    );
    assert_eq!(rules(HOME_TEST, "stream.read(b).await;\n"), NONE);
}

#[test]
fn tasks_have_owners() {
    assert_eq!(rules(HOME, "a();\ntokio::spawn(b);\n"), [(2, "spawn")]);
    assert_eq!(rules(HOME, "set.spawn(b);\nspawn_blocking(c);\n"), NONE);
    assert_eq!(rules(HOME_TEST, "tokio::spawn(b);\n"), NONE);
}

#[test]
fn nothing_is_left_to_do() {
    assert_eq!(rules(HOME, "fn a() { todo!() }\n"), [(1, "todo")]);
    assert_eq!(rules(HOME, "fn a() { unimplemented!() }\n"), [(1, "todo")]);
    assert_eq!(rules(HOME, "/// todo!()\nfn a() {}\n"), NONE);
}

#[test]
fn channels_are_bounded() {
    assert_eq!(
        rules(HOME, "let a = mpsc::unbounded_channel();\n"),
        [(1, "unbounded")]
    );
    assert_eq!(
        rules(HOME, "let a = mpsc::channel();\n"),
        [(1, "unbounded")]
    );
    assert_eq!(
        rules(
            HOME,
            "let a = mpsc::channel(8);\nlet b = sync_channel(8);\n"
        ),
        NONE
    );
}

#[test]
fn lints_are_switched_off_with_a_reason() {
    assert_eq!(
        rules(HOME, "a\n#[allow(dead_code)]\nb\n"),
        [(2, "lint-reason")]
    );
    assert_eq!(
        rules(HOME, "#![expect(\n  x,\n  y\n)]\n"),
        [(1, "lint-reason")]
    );
    assert_eq!(
        rules(HOME, "#[expect(\n  x,\n  reason = \"why\"\n)]\n"),
        NONE
    );
}

#[test]
fn only_carddav_maps_store_errors() {
    let text = "use http::StatusCode;\nfn a(error: StoreError) -> StatusCode {\n";
    assert_eq!(rules(HOME, text), [(2, "status-mapping")]);
    assert_eq!(rules("crates/cloudless-carddav/src/status.rs", text), NONE);
    assert_eq!(rules(HOME, "fn a(error: StoreError) {}\n"), NONE);
}

#[test]
fn file_names_say_something() {
    for path in [
        "crates/a/src/utils.rs",
        "crates/a/tests/it/helpers.rs",
        "crates/a/src/common/b.rs",
    ] {
        assert_eq!(rules(path, "fn a() {}\n"), [(1, "file-name")], "{path}");
    }
    assert_eq!(rules("crates/a/src/common_name.rs", "fn a() {}\n"), NONE);
}

#[test]
fn long_files_are_split() {
    let of = |n_lines: usize| "a\n".repeat(n_lines);
    assert_eq!(rules(HOME, &of(LINES_MAX)), NONE);
    assert_eq!(
        rules(HOME, &of(LINES_MAX + 1)),
        [(LINES_MAX + 1, "file-length")]
    );
    assert!(long_file_notice(HOME, &of(LINES_SOFT_MAX)).is_none());
    assert!(long_file_notice(HOME, &of(LINES_SOFT_MAX + 1)).is_some());
}

#[test]
fn layout_is_plain() {
    let lines = |text: &str| -> Vec<usize> {
        check_layout("a.md", text)
            .into_iter()
            .map(|it| it.line)
            .collect()
    };
    assert!(lines("a\n\nb\n").is_empty());
    assert_eq!(lines("a\n\tb\nc \nd\r\n"), [2, 3, 4]);
    assert_eq!(lines("a\nb"), [2]);
    assert_eq!(lines("a\n\n"), [2]);
}
