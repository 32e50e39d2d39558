//! `cargo xtask tidy`: the rules of the architecture and of the style guide, executed.

mod code;
mod links;
mod sources;
mod walls;
mod words;

use std::fmt;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// One violation, in a form that editors can jump to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// 1-based.
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.path, self.line, self.rule, self.message
        )
    }
}

/// A place where a rule does not hold, and why that is right.
struct Exception {
    rule: &'static str,
    /// A file, or a folder with a trailing slash.
    path: &'static str,
    reason: &'static str,
}

/// Add to this list only with a reason that a stranger would accept.
const EXCEPTIONS: &[Exception] = &[Exception {
    rule: words::SPELLING,
    path: "crates/xtask/src/tidy/words.rs",
    reason: "the table names the spellings that it bans",
}];

/// Prints every finding and fails if there is one.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut findings = walls::check(&workspace.members, &workspace.graph);
    let files = workspace.files()?;
    let mut n_lines = 0;
    for path in files.iter().filter(|path| is_text(path)) {
        let text = fs::read_to_string(workspace.root.join(path))
            .with_context(|| format!("read {path} as UTF-8 text"))?;
        n_lines += text.lines().count();
        findings.extend(sources::check_layout(path, &text));
        findings.extend(words::check_spelling(path, &text));
        if path.ends_with(".rs") {
            findings.extend(sources::check(path, &text));
            findings.extend(words::check_names(path, &text));
            if let Some(notice) = sources::long_file_notice(path, &text) {
                println!("notice: {notice}");
            }
        }
        if path.ends_with(".md") {
            findings.extend(links::check(path, &text, |linked| {
                workspace.root.join(linked).exists()
            }));
        }
    }
    findings.sort();
    let findings = apply_exceptions(findings, EXCEPTIONS);
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy found {} violations", findings.len());
    }
    println!("tidy: {} files, {n_lines} lines, no violation", files.len());
    Ok(())
}

/// Test vectors and other data are taken as they are.
fn is_text(path: &str) -> bool {
    let is_code = [".md", ".rs", ".toml"]
        .iter()
        .any(|suffix| path.ends_with(suffix));
    (is_code || path == ".ci/run") && path != "Cargo.lock"
}

/// Drops excepted findings; an exception that excepts nothing is a finding itself.
fn apply_exceptions(findings: Vec<Finding>, exceptions: &[Exception]) -> Vec<Finding> {
    let covers = |exception: &Exception, finding: &Finding| {
        exception.rule == finding.rule
            && (exception.path == finding.path
                || exception.path.ends_with('/') && finding.path.starts_with(exception.path))
    };
    let unused = exceptions
        .iter()
        .filter(|it| !findings.iter().any(|finding| covers(it, finding)));
    let mut left: Vec<Finding> = unused
        .map(|it| Finding {
            path: "crates/xtask/src/tidy.rs".to_owned(),
            line: 1,
            rule: "unused-exception",
            message: format!(
                "{} breaks {} no more ({}); remove the exception",
                it.path, it.rule, it.reason
            ),
        })
        .collect();
    left.extend(
        findings
            .into_iter()
            .filter(|finding| !exceptions.iter().any(|it| covers(it, finding))),
    );
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(path: &str) -> Finding {
        Finding {
            path: path.to_owned(),
            line: 3,
            rule: "spawn",
            message: "no".to_owned(),
        }
    }

    const ONE: &[Exception] = &[Exception {
        rule: "spawn",
        path: "a/b.rs",
        reason: "owned",
    }];

    #[test]
    fn an_exception_covers_its_file_and_rule_only() {
        let left = apply_exceptions(vec![finding("a/b.rs"), finding("a/c.rs")], ONE);
        assert_eq!(left, [finding("a/c.rs")]);
    }

    #[test]
    fn an_exception_without_use_is_a_finding() {
        let left = apply_exceptions(Vec::new(), ONE);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].rule, "unused-exception");
    }

    #[test]
    fn a_finding_names_file_line_and_rule() {
        assert_eq!(finding("a/b.rs").to_string(), "a/b.rs:3: spawn: no");
    }
}
