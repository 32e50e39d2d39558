//! A visitor: TLS through a CONNECT stream, HTTP inside.

use std::sync::Arc;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::relay::FakeSession;

/// Joins a CONNECT stream to a byte stream as a relay joins it to a socket: END_STREAM is FIN.
pub(crate) fn pipe(stream: (SendStream<Bytes>, RecvStream)) -> DuplexStream {
    pipe_to_end(stream).0
}

/// The same, with how home ends the stream: an error for a reset.
pub(crate) fn pipe_to_end(
    (mut send, mut recv): (SendStream<Bytes>, RecvStream),
) -> (DuplexStream, JoinHandle<Result<(), h2::Error>>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (mut from_visitor, mut to_visitor) = tokio::io::split(far);
    tokio::spawn(async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length) = from_visitor.read(&mut buffer).await {
            if length == 0 {
                let _ = send.send_data(Bytes::new(), true);
                return;
            }
            if send
                .send_data(Bytes::copy_from_slice(&buffer[..length]), false)
                .is_err()
            {
                return;
            }
        }
    });
    let end = tokio::spawn(async move {
        let ended = loop {
            match recv.data().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(error),
                Some(Ok(chunk)) => {
                    let _ = recv.flow_control().release_capacity(chunk.len());
                    // Whoever has gone hears no more, and home ends all the same.
                    let _ = to_visitor.write_all(&chunk).await;
                }
            }
        };
        let _ = to_visitor.shutdown().await;
        ended
    });
    (near, end)
}

/// TLS to `hostname` over a new CONNECT stream.
pub(crate) async fn tls(
    session: &FakeSession,
    mut trust: ClientConfig,
    hostname: &str,
    alpn: &[u8],
) -> std::io::Result<TlsStream<DuplexStream>> {
    trust.alpn_protocols = vec![alpn.to_vec()];
    let stream = pipe(session.connect(hostname).await);
    let name = ServerName::try_from(hostname.to_owned()).unwrap();
    TlsConnector::from(Arc::new(trust))
        .connect(name, stream)
        .await
}

/// One request over HTTP/1.1.
pub(crate) async fn http1<S>(stream: S, request: Request<Full<Bytes>>) -> Response<Bytes>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let response = whole(requests.send_request(request).await.unwrap()).await;
    drop(requests);
    let _ = connection.await;
    response
}

/// One request over HTTP/2.
pub(crate) async fn http2<S>(stream: S, request: Request<Full<Bytes>>) -> Response<Bytes>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let response = whole(requests.send_request(request).await.unwrap()).await;
    drop(requests);
    let _ = connection.await;
    response
}

async fn whole(response: Response<hyper::body::Incoming>) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// A request to `host` with an empty body.
pub(crate) fn request(method: &str, target: &str, authorization: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(target)
        .header("authorization", authorization)
        .header("depth", "0")
        .body(Full::default())
        .unwrap()
}
