//! The scene is what it says: what passes passes, and what should not does not.

#![cfg(target_os = "linux")]
#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and one that cannot run says so"
)]

mod bed;
mod leftovers;

/// Whether the scene can be made; says loudly when not, and fails then in CI.
fn can_run() -> bool {
    let Some(what) = cloudless_testbed::missing() else {
        return true;
    };
    assert!(
        std::env::var_os("CI").is_none(),
        "missing on this machine: {what}"
    );
    eprintln!("NOT TESTED, missing on this machine: {what}");
    false
}
