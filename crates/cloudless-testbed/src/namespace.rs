//! One machine: a network namespace with a name.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tool::{self, ip};

/// Where iproute2 keeps the names.
const NAMES: &str = "/run/netns";
/// Where iproute2 looks for files that a namespace has instead of those in `/etc`.
const FILES: &str = "/etc/netns";
/// The beginning of every name, before the process number.
const PREFIX: &str = "cloudless-";

/// A network namespace with `lo` up and nothing else; removed when dropped. Processes that still
/// run in it keep it alive without its name, so end them first.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one; `role` stands in its name, for whoever looks with `ip netns`.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn new(role: &str) -> Self {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(remove_leftovers);
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{role}", std::process::id());
        ip(&["netns", "add", &name]);
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// The name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs `program` in here, with nothing on standard input. It becomes the
    /// program, so that signals sent to the child reach it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// Runs a program in here to its success.
    ///
    /// # Panics
    /// With what it said, when it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) {
        tool::run(self.command(program).args(arguments));
    }

    /// Runs `ip` on this namespace to its success.
    ///
    /// # Panics
    /// With what it said, when it fails.
    pub fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.name], arguments].concat());
    }

    /// Gives a link one more address (`203.0.113.1/24`), usable at once, and sets it up.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn add_address(&self, link: &str, address: &str) {
        let mut arguments = vec!["address", "add", address, "dev", link];
        if address.contains(':') {
            // Nobody else can have it, so nothing is to be detected.
            arguments.push("nodad");
        }
        self.ip(&arguments);
        self.ip(&["link", "set", link, "up"]);
    }

    /// Sends all that has no better route through this neighbor.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn add_default_route(&self, via: &str, link: &str) {
        let family = if via.contains(':') { "-6" } else { "-4" };
        self.ip(&[family, "route", "add", "default", "via", via, "dev", link]);
    }

    /// Sets a kernel parameter of the network, by its path below `/proc/sys/net`.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn set_parameter(&self, path: &str, value: &str) {
        let file = Path::new("/proc/sys/net").join(path);
        let written = self.enter(|| fs::write(&file, value));
        written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// Programs started in here from now on read this text instead of `/etc/resolv.conf`. Changed
    /// later it reaches running programs too.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn set_resolver(&self, text: &str) {
        let written = fs::create_dir_all(self.files())
            .and_then(|()| fs::write(self.files().join("resolv.conf"), text));
        written.unwrap_or_else(|error| panic!("{}: {error}", self.files().display()));
    }

    /// Does something in here on a thread of its own, and waits for it. Sockets stay where they
    /// were opened, so a listener that is returned goes on listening in here.
    ///
    /// # Panics
    /// When `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let joined = thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.move_in();
                    work()
                })
                .join()
        });
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Begins something in here on a thread of its own, such as a runtime.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = Self {
            name: self.name.clone(),
        };
        thread::spawn(move || {
            namespace.move_in();
            // The name belongs to whoever made it.
            std::mem::forget(namespace);
            work()
        })
    }

    /// Takes the calling thread into the namespace, for good.
    fn move_in(&self) {
        let path = Path::new(NAMES).join(&self.name);
        let moved = File::open(&path).and_then(|file| {
            let kind = Some(LinkNameSpaceType::Network);
            Ok(move_into_link_name_space(file.as_fd(), kind)?)
        });
        moved.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn files(&self) -> PathBuf {
        Path::new(FILES).join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn remove(name: &str) {
    // It may be gone already, and a panic on the way out would hide the first one.
    tool::succeeds("ip", &["netns", "delete", name]);
    let _ = fs::remove_dir_all(Path::new(FILES).join(name));
}

/// Removes what processes left that were killed.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(NAMES) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let maker = name
            .strip_prefix(PREFIX)
            .and_then(|it| it.split('-').next());
        if maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists()) {
            remove(name);
        }
    }
}
