//! Faults that the kernel seems to make, at one exact system call, by strace.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::PoisonError;

use super::STORES;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process dies before the call.
    Kill,
    /// The disk fails once.
    Broken,
    /// The disk is full once.
    Full,
    /// The disk is full from there on.
    FullForGood,
    /// A quota is used up once.
    Quota,
    /// Nothing is written, and that is no error.
    Short,
    /// What was written cannot be read, once.
    Unreadable,
}

/// The calls by which the store and SQLite change files.
const WRITING: &[&str] = &[
    "pwrite64",
    "write",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "rename",
    "unlink",
    "mkdir",
    "openat",
    "fchmod",
    "link",
    "rmdir",
];
/// And those by which they read them.
const READING: &[&str] = &["pread64", "read"];

/// Files that are written, in the directory of the store.
const FILES: &[&str] = &[
    "",
    "/store.lock",
    "/store.generation",
    "/store.sqlite",
    "/store.sqlite-wal",
    "/store.sqlite-shm",
    "/store.sqlite-journal",
    "/store.sqlite.before-version-3",
    "/store.sqlite.before-version-3.partial",
    "/store.sqlite.before-version-3.partial-journal",
    "/store.sqlite.before-version-3.partial-wal",
    "/backup.sqlite",
    "/backup.sqlite.partial",
    "/backup.sqlite.partial-journal",
    "/backup.sqlite.partial-wal",
];

/// One fault: at the call of this name and number, counted by thread from 1.
#[derive(Clone, Debug)]
pub(crate) struct Injection {
    pub(crate) fault: Fault,
    pub(crate) call: String,
    pub(crate) number: usize,
}

/// Whether strace can be used here.
pub(crate) fn is_usable() -> bool {
    let probe = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "true"])
        .output();
    probe.is_ok_and(|output| output.status.success())
}

/// Runs the child to its end and counts the calls of each name: those of the thread with the most.
pub(crate) fn count(child: &Command, directory: &Path) -> (Output, BTreeMap<String, usize>) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let calls = [WRITING, READING].concat().join(",");
    let mut command = strace(directory, FILES);
    command
        .arg("-o")
        .arg(log.path())
        .args(["-e", &format!("trace={calls}")]);
    let output = run(command, child);
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in fs::read_to_string(log.path()).unwrap().lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        if let Some((name, _)) = call.trim_start().split_once('(') {
            *counts
                .entry((name.to_owned(), thread.to_owned()))
                .or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((name, _), count) in counts {
        let most: &mut usize = most.entry(name).or_default();
        *most = count.max(*most);
    }
    (output, most)
}

/// Runs the child and tells what it wrote before which acknowledgement: each line is a call and the
/// file, such as `fsync /store.sqlite-wal`, or `acknowledged`. The thread that called stands before.
pub(crate) fn order(child: &Command, directory: &Path) -> Vec<(String, String)> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "--seccomp-bpf", "-y", "-s", "4096", "-o"])
        .arg(log.path())
        .args(["-e", &format!("trace={}", WRITING.join(","))]);
    let output = run(command, child);
    assert!(output.status.success(), "{output:?}");
    let directory = directory.to_str().unwrap();
    let mut order = Vec::new();
    for line in fs::read_to_string(log.path()).unwrap().lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        let mut push = |step| order.push((thread.to_owned(), step));
        let Some((name, arguments)) = call.trim_start().split_once('(') else {
            continue;
        };
        if name == "write" && arguments.contains("acknowledged") {
            push("acknowledged".to_owned());
        } else if let Some((_, rest)) = arguments.split_once(directory) {
            let file = rest.split(['>', '"']).next().unwrap();
            push(format!("{name} {file}"));
        }
    }
    order
}

/// Runs the child with one fault at a file of the store.
pub(crate) fn inject(child: &Command, directory: &Path, injection: &Injection) -> Output {
    inject_at(child, directory, FILES, injection)
}

/// The same at some of its files only, named as in [`FILES`].
pub(crate) fn inject_at(
    child: &Command,
    directory: &Path,
    files: &[&str],
    injection: &Injection,
) -> Output {
    let Injection {
        fault,
        call,
        number,
    } = injection;
    let what = match fault {
        Fault::Kill => "signal=KILL",
        Fault::Broken | Fault::Unreadable => "error=EIO",
        Fault::Full | Fault::FullForGood => "error=ENOSPC",
        Fault::Quota => "error=EDQUOT",
        Fault::Short => "retval=0",
    };
    let onwards = if *fault == Fault::FullForGood {
        "+"
    } else {
        ""
    };
    let mut command = strace(directory, files);
    command
        .args(["-o", "/dev/null", "-e", &format!("trace={call}")])
        .args([
            "-e",
            &format!("inject={call}:{what}:when={number}{onwards}"),
        ]);
    run(command, child)
}

/// The faults that make sense at a call.
pub(crate) fn faults_of(call: &str) -> &'static [Fault] {
    match call {
        "pwrite64" => &[
            Fault::Kill,
            Fault::Broken,
            Fault::Full,
            Fault::FullForGood,
            Fault::Quota,
            Fault::Short,
        ],
        "openat" | "mkdir" | "ftruncate" | "fallocate" | "fsync" | "fdatasync" => {
            &[Fault::Kill, Fault::Broken, Fault::Full, Fault::Quota]
        }
        "pread64" | "read" => &[Fault::Unreadable],
        _ => &[Fault::Kill, Fault::Broken],
    }
}

pub(crate) fn was_killed(output: &Output) -> bool {
    // strace dies as its child did.
    output.status.signal() == Some(9)
}

fn strace(directory: &Path, files: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "--seccomp-bpf"]);
    for file in files {
        let mut path = directory.as_os_str().to_owned();
        path.push(file);
        command.arg("-P").arg(path);
    }
    command
}

fn run(mut strace: Command, child: &Command) -> Output {
    strace.arg(child.get_program()).args(child.get_args());
    for (name, value) in child.get_envs() {
        strace.env(name, value.unwrap_or_default());
    }
    strace.env_remove("RUST_BACKTRACE");
    strace.stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = {
        let _none_open = STORES.write().unwrap_or_else(PoisonError::into_inner);
        strace.spawn().unwrap()
    };
    started.wait_with_output().unwrap()
}
