//! Paths in unit files, which know quotes, escapes and specifiers (systemd.syntax(7)).

use std::path::Path;

use crate::exit::Usage;

/// A path that is a value of its own, to the end of its line.
pub(super) fn plain(path: &Path) -> Result<String, Usage> {
    Ok(text(path)?.replace('%', "%%"))
}

/// A path among others on a line.
pub(super) fn listed(path: &Path) -> Result<String, Usage> {
    let text = text(path)?;
    if text.contains(':') {
        return Err(unusable(path, "a colon"));
    }
    Ok(quoted(text))
}

/// A path as an argument of a command line.
pub(super) fn argument(path: &Path) -> Result<String, Usage> {
    Ok(quoted(text(path)?).replace('$', "$$"))
}

/// A path as the program of a command line.
pub(super) fn executable(path: &Path) -> Result<String, Usage> {
    let text = text(path)?;
    if text.contains('$') {
        return Err(unusable(path, "a dollar sign"));
    }
    Ok(quoted(text))
}

fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./@+:,~=%$".contains(c);
    let escaped = text.replace('%', "%%");
    if text.chars().all(is_plain) {
        return escaped;
    }
    let escaped = escaped.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

fn text(path: &Path) -> Result<&str, Usage> {
    match path.to_str() {
        Some(text) if text.chars().any(char::is_control) => {
            Err(unusable(path, "a control character"))
        }
        Some(text) if text.ends_with(' ') => Err(unusable(path, "a space at its end")),
        Some(text) => Ok(text),
        None => Err(unusable(path, "bytes that are no text")),
    }
}

fn unusable(path: &Path, what: &str) -> Usage {
    Usage(format!(
        "a unit of systemd cannot name {path:?}, which has {what}; move or rename it"
    ))
}
