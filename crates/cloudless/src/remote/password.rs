//! The password for that server: from the environment, from a file, or asked.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use cloudless_proto::Redacted;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

const VARIABLE: &str = "CLOUDLESS_FROM_PASSWORD";
const LENGTH_MAX: usize = 4096;

/// Finds the password. It is never an argument: other users of this machine see these.
pub(crate) fn password(
    user: &str,
    host: &str,
    file: Option<&Path>,
) -> anyhow::Result<Redacted<String>> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        let text = Zeroizing::new(text);
        return some(text.lines().next().unwrap_or_default());
    }
    if let Some(value) = std::env::var_os(VARIABLE) {
        let text = value
            .to_str()
            .with_context(|| format!("{VARIABLE} is no text"))?;
        return some(text);
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        bail!(
            "there is no terminal to ask for the password of {user}; put it into the environment as \
             {VARIABLE}, or into a file that --from-password-file names"
        );
    }
    let before = tcgetattr(&stdin).context("cannot ask for a password")?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    let mut stderr = io::stderr();
    write!(stderr, "password of {user} at {host}: ").context("cannot ask for a password")?;
    stderr.flush().context("cannot ask for a password")?;
    tcsetattr(&stdin, OptionalActions::Flush, &quiet).context("cannot ask for a password")?;
    let mut line = Zeroizing::new(String::new());
    let read = stdin.lock().read_line(&mut line);
    // Whatever was typed, the terminal is as before.
    let restored = tcsetattr(&stdin, OptionalActions::Flush, &before);
    let _ = writeln!(stderr);
    read.context("cannot read the password")?;
    restored.context("cannot show again what is typed")?;
    some(line.trim_end_matches(['\r', '\n']))
}

fn some(text: &str) -> anyhow::Result<Redacted<String>> {
    if text.is_empty() || text.len() > LENGTH_MAX {
        bail!("the password is empty, or too long to be one");
    }
    Ok(Redacted::new(text.to_owned()))
}
