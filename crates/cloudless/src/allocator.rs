//! The allocator of the C library: what it gets back is wiped first, and how much it may keep for
//! later.

use std::alloc::System;
use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use zeroizing_alloc::ZeroAlloc;

/// A password is in more places than those that know it for one: what HTTP, TLS and JSON are read from
/// and written to. All of these are freed, at the latest with their connection.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

/// glibc reads it when a program starts.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Two are as fast as the eight for each core that glibc would take, each of which keeps what one
/// large answer needed: home then holds a third less with 10,000 contacts, see docs/performance.md.
const ARENAS_MAX: &str = "2";

/// Starts this program anew, as the same process, with fewer arenas than glibc would take; returns
/// if it runs so already, or has another allocator, or cannot. Call it before anything is open.
///
/// Whoever sets `MALLOC_ARENA_MAX` decides instead.
pub(crate) fn limit_arenas() {
    if !cfg!(target_env = "gnu") || env::var_os(ARENAS).is_some() {
        return;
    }
    let Ok(program) = env::current_exe() else {
        return;
    };
    let mut arguments = env::args_os();
    let mut anew = Command::new(program);
    if let Some(name) = arguments.next() {
        anew.arg0(name);
    }
    let error = anew.args(arguments).env(ARENAS, ARENAS_MAX).exec();
    tracing::debug!(%error, "The allocator keeps its arenas");
}
