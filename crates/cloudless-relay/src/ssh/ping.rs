//! Asks whether an SSH client is still there.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use russh::server::Handle;

type Answer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A global request that every client answers with a refusal (RFC 4254 section 4): it would end a
/// forward of a port that none has.
pub(super) struct Ping {
    handle: Handle,
    answer: Option<Answer>,
}

impl Ping {
    pub(super) fn new(handle: Handle) -> Self {
        Self {
            handle,
            answer: None,
        }
    }
}

impl crate::liveness::Ping for Ping {
    fn send(&mut self) -> io::Result<()> {
        let handle = self.handle.clone();
        self.answer = Some(Box::pin(async move {
            // A refusal is an answer, too.
            let _ = handle.cancel_forward_tcpip("keepalive".to_owned(), 0).await;
        }));
        Ok(())
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.answer {
            None => Poll::Pending,
            Some(answer) => {
                ready!(answer.as_mut().poll(cx));
                self.answer = None;
                Poll::Ready(Ok(()))
            }
        }
    }
}
