//! Rules for source text, seen line by line with comments and literals blanked out.

use super::{Finding, code};

/// A file longer than this is split.
const LINES_MAX: usize = 600;
/// A file longer than this is named in a notice.
const LINES_SOFT_MAX: usize = 400;

/// Words that say nothing about what a file holds.
const EMPTY_FILE_NAMES: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "util", "utils",
];

const CORES: &[&str] = &[
    "crates/cloudless-dav-proto/",
    "crates/cloudless-proto/",
    "crates/cloudless-vcard/",
];

/// Which lines of a file a rule looks at.
#[derive(PartialEq, Eq)]
enum Part {
    Everywhere,
    Production,
    Tests,
}

/// A pattern that must not stand in code.
struct Ban {
    rule: &'static str,
    part: Part,
    patterns: &'static [&'static str],
    /// What to do.
    advice: &'static str,
    /// Whether the rule holds for this file at all.
    applies: fn(&str, &str) -> bool,
}

const BANS: &[Ban] = &[
    Ban {
        rule: "core-io",
        part: Part::Production,
        patterns: &[
            "Instant::now",
            "SystemTime::now",
            "getrandom::",
            "std::env",
            "std::fs",
            "std::net::Tcp",
            "std::net::Udp",
            "std::process",
            "std::thread",
        ],
        advice: "a core does no I/O; take time, randomness and bytes as arguments",
        applies: |path, _| CORES.iter().any(|it| path.starts_with(it)),
    },
    Ban {
        rule: "environment",
        part: Part::Production,
        patterns: &[
            "env::args",
            "env::current_dir",
            "env::home_dir",
            "env::temp_dir",
            "env::var",
            "env::vars",
        ],
        advice: "only the binary reads the environment; take the value as an argument",
        applies: |path, _| {
            !path.starts_with("crates/cloudless/") && !path.starts_with("crates/xtask/")
        },
    },
    Ban {
        rule: "ignored-test",
        part: Part::Everywhere,
        patterns: &["#[ignore", "should_panic"],
        advice: "make the test run everywhere and assert what should be, or delete it",
        applies: |_, _| true,
    },
    Ban {
        rule: "sleep-in-test",
        part: Part::Tests,
        patterns: &["sleep("],
        advice: "wait for the event itself (a line, a channel, a connection), with a deadline",
        // A paused clock does not sleep, it counts.
        applies: |_, text| !text.contains("start_paused"),
    },
    Ban {
        rule: "spawn",
        part: Part::Production,
        patterns: &["tokio::spawn(", "task::spawn("],
        advice: "spawn on a JoinSet or TaskTracker whose owner awaits it",
        applies: |_, _| true,
    },
    Ban {
        rule: "todo",
        part: Part::Everywhere,
        patterns: &["todo!", "unimplemented!"],
        advice: "write it, or return an error that says what is missing",
        applies: |_, _| true,
    },
    Ban {
        rule: "unbounded",
        part: Part::Everywhere,
        patterns: &["unbounded_channel", "mpsc::channel()"],
        advice: "use a bounded channel and say what happens when it is full",
        applies: |_, _| true,
    },
];

/// Checks one Rust file.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let masked = code::mask(text);
    let first_test_line = code::first_test_line(path, &masked).unwrap_or(usize::MAX);
    let mut findings = Vec::new();
    findings.extend(check_file_name(path));
    findings.extend(check_length(path, text));
    findings.extend(check_lint_reasons(path, &masked));
    findings.extend(check_status_mapping(path, &masked));
    for (index, line) in masked.lines().enumerate() {
        let line_number = index + 1;
        let part = if line_number < first_test_line {
            Part::Production
        } else {
            Part::Tests
        };
        for ban in BANS.iter().filter(|ban| (ban.applies)(path, &masked)) {
            if ban.part != Part::Everywhere && ban.part != part {
                continue;
            }
            if let Some(pattern) = ban.patterns.iter().find(|it| contains_word(line, it)) {
                let message = format!("`{pattern}` is banned here; {}", ban.advice);
                findings.push(finding(path, line_number, ban.rule, message));
            }
        }
    }
    findings
}

/// Checks white space of any text file.
pub(crate) fn check_layout(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |line: usize, message: &str| {
        findings.push(finding(path, line, "layout", message.to_owned()));
    };
    for (index, line) in text.split('\n').enumerate() {
        if line.contains('\t') {
            report(index + 1, "a tab; use spaces, and \\t inside a literal");
        }
        if line.ends_with([' ', '\r']) {
            report(index + 1, "blanks at the end of the line; remove them");
        }
    }
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        report(
            text.lines().count(),
            "end the file with exactly one line break",
        );
    }
    findings
}

/// A friendly word about a file that grows long.
pub(crate) fn long_file_notice(path: &str, text: &str) -> Option<String> {
    let n_lines = text.lines().count();
    (LINES_SOFT_MAX < n_lines && n_lines <= LINES_MAX)
        .then(|| format!("{path} has {n_lines} lines; above {LINES_MAX} it must be split"))
}

fn check_length(path: &str, text: &str) -> Option<Finding> {
    let n_lines = text.lines().count();
    (n_lines > LINES_MAX).then(|| {
        let message = format!("{n_lines} lines, more than {LINES_MAX}; split it, one noun a file");
        finding(path, n_lines, "file-length", message)
    })
}

fn check_file_name(path: &str) -> Option<Finding> {
    let empty = path
        .split('/')
        .map(|it| it.trim_end_matches(".rs"))
        .find(|it| EMPTY_FILE_NAMES.contains(it))?;
    let message = format!("`{empty}` says nothing; name the file after the noun that it holds");
    Some(finding(path, 1, "file-name", message))
}

/// `#[allow]` and `#[expect]` say why, also when they span lines.
fn check_lint_reasons(path: &str, masked: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for opening in ["[allow(", "[expect("] {
        for (at, _) in masked.match_indices(opening) {
            let end = masked[at..].find(")]").map_or(masked.len(), |it| at + it);
            if !masked[at..end].contains("reason =") {
                let line = masked[..at].lines().count().max(1);
                let message = "a lint is switched off without a reason; fix the code or add \
                               `reason = \"…\"`";
                findings.push(finding(path, line, "lint-reason", message.to_owned()));
            }
        }
    }
    findings
}

/// Only cloudless-carddav turns an error of the store into an HTTP status.
fn check_status_mapping(path: &str, masked: &str) -> Option<Finding> {
    if path.starts_with("crates/cloudless-carddav/") || !masked.contains("StatusCode") {
        return None;
    }
    let line = masked
        .lines()
        .position(|line| contains_word(line, "StoreError"))?;
    let message = "StoreError and StatusCode in one file; only cloudless-carddav maps errors of \
                   the store to an HTTP status";
    Some(finding(
        path,
        line + 1,
        "status-mapping",
        message.to_owned(),
    ))
}

/// Whether the pattern stands in the line and is not the tail of a longer name.
fn contains_word(line: &str, pattern: &str) -> bool {
    line.match_indices(pattern)
        .any(|(at, _)| !line[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_'))
}

fn finding(path: &str, line: usize, rule: &'static str, message: String) -> Finding {
    Finding {
        path: path.to_owned(),
        line,
        rule,
        message,
    }
}

#[cfg(test)]
mod tests;
