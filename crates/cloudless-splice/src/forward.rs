use std::io;
use std::ops::ControlFlow;

use rustix::io::Errno;
use tokio::io::Interest;

use crate::copy::Buffer;
use crate::pace::Pace;
use crate::pipes::{Lease, Pipes};
use crate::socket::{Socket, finish, uninterrupted};

/// After so many bytes without a wait, others get their turn.
const TURN_LEN: u64 = 1024 * 1024;
/// Fewer bytes at once are copied: a read and a write cost less than splicing in, splicing out, and
/// splicing in once more to see that there is nothing left.
const SPLICE_MIN: usize = 16 * 1024;

/// Why one direction ended before the FIN.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The socket to read from failed: usually its peer has reset it.
    #[error("cannot read from the connection")]
    Read(#[source] io::Error),
    /// The socket to write to failed: usually its peer has reset it.
    #[error("cannot write to the connection")]
    Write(#[source] io::Error),
}

/// Moves all bytes of one direction: from `from` to `to` until the FIN, which is passed on. Returns
/// how many bytes there were; `on_moved` is told each time how many the system has taken for `to`.
///
/// Few bytes at once are copied and many are spliced: how many there were tells how the next are
/// moved.
///
/// It moves 128 MiB a second at most, so that others have processors left.
///
/// The other direction of the connection is another call, awaited in the same task, and the first
/// error of the two is the connection's end: the system tells of a reset once, after which the other
/// direction may look as if it had ended well. (Where another task writes to `from`,
/// [`forward_to_fin`] leaves room to ask it.) Dropping the future loses the bytes under way, so the
/// connection is of no use then.
///
/// A direction that waits for bytes to move holds neither pipe nor buffer. One that waits for `to`
/// to take them does: up to 256 KiB.
///
/// # Errors
/// When a socket fails.
pub async fn forward(
    from: &impl Socket,
    to: &impl Socket,
    pipes: &Pipes,
    on_moved: impl FnMut(u64),
) -> Result<u64, ForwardError> {
    let total = forward_to_fin(from, to, pipes, on_moved).await?;
    finish(to).map_err(ForwardError::Write)?;
    Ok(total)
}

/// The same, but the FIN is the caller's to pass on.
///
/// # Errors
/// Those of [`forward`].
pub async fn forward_to_fin(
    from: &impl Socket,
    to: &impl Socket,
    pipes: &Pipes,
    mut on_moved: impl FnMut(u64),
) -> Result<u64, ForwardError> {
    let mut total = 0;
    let mut turn = 0;
    let mut pace = Pace::on_leg();
    let mut is_bulk = false;
    let mut can_splice = true;
    loop {
        from.ready(Interest::READABLE)
            .await
            .map_err(ForwardError::Read)?;
        let mut carrier = Carrier::take(pipes, is_bulk && can_splice);
        // Until the socket has nothing more.
        loop {
            match carrier.fill(from) {
                Ok(ControlFlow::Continue(n)) => is_bulk = n >= SPLICE_MIN,
                Ok(ControlFlow::Break(())) => return Ok(total),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if carrier.cannot(&error) => can_splice = false,
                Err(error) => return Err(ForwardError::Read(error)),
            }
            let before = total;
            while !carrier.is_empty() {
                match carrier.drain(to) {
                    Ok(moved) => {
                        total += moved;
                        turn += moved;
                        on_moved(moved);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        turn = 0;
                        to.ready(Interest::WRITABLE)
                            .await
                            .map_err(ForwardError::Write)?;
                    }
                    Err(error) => return Err(ForwardError::Write(error)),
                }
            }
            if carrier.is_splice() != (is_bulk && can_splice) {
                carrier = Carrier::take(pipes, is_bulk && can_splice);
            }
            if is_bulk {
                pace.moved(total - before).await;
            }
            if turn >= TURN_LEN {
                turn = 0;
                tokio::task::yield_now().await;
            }
            tokio::task::coop::consume_budget().await;
        }
    }
}

/// What holds the bytes between the two sockets.
enum Carrier<'a> {
    Copy(Buffer),
    Splice(Lease<'a>),
}

impl<'a> Carrier<'a> {
    /// A pipe, if it is to be one and there is one to be had.
    fn take(pipes: &'a Pipes, splices: bool) -> Self {
        let pipe = if splices { pipes.take() } else { None };
        pipe.map_or_else(|| Self::Copy(Buffer::new()), Self::Splice)
    }

    fn is_splice(&self) -> bool {
        matches!(self, Self::Splice(_))
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Copy(buffer) => buffer.is_empty(),
            Self::Splice(lease) => lease.is_empty(),
        }
    }

    /// Takes what the socket has, and returns how much that was; breaks at the FIN. It is called only
    /// while nothing is held: splice(2) says EAGAIN for a pipe without a free slot too, and few bytes
    /// in many segments fill the slots. Of an empty pipe it can only mean that the socket has nothing.
    fn fill(&mut self, from: &impl Socket) -> io::Result<ControlFlow<(), usize>> {
        debug_assert!(self.is_empty());
        let n = match self {
            Self::Copy(buffer) => buffer.fill(from)?,
            Self::Splice(lease) => {
                from.try_io(Interest::READABLE, || uninterrupted(|| lease.fill(from)))?
            }
        };
        Ok(match n {
            0 => ControlFlow::Break(()),
            n => ControlFlow::Continue(n),
        })
    }

    /// Gives to the socket what it takes of what is held.
    fn drain(&mut self, to: &impl Socket) -> io::Result<u64> {
        let n = match self {
            Self::Copy(buffer) => buffer.drain(to)?,
            Self::Splice(lease) => {
                to.try_io(Interest::WRITABLE, || uninterrupted(|| lease.drain(to)))?
            }
        };
        match n {
            0 => Err(io::ErrorKind::WriteZero.into()),
            n => Ok(n as u64),
        }
    }

    /// Whether this system does not splice such sockets, so that bytes have to be copied.
    fn cannot(&self, error: &io::Error) -> bool {
        let unsupported = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];
        self.is_splice()
            && Errno::from_io_error(error).is_some_and(|errno| unsupported.contains(&errno))
    }
}

#[cfg(test)]
mod tests;
