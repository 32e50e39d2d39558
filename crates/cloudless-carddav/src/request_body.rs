//! Reading a request body, never more of it than allowed.

use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::places::{LARGE, Place};

/// How long a client may be silent in the middle of a body. Phones pause for many seconds when they
/// change networks.
const SILENCE: Duration = Duration::from_secs(60);

/// Why a request body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The connection broke or the transfer was malformed.
    Broken(String),
    /// The device sends too many large bodies at once. The rest was not read.
    Busy,
    /// Nothing came for a minute.
    Silent,
    /// The body is longer than allowed. The rest was not read.
    TooLarge,
}

/// As much of a body as may be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) bytes: Bytes,
    /// Whether this is all of it. What follows was not read.
    pub(crate) is_whole: bool,
}

/// Reads a body of at most `limit` bytes, and nothing of one that is said to be longer.
pub(crate) async fn read<B>(body: B, limit: usize, place: &Place) -> Result<Bytes, ReadError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Display,
{
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |length| length > limit) {
        return Err(ReadError::TooLarge);
    }
    let Start { bytes, is_whole } = read_start(body, limit, place).await?;
    is_whole.then_some(bytes).ok_or(ReadError::TooLarge)
}

/// Reads the first `limit` bytes of a body. What makes it a large one waits until `place` allows that.
pub(crate) async fn read_start<B>(body: B, limit: usize, place: &Place) -> Result<Start, ReadError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Display,
{
    let mut body = pin!(body);
    let mut is_whole = true;
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout(SILENCE, body.frame()).await {
            Err(_) => return Err(ReadError::Silent),
            Ok(None) => break,
            Ok(Some(Err(error))) => return Err(ReadError::Broken(error.to_string())),
            Ok(Some(Ok(frame))) => frame,
        };
        // A trailer says nothing that matters here.
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        let room = limit - first.len() - joined.len();
        is_whole = data.len() <= room;
        data.truncate(room);
        if first.len() + joined.len() + data.len() > LARGE && !place.allows_large().await {
            return Err(ReadError::Busy);
        }
        if first.is_empty() {
            first = data;
        } else {
            joined.extend_from_slice(&data);
        }
        if !is_whole {
            break;
        }
    }
    if joined.is_empty() {
        let bytes = first;
        return Ok(Start { bytes, is_whole });
    }
    let mut whole = BytesMut::with_capacity(first.len() + joined.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&joined);
    let bytes = whole.freeze();
    Ok(Start { bytes, is_whole })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::Full;

    use super::*;

    /// A body of these frames, as a list of results.
    struct Frames(std::vec::IntoIter<Result<Frame<Bytes>, &'static str>>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            std::task::Poll::Ready(self.get_mut().0.next())
        }
    }

    fn frames(parts: &[Result<&'static str, &'static str>]) -> Frames {
        let frame = |part: &&'static str| Frame::data(Bytes::from_static(part.as_bytes()));
        let frames: Vec<_> = parts
            .iter()
            .map(|part| part.as_ref().map(frame).map_err(|error| *error))
            .collect();
        Frames(frames.into_iter())
    }

    #[tokio::test]
    async fn frames_are_joined_up_to_the_limit() {
        let parts = [Ok("ab"), Ok(""), Ok("c"), Ok("de")];
        assert_eq!(
            read(frames(&parts), 5, &Place::alone()).await,
            Ok(Bytes::from_static(b"abcde"))
        );
        assert_eq!(
            read(frames(&parts), 4, &Place::alone()).await,
            Err(ReadError::TooLarge)
        );
        assert_eq!(
            read(frames(&[]), 0, &Place::alone()).await,
            Ok(Bytes::new())
        );
    }

    #[tokio::test]
    async fn the_start_of_a_long_body_is_read() {
        let parts = [Ok("ab"), Ok(""), Ok("c"), Ok("de")];
        for (limit, start, is_whole) in [(0, "", false), (4, "abcd", false), (5, "abcde", true)] {
            let bytes = Bytes::from_static(start.as_bytes());
            let read = read_start(frames(&parts), limit, &Place::alone()).await;
            assert_eq!(read, Ok(Start { bytes, is_whole }));
        }
    }

    #[tokio::test]
    async fn an_announced_length_is_refused_before_reading() {
        let body = Full::new(Bytes::from_static(b"abcdef"));
        assert_eq!(
            read(body, 5, &Place::alone()).await,
            Err(ReadError::TooLarge)
        );
    }

    #[tokio::test]
    async fn a_broken_body_is_no_short_body() {
        let broken = read(frames(&[Ok("ab"), Err("reset")]), 5, &Place::alone()).await;
        assert_eq!(broken, Err(ReadError::Broken("reset".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_given_up() {
        struct Never;
        impl http_body::Body for Never {
            type Data = Bytes;
            type Error = Infallible;
            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                std::task::Poll::Pending
            }
        }
        assert_eq!(
            read(Never, 5, &Place::alone()).await,
            Err(ReadError::Silent)
        );
    }
}
