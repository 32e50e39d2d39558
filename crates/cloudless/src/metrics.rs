//! Metrics for Prometheus on a loopback port: the status of a role in another form, and its process.

mod home;
mod process;
mod relay;

use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cloudless_proto::exposition::{CONTENT_TYPE, Exposition};
use http::header::{ALLOW, CONTENT_TYPE as CONTENT_TYPE_HEADER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::metrics::MetricsAddress;
use crate::listen;

pub(crate) use home::home;
pub(crate) use relay::relay;

/// Readers at the same moment; more wait.
const CONNECTIONS_MAX: usize = 8;
/// A reader has this long from its connection to the end of its answer.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// After the system could not accept a connection, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What a role says of itself, from its state directory.
pub(crate) type Report = fn(&Path, &mut Exposition) -> anyhow::Result<()>;

/// Where a role's metrics are read, if anywhere.
pub(crate) struct Metrics {
    listener: Option<TcpListener>,
    source: Source,
}

#[derive(Clone)]
struct Source {
    state: PathBuf,
    report: Report,
    started: SystemTime,
}

impl Metrics {
    /// Binds the address, if there is one. `setting` is what to change when that fails.
    pub(crate) fn bind(
        address: Option<MetricsAddress>,
        setting: &str,
        state: &Path,
        report: Report,
    ) -> anyhow::Result<Self> {
        let addresses: Vec<_> = address.map(|it| it.0).into_iter().collect();
        Ok(Self {
            listener: listen::bind(&addresses, setting)?.pop(),
            source: Source {
                state: state.to_owned(),
                report,
                started: SystemTime::now(),
            },
        })
    }

    /// Where they are read in fact.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    /// Answers for as long as the role runs.
    pub(crate) async fn beside<T>(self, role: impl Future<Output = T>) -> T {
        tokio::select! {
            result = role => result,
            never = self.serve() => match never {},
        }
    }

    async fn serve(self) -> Infallible {
        let Some(listener) = self.listener else {
            return pending().await;
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(answer(stream, self.source.clone()));
                    }
                    Err(error) => {
                        tracing::debug!(%error, "No reader of metrics can be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn answer(stream: TcpStream, source: Source) {
    let service = service_fn(|request| respond(request, source.clone()));
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "A reader of metrics went away"),
        Err(_) => tracing::debug!("A reader of metrics was too slow"),
    }
}

async fn respond<B>(
    request: Request<B>,
    source: Source,
) -> Result<Response<Full<Bytes>>, http::Error> {
    let plain = |status| Response::builder().status(status);
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND).body(Full::from("metrics are at /metrics\n"));
    }
    if request.method() != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED)
            .header(ALLOW, "GET")
            .body(Full::default());
    }
    // The role is asked through its admin socket, and that blocks.
    let text = tokio::task::spawn_blocking(move || source.text());
    match text.await.map_err(anyhow::Error::from).flatten() {
        Ok(text) => Response::builder()
            .header(CONTENT_TYPE_HEADER, CONTENT_TYPE)
            .body(Full::from(text)),
        Err(error) => {
            tracing::debug!(error = format!("{error:#}"), "There are no metrics");
            plain(StatusCode::SERVICE_UNAVAILABLE).body(Full::from("no metrics now; try again\n"))
        }
    }
}

impl Source {
    fn text(&self) -> anyhow::Result<String> {
        let mut text = Exposition::default();
        (self.report)(&self.state, &mut text)?;
        process::process(self.started, &mut text)?;
        Ok(text.into_text())
    }
}

/// Microseconds as Prometheus wants time.
fn seconds(microseconds: u64) -> f64 {
    Duration::from_micros(microseconds).as_secs_f64()
}
