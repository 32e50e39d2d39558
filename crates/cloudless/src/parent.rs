//! A process that ends with the one that started it.

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Asks the kernel for a SIGTERM when the parent dies, however it dies. `parent` is the process
/// that is meant: when it is dead already, the signal would never come and this fails.
pub(crate) fn die_with(parent: u32) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))
        .context("cannot ask for a signal when the parent process ends")?;
    let parent = i32::try_from(parent).ok().and_then(Pid::from_raw);
    ensure!(
        getppid() == parent,
        "the process that started this one has ended"
    );
    Ok(())
}
