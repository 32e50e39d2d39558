//! Links and file names in Markdown lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::Finding;

/// Folders whose files are named in code spans as `folder/…`.
const ROOTS: &[&str] = &[".ci/", ".config/", "crates/", "docs/"];

/// Checks one Markdown file. `exists` answers for a path relative to the root.
pub(crate) fn check(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_fence = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        let mut report = |name: &str, advice: &str| {
            findings.push(Finding {
                path: path.to_owned(),
                line: index + 1,
                rule: "link",
                message: format!("`{name}` {advice}"),
            });
        };
        for target in link_targets(line) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains(':') {
                continue;
            }
            match resolve(path, file) {
                None => report(target, "leads out of the project; say it in words"),
                Some(it) if !exists(&it) => {
                    report(target, "leads nowhere; correct the link or add the file");
                }
                Some(_) => {}
            }
        }
        for span in line.split('`').skip(1).step_by(2) {
            if is_project_path(span) && !exists(span.trim_end_matches('/')) {
                report(span, "does not exist; correct the name or add the file");
            }
        }
    }
    findings
}

/// Targets of `[text](target)` and of `[label]: target`.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    let inline = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next())
        .filter(|it| !it.is_empty());
    let definition = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .and_then(|(_, target)| target.split_whitespace().next());
    inline
        .chain(definition)
        .map(|it| it.trim_matches(['<', '>']))
}

fn is_project_path(span: &str) -> bool {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "./_-".contains(it);
    ROOTS.iter().any(|root| span.starts_with(root)) && span.chars().all(is_plain)
}

/// A link of the file `from`, relative to the root; `None` if it leads out.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut resolved = Path::new(from)
        .parent()
        .unwrap_or_else(|| Path::new(""))
        .to_path_buf();
    if link.starts_with('/') {
        return None;
    }
    for component in Path::new(link).components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir if resolved == PathBuf::new() => return None,
            Component::ParentDir => {
                resolved.pop();
            }
            _ => {}
        }
    }
    Some(resolved.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    const FILES: &[&str] = &["README.md", "docs/cli.md", "crates/xtask", "docs"];

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(path, text, |it| FILES.contains(&it))
            .into_iter()
            .map(|it| it.line)
            .collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_clean() {
        assert_eq!(
            lines("README.md", "[a](docs/cli.md) [b](#c) [d](docs/cli.md#e)\n"),
            NONE
        );
        assert_eq!(
            lines("docs/cli.md", "[a](../README.md)\n[b]: cli.md\n"),
            NONE
        );
        assert_eq!(
            lines("README.md", "[a](https://example.org/x) <mailto:a@b>\n"),
            NONE
        );
        assert_eq!(lines("README.md", "```\n[a](nowhere.md)\n```\n"), NONE);
    }

    #[test]
    fn dead_links_are_found() {
        assert_eq!(lines("README.md", "a\n[a](nowhere.md)\n"), [2]);
        assert_eq!(
            lines("docs/cli.md", "[a](docs/cli.md)\n[b]: nowhere.md\n"),
            [1, 2]
        );
    }

    #[test]
    fn links_stay_inside() {
        assert_eq!(lines("README.md", "[a](../x.md) [b](/x.md)\n"), [1, 1]);
    }

    #[test]
    fn named_files_exist() {
        assert_eq!(
            lines(
                "README.md",
                "`crates/xtask/` and `docs/cli.md`, `docs/*.md`\n"
            ),
            NONE
        );
        assert_eq!(lines("README.md", "a\n\n`docs/nowhere.md`\n"), [3]);
    }
}
