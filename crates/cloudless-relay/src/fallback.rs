//! Passes connections that are for no home to the web server that was there before the relay.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use cloudless_splice::{ForwardError, Pipes};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::activity::Activity;
use crate::config::Timings;
use crate::socket;

/// Sends `opening`, which was read from `client` already, to the web server at `address`, and then
/// all that either side says to the other.
///
/// # Errors
/// When the web server cannot be reached; the client's connection is closed in any case.
pub(crate) async fn forward(
    client: TcpStream,
    opening: Bytes,
    address: SocketAddr,
    pipes: &Pipes,
    timings: &Timings,
) -> io::Result<()> {
    let connect = async {
        let mut server = TcpStream::connect(address).await?;
        socket::configure(&server)?;
        server.write_all(&opening).await?;
        Ok(server)
    };
    let connected = timeout(timings.connect, connect)
        .await
        .unwrap_or_else(|elapsed| Err(elapsed.into()));
    let server = match connected {
        Ok(server) => server,
        Err(error) => {
            socket::close(client, b"").await;
            return Err(error);
        }
    };
    drop(opening);
    let activity = Activity::new();
    let both = async {
        tokio::try_join!(
            one_way(&client, &server, pipes, &activity),
            one_way(&server, &client, pipes, &activity)
        )
    };
    let cut = tokio::select! {
        outcome = both => outcome.err().map(Cut::Failed),
        () = activity.silent(timings) => Some(Cut::Silent),
    };
    if let Some(cut) = cut {
        tracing::debug!(?cut, "A fallback connection was cut");
        socket::reset(client);
        socket::reset(server);
    }
    Ok(())
}

/// Why a connection is cut before both sides have ended.
#[derive(Debug)]
#[expect(dead_code, reason = "the cause is read in the log, through Debug")]
enum Cut {
    Failed(ForwardError),
    /// No byte moved for too long.
    Silent,
}

async fn one_way(
    from: &TcpStream,
    to: &TcpStream,
    pipes: &Pipes,
    activity: &Activity,
) -> Result<(), ForwardError> {
    cloudless_splice::forward(from, to, pipes, |_| activity.moved()).await?;
    activity.half_closed();
    Ok(())
}
