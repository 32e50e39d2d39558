//! Threads for what strangers can make the relay do.

mod rests;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tracing::instrument::WithSubscriber;

use rests::{Clocks, REST, Rests};

/// So much nicer than the relay's other threads, on the scale of nice(1): where the processor is wanted
/// for visitors, these get a ninth of what one of the others gets.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;

thread_local! {
    static RESTS: Cell<Rests> = const { Cell::new(Rests::new()) };
}

/// Threads beside those that serve the visitors of homes.
///
/// The system gives each thread its share of a processor. A thread that takes all of its own, as for the
/// handshakes of thousands of strangers, has to let others go first with whatever comes next: with all
/// visitors, if it is theirs too. And servers that share the processor get from these threads only as many
/// strangers as it has time for.
#[derive(Debug)]
pub(crate) struct Background {
    handle: Handle,
    /// Work has to wait where there is so much that much of it may have been given up already.
    room: Arc<Semaphore>,
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
}

impl Background {
    /// Starts as many threads as there are processors, for so many pieces of work at a time, those included
    /// that were given up and no thread has come to.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(crate) fn new(work_max: usize) -> io::Result<Self> {
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(n_threads)
            .thread_name("background")
            .on_thread_start(|| {
                be_nice();
                wake();
            })
            .on_thread_unpark(wake)
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            room: Arc::new(Semaphore::new(work_max.min(Semaphore::MAX_PERMITS))),
            runtime: Some(runtime),
        })
    }

    /// Does the work there, and soon none of it any more once this future is dropped. Sockets and timers
    /// that are made in it are served there too, and those that it brings where they were made.
    ///
    /// It is on the heap, since who waits for it would have room for it, too.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        mut work: Pin<Box<impl Future<Output = T> + Send + 'static>>,
    ) -> T {
        // The semaphore is never closed.
        let room = Arc::clone(&self.room).acquire_owned().await.ok();
        let work = poll_fn(move |cx| {
            let polled = work.as_mut().poll(cx);
            rest();
            polled
        });
        let work = async {
            // Whatever has been given up keeps its room until a thread has come to it.
            let _room = room;
            work.await
        };
        match AbortOnDropHandle::new(self.handle.spawn(work.with_current_subscriber())).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // It is aborted by nobody else, and the runtime outlives this future.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Whoever gave it work has gone, and the work with it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn wake() {
    let mut rests = RESTS.get();
    rests.woke(clocks());
    RESTS.set(rests);
}

/// Lets others go on for a moment, if they want the processor and this thread has worked for long enough.
fn rest() {
    let mut rests = RESTS.get();
    let now = clocks();
    if rests.worked(now) {
        std::thread::sleep(REST);
        rests.rested(now.system, clocks());
    }
    RESTS.set(rests);
}

fn clocks() -> Clocks {
    let show = |clock| duration(clock_gettime(clock));
    Clocks {
        system: show(ClockId::Monotonic),
        thread: show(ClockId::ThreadCPUTime),
    }
}

fn duration(time: Timespec) -> Duration {
    // Neither clock is ever before its beginning.
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(target_os = "linux")]
fn be_nice() {
    use std::sync::Once;

    use rustix::process::{getpriority_process, setpriority_process};

    // Of this thread alone on Linux, where these threads are processes to the scheduler.
    let nice = getpriority_process(None).map(|nice| (nice + NICER).min(19));
    if let Err(error) = nice.and_then(|nice| setpriority_process(None, nice)) {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            tracing::warn!(
                %error,
                "Strangers get as much of the processor as visitors of homes: setpriority(2) is not allowed"
            );
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn be_nice() {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn its_threads_are_nicer_and_the_others_are_not() {
        use rustix::process::getpriority_process;

        let before = getpriority_process(None).unwrap();
        let background = Background::new(1).unwrap();
        let there = background.work(Box::pin(async { getpriority_process(None).unwrap() }));
        assert_eq!(there.await, (before + NICER).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_ends() {
        let background = Background::new(1).unwrap();
        let (begun, is_begun) = oneshot::channel();
        let (held, ended) = oneshot::channel::<()>();
        let work = background.work(Box::pin(async move {
            let _held = held;
            begun.send(()).unwrap();
            std::future::pending::<()>().await;
        }));
        tokio::select! {
            () = work => unreachable!("it never ends by itself"),
            begun = is_begun => begun.unwrap(),
        }
        let ended = timeout(Duration::from_secs(10), ended).await;
        assert!(ended.expect("it goes on").is_err());
    }

    #[tokio::test]
    async fn a_panic_is_not_lost() {
        let waiting = tokio::spawn(async {
            let background = Background::new(1).unwrap();
            let work = async { assert!(background_is_fine(), "seen by whoever waits") };
            background.work(Box::pin(work)).await;
        });
        assert!(waiting.await.unwrap_err().is_panic());
    }

    fn background_is_fine() -> bool {
        false
    }
}
