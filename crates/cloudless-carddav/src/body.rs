//! The response body: whole, or written page by page while the client reads.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use cloudless_store::StoreError;
use http_body::{Frame, SizeHint};
use tokio::task::{JoinError, JoinHandle};

use crate::places::Place;
use crate::refusal::chain;

/// The body of a response.
///
/// A short body is one piece whose length is known. A long multistatus is pulled page by page: each
/// page is written on a blocking thread, the next one while the client reads the one before, unless
/// that is a long one. Two pages at most are in memory, and a client that stops reading holds no
/// thread. Poll it inside the tokio runtime that made it.
#[derive(Debug)]
pub struct Body {
    state: State,
    /// Of the request that this answers.
    _place: Option<Place>,
}

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
        next: Option<Next>,
    },
}

enum Next {
    Written(WritingTask),
    /// To be written when the client has read what is there.
    Unwritten(PageWriter),
}

/// What is given to the connection at a time. It keeps all that it was given until the client reads
/// it.
const PIECE_MAX: usize = 256 * 1024;

/// No page is written ahead while the client reads a longer one, such as a card with a large photo.
const AHEAD_MAX: usize = 256 * 1024;

type WritingTask = JoinHandle<(Result<Page, StoreError>, PageWriter)>;

impl Body {
    /// A body with nothing in it.
    pub(crate) fn empty() -> Self {
        Self::new(State::Whole(None))
    }

    const fn new(state: State) -> Self {
        Self {
            state,
            _place: None,
        }
    }

    /// The same body, which keeps the place of its request until the last piece is taken.
    pub(crate) fn holding(self, place: Place) -> Self {
        Self {
            _place: Some(place),
            ..self
        }
    }

    /// Writes the first page, so that a store that cannot be read is still told by the status of
    /// the response. A body of one page is whole. Blocks on the store.
    ///
    /// # Errors
    /// When the first page cannot be written.
    pub(crate) fn paged(mut writer: PageWriter) -> Result<Self, BodyError> {
        let page = writer().map_err(BodyError::Store)?;
        if page.last {
            return Ok(Self::from(page.bytes));
        }
        let next = Some(Next::after(&page, writer));
        Ok(Self::new(State::Paged {
            written: Some(page.bytes),
            next,
        }))
    }
}

impl Next {
    fn after(page: &Page, writer: PageWriter) -> Self {
        if page.bytes.len() > AHEAD_MAX {
            Self::Unwritten(writer)
        } else {
            Self::Written(write_page(writer))
        }
    }
}

