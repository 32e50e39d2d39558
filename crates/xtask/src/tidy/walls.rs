//! Crate walls: which crate may depend on which, and what must never be reachable from where.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::workspace::Member;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// What one crate of the workspace may depend on; dev-dependencies are exempt.
struct Wall {
    name: &'static str,
    /// Crates of the workspace that it may name.
    may: &'static [&'static str],
    /// Packages that must not be reachable from it, however far away.
    never: &'static [&'static str],
}

/// A core takes time, randomness and bytes as arguments.
const NEVER_IN_CORE: &[&str] = &[
    "axum",
    "h2",
    "hyper",
    "rusqlite",
    "rustls",
    "tokio",
    "tokio-util",
];

/// The architecture. A crate is a wall where dependencies change.
const WALLS: &[Wall] = &[
    Wall {
        name: "cloudless",
        may: &[
            "cloudless-dav-proto",
            "cloudless-home",
            "cloudless-proto",
            "cloudless-relay",
            "cloudless-store",
            "cloudless-vcard",
        ],
        never: &[],
    },
    Wall {
        name: "cloudless-carddav",
        may: &["cloudless-dav-proto", "cloudless-store", "cloudless-vcard"],
        never: &["rustls"],
    },
    Wall {
        name: "cloudless-dav-proto",
        may: &[],
        never: NEVER_IN_CORE,
    },
    Wall {
        name: "cloudless-home",
        may: &[
            "cloudless-carddav",
            "cloudless-http2",
            "cloudless-proto",
            "cloudless-splice",
            "cloudless-store",
            "cloudless-tls",
            "cloudless-vcard",
        ],
        never: &["cloudless-relay"],
    },
    Wall {
        name: "cloudless-http2",
        may: &["cloudless-splice"],
        never: &["h2", "hyper", "rusqlite", "rustls"],
    },
    Wall {
        name: "cloudless-proto",
        may: &[],
        never: NEVER_IN_CORE,
    },
    Wall {
        name: "cloudless-relay",
        may: &[
            "cloudless-http2",
            "cloudless-proto",
            "cloudless-splice",
            "cloudless-tls",
        ],
        never: &["cloudless-home", "h2", "hyper", "rusqlite"],
    },
    Wall {
        name: "cloudless-splice",
        may: &[],
        never: &["h2", "http", "hyper", "rustls"],
    },
    Wall {
        name: "cloudless-store",
        may: &[],
        never: &["axum", "http", "hyper", "quick-xml", "rustls", "tokio"],
    },
    Wall {
        name: "cloudless-testbed",
        may: &[],
        never: &["h2", "hyper", "rusqlite", "rustls"],
    },
    Wall {
        name: "cloudless-tls",
        may: &[],
        never: &["h2", "http", "hyper", "rusqlite"],
    },
    Wall {
        name: "cloudless-vcard",
        may: &[],
        never: NEVER_IN_CORE,
    },
    Wall {
        name: "xtask",
        may: &["cloudless-proto", "cloudless-testbed"],
        never: &["rusqlite"],
    },
];

/// Packages that only some crates may name, and why.
const RESERVED: &[(&str, &[&str], &str)] = &[
    (
        "anyhow",
        &["cloudless", "xtask"],
        "a library says in a type which step failed",
    ),
    (
        "calcard",
        &["cloudless-vcard"],
        "vCard conversion is its matter alone",
    ),
    (
        "clap",
        &["cloudless", "xtask"],
        "only the binary has a command line",
    ),
    (
        "rusqlite",
        &["cloudless-store"],
        "only the store speaks SQL",
    ),
    (
        "toml",
        &["cloudless", "cloudless-relay", "xtask"],
        "only the binary reads config files; the relay's own state is TOML too",
    ),
];

