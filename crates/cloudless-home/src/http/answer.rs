//! The body of an answer, whoever makes it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use cloudless_carddav::{Body, BodyError};
use http_body::{Frame, SizeHint};

use crate::upstream::{UpstreamBody, UpstreamBodyError};

/// A body of home's own, or of a server behind it.
pub(crate) enum Answer {
    CardDav(Body),
    Upstream(UpstreamBody),
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error(transparent)]
    CardDav(BodyError),
    #[error(transparent)]
    Upstream(UpstreamBodyError),
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match self.get_mut() {
            Self::CardDav(body) => Pin::new(body).poll_frame(cx).map_err(AnswerError::CardDav),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx).map_err(AnswerError::Upstream),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::CardDav(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::CardDav(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}
