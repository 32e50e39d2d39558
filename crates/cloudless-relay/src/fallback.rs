//! Passes connections that are for no home to the web server that was there before the relay.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::activity::Activity;
use crate::config::Timings;
use crate::socket;

const READ_LEN: usize = 64 * 1024;

/// Sends `opening`, which was read from `client` already, to the web server at `address`, and then
/// all that either side says to the other.
///
/// # Errors
/// When the web server cannot be reached; the client's connection is closed in any case.
pub(crate) async fn forward(
    client: TcpStream,
    opening: Bytes,
    address: SocketAddr,
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
            copy(&client, &server, &activity),
            copy(&server, &client, &activity)
        )
    };
    let outcome = tokio::select! {
        outcome = both => outcome.map(drop),
        () = activity.silent(timings) => Err(io::ErrorKind::TimedOut.into()),
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "A fallback connection was cut");
        socket::reset(client);
        socket::reset(server);
    }
    Ok(())
}

/// Copies until `from` ends, and passes its FIN on.
async fn copy(from: &TcpStream, to: &TcpStream, activity: &Activity) -> io::Result<()> {
    loop {
        from.readable().await?;
        // The buffer exists only while there is something to copy.
        let mut buffer = BytesMut::with_capacity(READ_LEN);
        match from.try_read_buf(&mut buffer) {
            Ok(0) => {
                socket::finish(to)?;
                activity.half_closed();
                return Ok(());
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        while !buffer.is_empty() {
            to.writable().await?;
            match to.try_write(&buffer) {
                Ok(n) => {
                    drop(buffer.split_to(n));
                    activity.moved();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
