//! The demo: a relay and a home on this machine, as two processes of this same program, and a
//! client that does what a phone does.
//!
//! `setup` makes both and starts them by the commands that a user would type, `phone` goes through
//! the relay, `at_home` past it, `witness` asks the relay what it saw, `story` tells all of it.

mod at_home;
mod client;
mod multistatus;
mod next;
mod phone;
mod role;
mod samples;
mod setup;
mod story;
mod witness;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::signals::Signals;
use crate::{state, terminal};
use setup::Running;
use story::Story;

/// The demo's hostname: `localhost` is the one name that resolves to this machine everywhere.
const HOSTNAME: &str = "localhost";

/// What the demo is asked for.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where the data stays. `None`: in a temporary directory, removed at the end.
    pub(crate) state: Option<PathBuf>,
    /// vCard files to import.
    pub(crate) import: Vec<PathBuf>,
    /// End after the check.
    pub(crate) once: bool,
    /// Print one line of JSON when everything is up.
    pub(crate) json: bool,
    /// The relay's port; free or as before if not given.
    pub(crate) port: Option<u16>,
    /// Home's loopback port; free or as before if not given.
    pub(crate) local_port: Option<u16>,
}

/// Runs the demo until it is stopped, or until its check is done. Call it on the main thread: the
/// processes that it starts end with the thread that started them.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<()> {
    // From here on Ctrl-C ends the demo in order.
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let (directory, _temporary) = directory(plan.state.as_deref())?;
    let story = Story::new(plan.json);
    let where_kept = if plan.state.is_some() {
        "stays there"
    } else {
        "removed at the end"
    };
    story.title(format_args!(
        "cloudless demo: a relay and a home on this machine, data in {} ({where_kept})",
        directory.display()
    ));

    story.heading("set up, by the commands that you would type on two machines");
    let mut running = tokio::select! {
        started = setup::start(&plan, &directory, &story) => started?,
        () = signals.next() => bail!("stopped before everything was up"),
    };
    let outcome = tokio::select! {
        outcome = show(&plan, &story, &mut running) => outcome,
        () = signals.next() => Ok(Outcome::Stopped),
    };
    running.stop().await;
    match outcome? {
        Outcome::Checked => {
            story.title("all of it worked");
            Ok(())
        }
        Outcome::Stopped if plan.once => bail!("stopped before the check was done"),
        Outcome::Stopped => {
            if plan.state.is_some() {
                story.title(format_args!(
                    "stopped; go on with: cloudless demo --state {}",
                    directory.display()
                ));
            } else {
                story.title("stopped, and its data is removed");
            }
            Ok(())
        }
    }
}

/// How the demo ends when nothing fails.
enum Outcome {
    /// The check is done and nothing else was asked for.
    Checked,
    /// Somebody stopped it.
    Stopped,
}

/// Does what a phone does, tells what the relay saw, and stays up unless that was all.
async fn show(plan: &Plan, story: &Story, running: &mut Running) -> anyhow::Result<Outcome> {
    let login = running.log_in(story).await?;
    if !plan.import.is_empty() {
        running.import(story, &plan.import).await?;
    }
    story.heading("what a phone does, through the relay");
    let changed = phone::sync(running, &login, story).await?;

    story.heading("what the relay saw of it");
    witness::tell(&running.relay_state, story).await?;

    if plan.json {
        terminal::json(&next::Output::of(running, &login))?;
    }
    if plan.once {
        return Ok(Outcome::Checked);
    }
    next::tell(running, &login, &changed, story)?;
    Err(running.ended().await)
}

/// The directory that was asked for, or a temporary one that lives as long as the second value.
fn directory(asked: Option<&Path>) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    if let Some(asked) = asked {
        state::create(asked)?;
        let path = asked
            .canonicalize()
            .with_context(|| format!("cannot use the directory {}", asked.display()))?;
        return Ok((path, None));
    }
    let temporary = tempfile::Builder::new()
        .prefix("cloudless-demo-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .context("cannot make a temporary directory; name one with --state DIR")?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}
