//! What certificate authorities ask for over plain HTTP (RFC 8555 section 8.3).

use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::request_head::{Parsed, Reader, RequestHead};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::certificate::acme::Validations;
use crate::visitor::Stream;

/// A whole validation: a short question and a line of text.
pub(crate) const VALIDATION: Duration = Duration::from_secs(10);

/// Answers an authority that validates this name now; returns whether it was one. A visitor that wants
/// anything else is reset.
pub(crate) async fn answer(
    mut visitor: Stream,
    hostname: &Hostname,
    validations: &Validations,
) -> bool {
    let validation = async {
        let head = read(&mut visitor, hostname).await?;
        let body = validations.http(hostname, &head.target_path)?;
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        visitor.write_all(answer.as_bytes()).await.ok()?;
        visitor.shutdown().await.ok()
    };
    matches!(timeout(VALIDATION, validation).await, Ok(Some(())))
}

/// Reads a request. `None` when it is none that a server could only read as one for a validation of
/// this name: the relay is not trusted to have looked.
pub(crate) async fn read(visitor: &mut Stream, hostname: &Hostname) -> Option<RequestHead> {
    let mut reader = Reader::new();
    let mut buffer = [0; 1024];
    loop {
        let n = visitor.read(&mut buffer).await.ok()?;
        match reader.push(&buffer[..n]) {
            Parsed::Incomplete if n > 0 => {}
            Parsed::Request(head) if head.host.as_ref() == Some(hostname) => {
                return head.validation_request().is_some().then_some(head);
            }
            _ => return None,
        }
    }
}
