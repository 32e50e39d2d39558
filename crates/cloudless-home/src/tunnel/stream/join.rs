//! A visitor's bytes to and from a server beside home that takes them as they are.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Buf;
use cloudless_http2::{DeliveryError, Observer, SendFromError};
use cloudless_splice::{ForwardError, Pipes, Socket, finish, forward, forward_to_fin, write};
use tokio::io::{AsyncWrite, Interest};

use super::reading::{Reading, lock};
use super::{Stream, stream_error};
use crate::status::Traffic;

/// Why a visitor and a server were cut from one another.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error("the connection to the server failed")]
    Server(#[source] io::Error),
    #[error("the visitor's connection failed")]
    Visitor(#[source] io::Error),
}

impl Stream {
    /// Moves all bytes both ways until visitor and server have both ended, each FIN where it
    /// belongs. What goes on a leg is not read where the system can do without.
    ///
    /// # Errors
    /// When one side cuts the other. The visitor is reset then; the server has to be told.
    pub(crate) async fn join<S: Socket + Send + 'static>(
        mut self,
        server: &Arc<S>,
        pipes: &Pipes,
    ) -> Result<(), Cut> {
        let (reading, traffic) = (self.reading.clone(), self.traffic.clone());
        let up = up(&reading, &traffic, server, pipes);
        tokio::try_join!(up, self.down(server, pipes)).map(drop)
    }

    async fn down<S: Socket + Send + 'static>(
        &mut self,
        server: &Arc<S>,
        pipes: &Pipes,
    ) -> Result<(), Cut> {
        let settled = self.ways.settled();
        let mut is_settled = false;
        loop {
            let went = Arc::new(Went(self.traffic.clone()));
            let sent = tokio::select! {
                sent = self.send.send_from(server.clone(), went, None) => Some(sent),
                () = settled.cancelled(), if !is_settled => {
                    is_settled = true;
                    let end = self.send.unheard_end();
                    end.map(|end| end.map_err(SendFromError::Socket))
                }
            };
            if let Some(sent) = sent {
                sent.map_err(|error| match error {
                    SendFromError::Socket(error) => Cut::Server(error),
                    SendFromError::Stream(error) => Cut::Visitor(stream_error(error)),
                })?;
                return self.finish().await.map_err(Cut::Visitor);
            }
            // Only with something to say is it worth to change over.
            let ready = server.ready(Interest::READABLE).await;
            ready.map_err(Cut::Server)?;
            self.leg().map_err(Cut::Visitor)?;
            if let Some(leg) = &self.leg {
                let went = |n| self.traffic.went(n, true);
                let forwarded = forward_to_fin(&**server, &**leg, pipes, went).await;
                forwarded.map_err(|error| match error {
                    ForwardError::Read(error) => Cut::Server(error),
                    ForwardError::Write(error) => Cut::Visitor(error),
                })?;
                // The tunnel's task may have heard of a reset by writing.
                if lock(&self.reading).has_failed_to_deliver() {
                    return Err(Cut::Server(io::ErrorKind::ConnectionReset.into()));
                }
                finish(&**leg).map_err(Cut::Visitor)?;
                self.finished = true;
                self.ways.finish();
                return Ok(());
            }
        }
    }

    async fn finish(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_shutdown(cx)).await
    }
}

/// Bytes that the tunnel takes from the server.
struct Went(Arc<Traffic>);

impl Observer for Went {
    fn moved(&self, n: usize) {
        self.0.went(n as u64, false);
    }

    fn waiting(&self, _n: usize) {}
}

/// Bytes that the server takes from the tunnel.
struct Came(Arc<Traffic>);

impl Observer for Came {
    fn moved(&self, n: usize) {
        self.0.came(n as u64, false);
    }

    fn waiting(&self, _n: usize) {}
}

async fn up<S: Socket + Send + 'static>(
    reading: &Mutex<Reading>,
    traffic: &Arc<Traffic>,
    server: &Arc<S>,
    pipes: &Pipes,
) -> Result<(), Cut> {
    // What was looked at already.
    let mut chunk = lock(reading).chunk();
    while !chunk.is_empty() {
        let n = write_some(&**server, &chunk).await.map_err(Cut::Server)?;
        chunk.advance(n);
        lock(reading).consume(n);
        traffic.came(n as u64, false);
    }
    let came = Arc::new(Came(traffic.clone()));
    let delivery = lock(reading).deliver_to(server.clone(), came);
    delivery.await.map_err(|error| match error {
        DeliveryError::Socket(error) => Cut::Server(error),
        DeliveryError::Stream(error) => Cut::Visitor(stream_error(error)),
    })?;
    let end = std::future::poll_fn(|cx| lock(reading).poll_chunk(cx)).await;
    end.map_err(Cut::Visitor)?;
    let leg = lock(reading).leg();
    let Some(leg) = leg else {
        return finish(&**server).map_err(Cut::Server);
    };
    let came = |n| traffic.came(n, true);
    match forward(&*leg, &**server, pipes, came).await {
        Ok(_) => lock(reading).leg_ended().map_err(Cut::Visitor),
        Err(ForwardError::Read(error)) => Err(Cut::Visitor(error)),
        Err(ForwardError::Write(error)) => Err(Cut::Server(error)),
    }
}

async fn write_some(server: &impl Socket, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match write(server, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                server.ready(Interest::WRITABLE).await?;
            }
            written => return written,
        }
    }
}
