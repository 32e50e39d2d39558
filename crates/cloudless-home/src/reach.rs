//! How a server beside home was reached last, for the status, and when the log hears of it.

use cloudless_proto::Told;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct Reach {
    error: Option<String>,
    told: Told,
}

impl Reach {
    /// Why the server was not reached the last time.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Notes that it was reached, or why not; returns whether the log is to hear of that.
    pub(crate) fn note(&mut self, error: Option<String>) -> bool {
        self.error = error;
        let now = Instant::now().into_std();
        self.told.is_due(self.error.is_none(), now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_flaps_is_told_once_in_a_while_and_shown_as_it_is() {
        let (mut server, mut lines) = (Reach::default(), 0);
        for number in 0..1000 {
            let error = (number % 2 == 0).then(|| "refused".to_owned());
            lines += usize::from(server.note(error.clone()));
            assert_eq!(server.error(), error.as_deref());
            advance(Duration::from_millis(9)).await;
        }
        assert_eq!(lines, 4, "in 9 s");
    }
}
