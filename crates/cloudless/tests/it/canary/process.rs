//! What a process holds: its memory, a core of it, and its files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::scanner::{Finding, Scanner};

/// A process that stands still while it is looked at.
pub(super) struct Paused(u32);

impl Paused {
    pub(super) fn new(pid: u32) -> Self {
        send(pid, Signal::STOP);
        Self(pid)
    }

    /// What is in its memory, all of it that can be read.
    pub(super) fn memory(&self, scanner: &Scanner) -> BTreeSet<Finding> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.0)).unwrap();
        let memory = File::open(format!("/proc/{}/mem", self.0)).unwrap();
        let (mut findings, mut n_read) = (BTreeSet::new(), 0);
        let readable = maps.lines().filter(|line| line.contains(" r"));
        for line in readable.filter(|line| !line.contains("[v")) {
            let range = line.split(' ').next().and_then(|it| it.split_once('-'));
            let (start, end) = range.expect("a range of addresses");
            let address = |text| u64::from_str_radix(text, 16).unwrap();
            let bytes = read(&memory, address(start), address(end));
            n_read += bytes.len();
            findings.extend(scanner.find(&bytes));
        }
        assert!(n_read > 1 << 20, "{n_read} bytes are no program's memory");
        findings
    }

    /// What is in a core of it, as gdb writes one.
    pub(super) fn core(&self, scanner: &Scanner) -> BTreeSet<Finding> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("gcore");
        command.arg("-o").arg(folder.path().join("core"));
        let output = command.arg(self.0.to_string()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let core = folder.path().join(format!("core.{}", self.0));
        scanner.find(&fs::read(core).unwrap())
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        send(self.0, Signal::CONT);
    }
}

fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A range of a process's memory, up to the first part that has no page.
fn read(memory: &File, start: u64, end: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
    let mut length = 0;
    while length < bytes.len() {
        match memory.read_at(&mut bytes[length..], start + length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    bytes.truncate(length);
    bytes
}

/// What is in the files below a directory.
pub(super) fn files(directory: &Path, scanner: &Scanner) -> BTreeSet<Finding> {
    let mut findings = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            findings.extend(files(&path, scanner));
        } else if path.is_file() {
            findings.extend(scanner.find(&fs::read(&path).unwrap()));
        }
    }
    findings
}

/// Whether a program is installed.
pub(super) fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.arg("--version").status().is_ok()
}
