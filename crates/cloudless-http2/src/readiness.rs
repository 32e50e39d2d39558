//! Which of a connection's sockets may be ready.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Which direction of a stream a socket is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// It has something to be sent.
    Send,
    /// It takes what was received.
    Deliver,
}

/// The sockets that were woken since the driver looked.
#[derive(Debug, Default)]
pub(crate) struct Readiness(Mutex<Ready>);

#[derive(Debug, Default)]
struct Ready {
    woken: Vec<(u32, Direction)>,
    driver: Option<Waker>,
}

impl Readiness {
    /// Wakes the driver for one direction of a stream.
    pub(crate) fn waker(self: &Arc<Self>, stream: u32, direction: Direction) -> Waker {
        let socket = Watched {
            readiness: Arc::clone(self),
            stream,
            direction,
        };
        Waker::from(Arc::new(socket))
    }

    /// Who is woken from now on.
    pub(crate) fn register(&self, driver: &Waker) {
        let mut ready = self.lock();
        match &mut ready.driver {
            Some(registered) => registered.clone_from(driver),
            none => *none = Some(driver.clone()),
        }
    }

    /// Wakes the driver for something else than a socket.
    pub(crate) fn wake(&self) {
        let driver = self.lock().driver.clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Takes what was woken, into `woken`, which is empty.
    pub(crate) fn take(&self, woken: &mut Vec<(u32, Direction)>) {
        std::mem::swap(&mut self.lock().woken, woken);
    }

    fn lock(&self) -> MutexGuard<'_, Ready> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One direction of a stream, as whoever its socket wakes. Each registration wakes once, so that what
/// was woken has the length of what was registered at most.
struct Watched {
    readiness: Arc<Readiness>,
    stream: u32,
    direction: Direction,
}

impl Wake for Watched {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let driver = {
            let mut ready = self.readiness.lock();
            ready.woken.push((self.stream, self.direction));
            // Whoever was first has woken it, and it has not looked since.
            if ready.woken.len() > 1 {
                return;
            }
            ready.driver.clone()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}
