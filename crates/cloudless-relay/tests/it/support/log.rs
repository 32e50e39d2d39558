use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::{DefaultGuard, NoSubscriber};

/// What was logged, to DEBUG.
#[derive(Clone)]
pub(crate) struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// With only one subscriber the first thread that comes to a line settles for all whether it is
    /// logged, by its own: that may be another test's, which has none.
    _second: Dispatch,
}

impl Log {
    /// The log of this thread from here on, until the guard is dropped. On a runtime of one thread
    /// that is all that the test's relays say.
    pub(crate) fn start() -> (Self, DefaultGuard) {
        let log = Self {
            bytes: Arc::default(),
            _second: Dispatch::new(NoSubscriber::new()),
        };
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let guard = tracing::subscriber::set_default(subscriber.finish());
        (log, guard)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
