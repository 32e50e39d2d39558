//! Writes the table of trust levels and attackers into docs/security.md.

use std::fs;

use anyhow::{Context, Result};
use cloudless_proto::trust;

use crate::workspace::Workspace;

const FILE: &str = "docs/security.md";

/// Replaces what stands between the two marks. A test of cloudless-proto fails while it differs.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let path = workspace.root.join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let (before, rest) = text
        .split_once(trust::TABLE_BEGIN)
        .with_context(|| format!("{FILE} has no `{}`", trust::TABLE_BEGIN))?;
    let (_, after) = rest
        .split_once(trust::TABLE_END)
        .with_context(|| format!("{FILE} has no `{}`", trust::TABLE_END))?;
    let (begin, end) = (trust::TABLE_BEGIN, trust::TABLE_END);
    let text = format!("{before}{begin}\n\n{}\n{end}{after}", trust::table());
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}