/// Takes the next piece off.
fn piece(bytes: &mut Option<Bytes>) -> Option<Bytes> {
    match bytes {
        Some(long) if long.len() > PIECE_MAX => Some(long.split_to(PIECE_MAX)),
        _ => bytes.take(),
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::new(State::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
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
        match &mut self.get_mut().state {
            State::Whole(bytes) => Poll::Ready(piece(bytes).map(|bytes| Ok(Frame::data(bytes)))),
            State::Paged { written, next } => loop {
                if let Some(bytes) = piece(written).filter(|bytes| !bytes.is_empty()) {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                let mut task = match next.take() {
                    Some(Next::Written(task)) => task,
                    Some(Next::Unwritten(writer)) => write_page(writer),
                    None => return Poll::Ready(None),
                };
                let Poll::Ready(joined) = Pin::new(&mut task).poll(context) else {
                    *next = Some(Next::Written(task));
                    return Poll::Pending;
                };
                match joined {
                    Ok((Ok(page), writer)) => {
                        *next = (!page.last).then(|| Next::after(&page, writer));
                        *written = Some(page.bytes);
                    }
                    Ok((Err(error), _)) => {
                        return Poll::Ready(Some(Err(log(BodyError::Store(error)))));
                    }
                    Err(error) => return Poll::Ready(Some(Err(log(BodyError::Task(error))))),
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Whole(bytes) => bytes.is_none(),
            State::Paged { written, next } => written.is_none() && next.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Whole(None) => SizeHint::with_exact(0),
            State::Whole(Some(bytes)) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            State::Paged { .. } => SizeHint::default(),
        }
    }
}

/// The client only sees a connection that ends too early.
fn log(error: BodyError) -> BodyError {
    match error {
        BodyError::Store(StoreError::DeviceRevoked) => {
            tracing::info!("an answer breaks off: its device was revoked");
        }
        BodyError::Store(StoreError::NoSuchBook) => {
            tracing::info!("an answer breaks off: its address book is gone or no longer shared");
        }
        _ => tracing::error!(error = chain(&error), "an answer breaks off"),
    }
    error
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;

    /// Writes these pages, the last of them being the last, and counts the calls.
    fn writer(pages: &[Result<&'static str, StoreError>], calls: &Arc<AtomicUsize>) -> PageWriter {
        let calls = Arc::clone(calls);
        let pages: Vec<_> = pages
            .iter()
            .map(|page| {
                page.as_ref()
                    .ok()
                    .map(|text| Bytes::from_static(text.as_bytes()))
            })
            .collect();
        let mut index = 0;
        Box::new(move || {
            calls.fetch_add(1, Ordering::SeqCst);
            let bytes = pages[index].clone().ok_or(StoreError::Busy)?;
            index += 1;
            Ok(Page {
                bytes,
                last: index == pages.len(),
            })
        })
    }

    async fn frame(body: &mut Body) -> Option<Result<Bytes, BodyError>> {
        Some(body.frame().await?.map(|frame| frame.into_data().unwrap()))
    }

    #[tokio::test]
    async fn one_page_is_a_whole_body() {
        let calls = Arc::default();
        let mut body = Body::paged(writer(&[Ok("abc")], &calls)).unwrap();
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!body.is_end_stream());
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), "abc");
        assert!(body.is_end_stream());
        assert!(frame(&mut body).await.is_none());
        assert_eq!(Body::empty().size_hint().exact(), Some(0));
        assert!(Body::empty().is_end_stream());
    }

    #[tokio::test]
    async fn a_long_body_is_given_in_pieces_with_its_length() {
        let bytes = Bytes::from(vec![b'a'; 2 * PIECE_MAX + 1]);
        let mut body = Body::from(bytes.clone());
        assert_eq!(body.size_hint().exact(), u64::try_from(bytes.len()).ok());
        for length in [PIECE_MAX, PIECE_MAX, 1] {
            assert!(!body.is_end_stream());
            assert_eq!(frame(&mut body).await.unwrap().unwrap().len(), length);
        }
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn pages_are_written_one_ahead_and_empty_ones_left_out() {
        let calls: Arc<AtomicUsize> = Arc::default();
        let pages = [Ok("a"), Ok(""), Ok("b"), Ok("c"), Ok("d"), Ok("")];
        let mut body = Body::paged(writer(&pages, &calls)).unwrap();
        assert_eq!(body.size_hint().exact(), None);
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), "a");
        assert!(calls.load(Ordering::SeqCst) <= 2);
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), "b");
        assert!(calls.load(Ordering::SeqCst) <= 4);
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), "c");
        assert!(!body.is_end_stream());
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), "d");
        assert!(frame(&mut body).await.is_none());
        assert!(body.is_end_stream());
        assert_eq!(calls.load(Ordering::SeqCst), pages.len());
    }

    #[tokio::test]
    async fn a_failure_at_once_is_no_body_and_later_an_early_end() {
        let calls = Arc::default();
        let at_once = Body::paged(writer(&[Err(StoreError::Busy)], &calls));
        assert!(matches!(at_once, Err(BodyError::Store(StoreError::Busy))));
        let pages = [Ok("a"), Err(StoreError::Busy), Ok("b")];
        let mut body = Body::paged(writer(&pages, &calls)).unwrap();
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), "a");
        let failure = frame(&mut body).await;
        assert!(
            matches!(failure, Some(Err(BodyError::Store(StoreError::Busy)))),
            "{failure:?}"
        );
        assert!(frame(&mut body).await.is_none());
    }

    #[tokio::test]
    async fn a_panic_ends_the_body_with_an_error() {
        let mut first = true;
        let panics: PageWriter = Box::new(move || {
            assert!(first, "a bug");
            first = false;
            Ok(Page {
                bytes: Bytes::from_static(b"a"),
                last: false,
            })
        });
        let mut body = Body::paged(panics).unwrap();
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), "a");
        let failure = frame(&mut body).await;
        assert!(
            matches!(failure, Some(Err(BodyError::Task(_)))),
            "{failure:?}"
        );
        assert!(frame(&mut body).await.is_none());
    }
}
