//! A point-to-point link whose packets pass through user space.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::line::{Conditions, Line};
use crate::namespace::Namespace;

const MTU: u16 = 1500;
/// Packets read from one end before the other end has its turn.
const BURST: usize = 64;

/// Joins two namespaces by a TUN device in each, and a thread between them that delays, drops and
/// reorders packets as the [`Conditions`] say. Its links are down and without addresses. It passes
/// more than 100 MB/s, at some cost of CPU time. Ends when dropped.
#[derive(Debug)]
pub struct Link {
    conditions: Arc<Mutex<[Conditions; 2]>>,
    /// Closing it ends the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Lays it, with these conditions in each direction. The seed decides which packets are lost.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn new(
        one: (&Namespace, &str),
        other: (&Namespace, &str),
        conditions: Conditions,
        seed: u64,
    ) -> Self {
        let devices = [device(one), device(other)];
        let conditions = Arc::new(Mutex::new([conditions; 2]));
        let (stop, stopped) = UnixStream::pair().expect("a pair of sockets");
        // The second direction must not lose the same packets as the first.
        let lines = [Line::new(seed), Line::new(seed ^ 1 << 32)];
        let thread = std::thread::spawn({
            let conditions = Arc::clone(&conditions);
            move || carry(&devices, lines, &conditions, &stopped)
        });
        Self {
            conditions,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Changes the conditions of both directions at once.
    pub fn set(&self, conditions: Conditions) {
        self.set_each(conditions, conditions);
    }

    /// Changes the conditions from the first namespace to the second, and back.
    pub fn set_each(&self, there: Conditions, back: Conditions) {
        *self
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = [there, back];
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the link carries packets until it is dropped");
            }
        }
    }
}

fn device((namespace, name): (&Namespace, &str)) -> SyncDevice {
    let device = namespace.enter(|| {
        let device = DeviceBuilder::new().name(name).mtu(MTU).build_sync()?;
        device.set_nonblocking(true)?;
        io::Result::Ok(device)
    });
    let device = device.unwrap_or_else(|error| panic!("TUN device {name}: {error}"));
    namespace.ip(&["link", "set", name, "txqueuelen", "2000"]);
    device
}

/// Carries packets both ways until `stopped` ends.
fn carry(
    devices: &[SyncDevice; 2],
    mut lines: [Line; 2],
    conditions: &Mutex<[Conditions; 2]>,
    stopped: &UnixStream,
) {
    let mut buffer = [0; MTU as usize];
    loop {
        let next = lines.iter().filter_map(Line::next_arrival).min();
        let wait = next.map(|at| at.saturating_duration_since(Instant::now()));
        let mut files = [
            PollFd::new(&devices[0], PollFlags::IN),
            PollFd::new(&devices[1], PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        match poll(&mut files, wait.map(timespec).as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
        let [one, other, stopped] = files.map(|file| !file.revents().is_empty());
        if stopped {
            return;
        }
        let conditions = *conditions.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, is_ready) in [one, other].into_iter().enumerate() {
            for _ in 0..if is_ready { BURST } else { 0 } {
                let Ok(length) = devices[index].recv(&mut buffer) else {
                    break;
                };
                lines[index].send(Instant::now(), &conditions[index], &buffer[..length]);
            }
        }
        let now = Instant::now();
        for (index, line) in lines.iter_mut().enumerate() {
            while let Some(packet) = line.receive(now) {
                // A device that is down loses packets, like any other.
                let _ = devices[1 - index].send(&packet);
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
