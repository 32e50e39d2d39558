//! A visitor's bytes to and from a server beside home that takes them as they are.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use cloudless_splice::{Chunk, ForwardError, Pipes, Socket, finish, forward, write};
use tokio::io::{AsyncWrite, Interest};

use super::reading::{Reading, lock};
use super::{Stream, WRITE_MAX, stream_error};
use crate::status::Traffic;

const READ_LEN: usize = WRITE_MAX;

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
    pub(crate) async fn join(mut self, server: &impl Socket, pipes: &Pipes) -> Result<(), Cut> {
        let (reading, traffic) = (self.reading.clone(), self.traffic.clone());
        let up = up(&reading, &traffic, server, pipes);
        tokio::try_join!(up, self.down(server, pipes)).map(drop)
    }

    async fn down(&mut self, server: &impl Socket, pipes: &Pipes) -> Result<(), Cut> {
        loop {
            let ready = server.ready(Interest::READABLE).await;
            ready.map_err(Cut::Server)?;
            // Only with something to say is it worth to change over.
            self.leg().map_err(Cut::Visitor)?;
            if let Some(leg) = &self.leg {
                let went = |n| self.traffic.went(n, true);
                let forwarded = forward(server, &**leg, pipes, went).await;
                forwarded.map_err(|error| match error {
                    ForwardError::Read(error) => Cut::Server(error),
                    ForwardError::Write(error) => Cut::Visitor(error),
                })?;
                self.finished = true;
                self.ways.finish();
                return Ok(());
            }
            match Chunk::read(server, READ_LEN) {
                Ok(chunk) if chunk.bytes.is_empty() => {
                    return self.finish().await.map_err(Cut::Visitor);
                }
                Ok(chunk) => {
                    let n = chunk.bytes.len();
                    self.send_all(chunk.bytes).await.map_err(Cut::Visitor)?;
                    self.traffic.went(n as u64, false);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Cut::Server(error)),
            }
        }
    }

    /// Sends all on the stream, as fast as its window allows.
    async fn send_all(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let wanted = bytes.len();
            let n = std::future::poll_fn(|cx| self.poll_capacity(cx, wanted)).await?;
            let sent = self.send.send_data(bytes.split_to(n), false);
            sent.map_err(stream_error)?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_shutdown(cx)).await
    }
}

async fn up(
    reading: &Mutex<Reading>,
    traffic: &Arc<Traffic>,
    server: &impl Socket,
    pipes: &Pipes,
) -> Result<(), Cut> {
    loop {
        let chunk = std::future::poll_fn(|cx| lock(reading).poll_chunk(cx)).await;
        let mut chunk = chunk.map_err(Cut::Visitor)?;
        if chunk.is_empty() {
            break;
        }
        while !chunk.is_empty() {
            let n = write_some(server, &chunk).await.map_err(Cut::Server)?;
            chunk.advance(n);
            lock(reading).consume(n);
            traffic.came(n as u64, false);
        }
    }
    let leg = lock(reading).leg();
    let Some(leg) = leg else {
        return finish(server).map_err(Cut::Server);
    };
    let came = |n| traffic.came(n, true);
    match forward(&*leg, server, pipes, came).await {
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
