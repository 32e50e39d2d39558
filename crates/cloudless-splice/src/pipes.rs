use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io;

#[cfg(not(target_os = "linux"))]
use self::elsewhere::Pipe;
#[cfg(target_os = "linux")]
use self::linux::Pipe;

/// More empty pipes than this are not kept: each is two file descriptors.
const IDLE_MAX: usize = 16;

/// The pipes that bytes are spliced through, shared by all directions of all connections.
///
/// A direction has one only while it moves bytes. When all are in use, or the system gives no pipe
/// that is worth it, bytes are copied.
#[derive(Debug)]
pub struct Pipes {
    pool: Arc<Pool>,
    /// Of the pool's pipes.
    max: usize,
    n_leased: AtomicUsize,
}

#[derive(Debug)]
struct Pool {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Invariant: each of them is empty.
    idle: Vec<Pipe>,
    n_open: usize,
}

impl Pipes {
    /// At most `max` pipes at a time, each of two file descriptors and up to 256 KiB of the
    /// system's memory. With none, bytes are always copied.
    pub fn new(max: usize) -> Self {
        let pool = Pool {
            max,
            state: Mutex::default(),
        };
        Self::of(Arc::new(pool), max)
    }

    /// The same pipes, of which at most `max` are in use through this part at a time: whoever has
    /// it, and stops reading with bytes in each of them, leaves others to the rest.
    pub fn part(&self, max: usize) -> Self {
        Self::of(Arc::clone(&self.pool), max)
    }

    fn of(pool: Arc<Pool>, max: usize) -> Self {
        Self {
            pool,
            max,
            n_leased: AtomicUsize::new(0),
        }
    }

    /// An empty pipe; `None` when there is none to be had.
    pub(crate) fn take(&self) -> Option<Lease<'_>> {
        let one_more = |n_leased| (n_leased < self.max).then_some(n_leased + 1);
        self.n_leased
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        let pipe = self.pool.take();
        if pipe.is_none() {
            self.n_leased.fetch_sub(1, Ordering::Relaxed);
        }
        Some(Lease {
            pipes: self,
            pipe: Some(pipe?),
            len: 0,
        })
    }

    /// How many there are, in use or not.
    #[cfg(test)]
    pub(crate) fn n_open(&self) -> usize {
        self.lock().n_open
    }

    #[cfg(test)]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.pool.lock()
    }
}

impl Pool {
    fn take(&self) -> Option<Pipe> {
        let idle = {
            let mut state = self.lock();
            let idle = state.idle.pop();
            if idle.is_none() {
                if state.n_open >= self.max {
                    return None;
                }
                state.n_open += 1;
            }
            idle
        };
        idle.or_else(|| match Pipe::open() {
            Ok(pipe) => Some(pipe),
            Err(error) => {
                tracing::debug!(%error, "No pipe to splice through: bytes are copied");
                self.lock().n_open -= 1;
                None
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pipe in use by one direction.
///
/// Dropped empty it goes back for others; with bytes in it it is closed, so that bytes of a broken
/// connection never come out in another one.
pub(crate) struct Lease<'a> {
    pipes: &'a Pipes,
    /// There until the drop.
    pipe: Option<Pipe>,
    /// Bytes in the pipe.
    len: usize,
}

impl Lease<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Splices into the empty pipe what the socket has; 0 is the FIN.
    pub(crate) fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else {
            return Ok(0);
        };
        let n = pipe.fill(from)?;
        self.len += n;
        Ok(n)
    }

    /// Splices out of the pipe what the socket takes.
    pub(crate) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else {
            return Ok(0);
        };
        let n = pipe.drain(to, self.len)?;
        self.len -= n;
        Ok(n)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(pipe) = self.pipe.take() else {
            return;
        };
        self.pipes.n_leased.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.pipes.pool.lock();
        if self.len == 0 && state.idle.len() < IDLE_MAX {
            state.idle.push(pipe);
        } else {
            state.n_open -= 1;
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::io::{self, Errno};
    use rustix::pipe::{
        PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
    };

    const PIPE_LEN: usize = 256 * 1024;
    /// Below this copying is cheaper.
    const PIPE_LEN_MIN: usize = 64 * 1024;

    #[derive(Debug)]
    pub(super) struct Pipe {
        read: OwnedFd,
        write: OwnedFd,
        len_max: usize,
    }

    impl Pipe {
        pub(super) fn open() -> io::Result<Self> {
            Self::with_len(PIPE_LEN, PIPE_LEN_MIN)
        }

        pub(super) fn with_len(len: usize, len_min: usize) -> io::Result<Self> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            let set = fcntl_setpipe_size(&write, len);
            // The system bounds what one user's pipes hold, and refuses what goes beyond that.
            let len_max = set.or_else(|_| fcntl_getpipe_size(&write))?;
            if len_max < len_min {
                return Err(Errno::NOBUFS);
            }
            Ok(Self {
                read,
                write,
                len_max,
            })
        }

        #[cfg(test)]
        pub(super) fn read_end(&self) -> &OwnedFd {
            &self.read
        }

        pub(super) fn fill(&self, from: impl AsFd) -> io::Result<usize> {
            splice(from, None, &self.write, None, self.len_max, FLAGS)
        }

        pub(super) fn drain(&self, to: impl AsFd, len: usize) -> io::Result<usize> {
            splice(&self.read, None, to, None, len, FLAGS)
        }
    }

    /// Without SPLICE_F_MORE, which would have the system wait for more before it sends.
    const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::convert::Infallible;
    use std::os::fd::AsFd;

    use rustix::io::{self, Errno};

    /// There is none: splice(2) is Linux's.
    #[derive(Debug)]
    pub(super) struct Pipe(Infallible);

    impl Pipe {
        pub(super) fn open() -> io::Result<Self> {
            Err(Errno::NOSYS)
        }

        pub(super) fn fill(&self, _from: impl AsFd) -> io::Result<usize> {
            match self.0 {}
        }

        pub(super) fn drain(&self, _to: impl AsFd, _len: usize) -> io::Result<usize> {
            match self.0 {}
        }
    }
}

#[cfg(test)]
mod tests;