/// Checks every member of the workspace.
pub(crate) fn check(members: &[Member], graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names: BTreeSet<&str> = members.iter().map(|it| it.name.as_str()).collect();
    for member in members {
        findings.extend(check_manifest(member));
        findings.extend(check_reserved(member));
        let Some(wall) = WALLS.iter().find(|it| it.name == member.name) else {
            findings.push(finding(
                member,
                "crate-wall",
                &member.name,
                "this crate has no wall; say in crates/xtask/src/tidy/walls.rs what it may \
                 depend on, and in ARCHITECTURE.md what it is for"
                    .to_owned(),
            ));
            continue;
        };
        for dependency in member
            .dependencies
            .iter()
            .filter(|it| names.contains(it.as_str()))
        {
            if !wall.may.contains(&dependency.as_str()) {
                findings.push(finding(
                    member,
                    "crate-wall",
                    dependency,
                    format!(
                        "{} must not depend on {dependency}; pass what it needs as an argument \
                         or move the code to the crate that may",
                        member.name
                    ),
                ));
            }
        }
        for banned in wall.never {
            if let Some(path) = path_to(graph, &member.name, banned) {
                findings.push(finding(
                    member,
                    "crate-wall",
                    &path[1],
                    format!(
                        "{} must never reach {banned}, but does: {}; remove the first step",
                        member.name,
                        path.join(" → ")
                    ),
                ));
            }
        }
    }
    findings
}

fn check_manifest(member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    let expected = format!("crates/{}", member.name);
    if member.folder != expected {
        findings.push(finding(
            member,
            "crate-folder",
            "name",
            format!(
                "the crate {} lives in {}; move it to {expected}",
                member.name, member.folder
            ),
        ));
    }
    let manifest: toml::Table = member.manifest.parse().unwrap_or_default();
    let takes_lints = manifest
        .get("lints")
        .and_then(|it| it.get("workspace"))
        .and_then(toml::Value::as_bool)
        .unwrap_or(false);
    if !takes_lints {
        findings.push(finding(
            member,
            "crate-manifest",
            "[lints]",
            "the workspace's lints are not in force; add `[lints]` with `workspace = true`"
                .to_owned(),
        ));
    }
    if member
        .description
        .as_deref()
        .unwrap_or("")
        .trim()
        .is_empty()
    {
        findings.push(finding(
            member,
            "crate-manifest",
            "[package]",
            "the crate has no description; add one line that says what it is for".to_owned(),
        ));
    }
    findings
}

fn check_reserved(member: &Member) -> Vec<Finding> {
    RESERVED
        .iter()
        .filter(|(package, may, _)| {
            member.dependencies.contains(*package) && !may.contains(&member.name.as_str())
        })
        .map(|(package, may, reason)| {
            finding(
                member,
                "crate-reserved",
                package,
                format!(
                    "only {} may name {package}: {reason}; remove it",
                    may.join(", ")
                ),
            )
        })
        .collect()
}

/// A shortest chain of normal dependencies from one package to another.
fn path_to(graph: &Graph, from: &str, to: &str) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut level = vec![from];
    while !level.is_empty() {
        let mut next = Vec::new();
        for package in level {
            for reached in graph.get(package).into_iter().flatten().map(String::as_str) {
                if reached == from || came_from.contains_key(reached) {
                    continue;
                }
                came_from.insert(reached, package);
                next.push(reached);
            }
        }
        if came_from.contains_key(to) {
            let mut path = vec![to.to_owned()];
            let mut at = to;
            while let Some(&before) = came_from.get(at) {
                path.push(before.to_owned());
                at = before;
            }
            path.reverse();
            return Some(path);
        }
        level = next;
    }
    None
}

/// A finding at the line of the manifest that begins with `key`.
fn finding(member: &Member, rule: &'static str, key: &str, message: String) -> Finding {
    let is_key = |line: &str| {
        line.strip_prefix(key)
            .is_some_and(|rest| !rest.starts_with(|it: char| it.is_alphanumeric() || it == '-'))
    };
    Finding {
        path: format!("{}/Cargo.toml", member.folder),
        line: member
            .manifest
            .lines()
            .position(is_key)
            .map_or(1, |it| it + 1),
        rule,
        message,
    }
}

#[cfg(test)]
mod tests;
