use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Who is told that something was committed.
#[derive(Default)]
pub(crate) struct Commits {
    tell: Mutex<Option<Tell>>,
}

type Tell = Box<dyn Fn() + Send + Sync>;

impl Commits {
    pub(crate) fn listen(&self, tell: Tell) {
        *self.tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
    }

    pub(crate) fn tell(&self) {
        let tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tell) = tell.as_ref() {
            tell();
        }
    }
}

impl fmt::Debug for Commits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Commits(..)")
    }
}
