//! The response body: whole, or written page by page while the client reads.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use cloudless_store::StoreError;
use http_body::{Frame, SizeHint};
use tokio::task::{JoinError, JoinHandle};

/// The body of a response.
///
/// A short body is one piece whose length is known. A long multistatus is pulled page by page: each
/// page is written on a blocking thread, the next one while the client reads the one before. Two
/// pages at most are in memory, and a client that stops reading holds no thread. Poll it inside the
/// tokio runtime that made it.
#[derive(Debug)]
pub struct Body(State);

/// Why a body ended early. The connection must be reset then, so that the client sees that the
/// answer is not complete.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The store could not be read for the next page.
    #[error("the store could not be read while the answer was being sent")]
    Store(#[source] StoreError),
    /// The thread that wrote the next page panicked or was cancelled by the end of the runtime.
    #[error("writing the next part of the answer failed")]
    Task(#[source] JoinError),
}

/// A part of a long body.
pub(crate) struct Page {
    pub(crate) bytes: Bytes,
    /// True when nothing follows.
    pub(crate) last: bool,
}

/// Writes the next page each time it is called. It blocks on the store.
pub(crate) type PageWriter = Box<dyn FnMut() -> Result<Page, StoreError> + Send>;

enum State {
    Whole(Option<Bytes>),
    Paged {
        written: Option<Bytes>,
        next: Option<WritingTask>,
    },
}

type WritingTask = JoinHandle<(Result<Page, StoreError>, PageWriter)>;

impl Body {
    /// A body with nothing in it.
    pub(crate) fn empty() -> Self {
        Self(State::Whole(None))
    }

    /// Waits for the first page, so that a store that cannot be read is still told by the status of
    /// the response. A body of one page is whole.
    ///
    /// # Errors
    /// When the first page cannot be written.
    pub(crate) async fn paged(writer: PageWriter) -> Result<Self, BodyError> {
        let (page, writer) = write_page(writer).await.map_err(BodyError::Task)?;
        let page = page.map_err(BodyError::Store)?;
        if page.last {
            return Ok(Self::from(page.bytes));
        }
        let next = Some(write_page(writer));
        Ok(Self(State::Paged {
            written: Some(page.bytes),
            next,
        }))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(State::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::from(Bytes::from_static(text.as_bytes()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            State::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            State::Paged { written, next } => loop {
                if let Some(bytes) = written.take().filter(|bytes| !bytes.is_empty()) {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                let Some(task) = next else {
                    return Poll::Ready(None);
                };
                let joined = ready!(Pin::new(task).poll(context));
                *next = None;
                match joined {
                    Ok((Ok(page), writer)) => {
                        *written = Some(page.bytes);
                        *next = (!page.last).then(|| write_page(writer));
                    }
                    Ok((Err(error), _)) => return Poll::Ready(Some(Err(BodyError::Store(error)))),
                    Err(error) => return Poll::Ready(Some(Err(BodyError::Task(error)))),
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Whole(bytes) => bytes.is_none(),
            State::Paged { written, next } => written.is_none() && next.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Whole(None) => SizeHint::with_exact(0),
            State::Whole(Some(bytes)) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            State::Paged { .. } => SizeHint::default(),
        }
    }
}

fn write_page(mut writer: PageWriter) -> WritingTask {
    tokio::task::spawn_blocking(move || {
        let page = writer();
        (page, writer)
    })
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => {
                write!(
                    formatter,
                    "Whole({} bytes)",
                    bytes.as_ref().map_or(0, Bytes::len)
                )
            }
            Self::Paged { next, .. } => write!(formatter, "Paged(more: {})", next.is_some()),
        }
    }
}
