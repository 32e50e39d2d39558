//! The handshake. rustls makes it; here its bytes are read and written.

use std::io;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{ClientConfig, CommonState, Error, ExtractedSecrets, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::inbound::Inbound;
use crate::keys::{Kernel, Keys};
use crate::outbound::Outbound;
use crate::record;
use crate::state::{State, invalid};
use crate::stream::Stream;

/// What is read at a time.
const READ_LEN: usize = 4 * 1024;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    /// What it has proven, its own certificate or raw public key first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The protocol that was agreed on.
    pub alpn: Option<Vec<u8>>,
}

/// The server's side of a handshake.
///
/// # Errors
/// As tokio-rustls has them: those of `io`, `UnexpectedEof`, and `InvalidData` with a [`rustls::Error`]
/// inside.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ServerConfig>,
    io: S,
) -> io::Result<(Stream<S>, Peer)> {
    let connection = UnbufferedServerConnection::new(config).map_err(invalid)?;
    shake(connection, io).await
}

/// The client's side of a handshake with the server of this name.
///
/// # Errors
/// Those of [`accept`].
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    io: S,
) -> io::Result<(Stream<S>, Peer)> {
    let connection = UnbufferedClientConnection::new(config, name).map_err(invalid)?;
    shake(connection, io).await
}

async fn shake<C: Side, S: AsyncRead + AsyncWrite + Unpin>(
    mut side: C,
    mut io: S,
) -> io::Result<(Stream<S>, Peer)> {
    let arrived = drive(&mut side, &mut io).await?;
    let common = side.common();
    let peer = Peer {
        certificates: common
            .peer_certificates()
            .map(<[_]>::to_vec)
            .unwrap_or_default(),
        alpn: common.alpn_protocol().map(<[u8]>::to_vec),
    };
    let (secrets, kernel) = side.into_kernel().map_err(invalid)?;
    let (keys, sealer, opener) = Keys::new(kernel, secrets).map_err(invalid)?;
    let inbound = Inbound::new(opener, arrived);
    let state = State::new(io, keys, inbound, Outbound::new(sealer));
    Ok((Stream::new(state), peer))
}

/// Moves the handshake on to its end; returns what has arrived behind it.
async fn drive<C: Side, S: AsyncRead + AsyncWrite + Unpin>(
    side: &mut C,
    io: &mut S,
) -> io::Result<Vec<u8>> {
    let mut incoming = Vec::new();
    // rustls sees one record at a time, so that those behind the handshake stay as they are.
    let mut n_shown = 0;
    let mut outgoing = Vec::new();
    loop {
        let UnbufferedStatus { discard, state } = side.process(&mut incoming[..n_shown]);
        let step = match state {
            Ok(ConnectionState::EncodeTlsData(data)) => {
                encode(data, &mut outgoing).map_err(invalid)?;
                Step::GoOn
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Step::Send
            }
            Ok(ConnectionState::BlockedHandshake) => Step::Read,
            Ok(ConnectionState::WriteTraffic(_)) => Step::Done,
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => return Err(ended()),
            Ok(_) => Step::Fail(Error::HandshakeNotComplete),
            Err(error) => Step::Fail(error),
        };
        incoming.drain(..discard);
        n_shown -= discard;
        match step {
            Step::GoOn => {}
            Step::Fail(error) => {
                // The alert may be lost: the error is what counts.
                let _ = tell(side, &mut outgoing, io).await;
                return Err(invalid(error));
            }
            Step::Send => {
                io.write_all(&outgoing).await?;
                io.flush().await?;
                outgoing.clear();
            }
            // A server that waits for no certificate may speak before the end.
            Step::Done if !side.common().is_handshaking() => {
                if n_shown > 0 {
                    return Err(invalid(Error::HandshakeNotComplete));
                }
                return Ok(incoming);
            }
            Step::Done | Step::Read => n_shown = one_more(&mut incoming, n_shown, io).await?,
        }
    }
}

/// Sends what is queued before a failure, and because of it.
async fn tell<C: Side, S: AsyncWrite + Unpin>(
    side: &mut C,
    outgoing: &mut Vec<u8>,
    io: &mut S,
) -> io::Result<()> {
    while side.common().wants_write() {
        let UnbufferedStatus { state, .. } = side.process(&mut []);
        let Ok(ConnectionState::EncodeTlsData(data)) = state else {
            break;
        };
        encode(data, outgoing).map_err(invalid)?;
    }
    io.write_all(outgoing).await?;
    io.flush().await
}

enum Step {
    GoOn,
    Send,
    Read,
    Done,
    Fail(Error),
}

/// Where the record ends that begins at `start`, once all of it is there.
async fn one_more<S: AsyncRead + Unpin>(
    incoming: &mut Vec<u8>,
    start: usize,
    io: &mut S,
) -> io::Result<usize> {
    loop {
        match record::len(&incoming[start..]) {
            Ok(Some(len)) if start + len <= incoming.len() => return Ok(start + len),
            Ok(_) => {}
            // rustls says what is wrong with it, and tells the peer.
            Err(_) => return Ok(incoming.len()),
        }
        incoming.reserve(READ_LEN);
        if io.read_buf(incoming).await? == 0 {
            return Err(ended());
        }
    }
}

fn encode<Data>(mut data: EncodeTlsData<'_, Data>, outgoing: &mut Vec<u8>) -> Result<(), Error> {
    let start = outgoing.len();
    let fits = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            outgoing.resize(start + required_size, 0);
            data.encode(&mut outgoing[start..])
        }
        encoded => encoded,
    };
    fits.map(drop).map_err(|_| Error::EncryptError)
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof")
}

/// What rustls has for client and server each.
trait Side {
    type Data;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn common(&self) -> &CommonState;

    fn into_kernel(self) -> Result<(ExtractedSecrets, Kernel), Error>;
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn common(&self) -> &CommonState {
        self
    }

    fn into_kernel(self) -> Result<(ExtractedSecrets, Kernel), Error> {
        let (secrets, kernel) = self.dangerous_into_kernel_connection()?;
        Ok((secrets, Kernel::Client(kernel)))
    }
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn common(&self) -> &CommonState {
        self
    }

    fn into_kernel(self) -> Result<(ExtractedSecrets, Kernel), Error> {
        let (secrets, kernel) = self.dangerous_into_kernel_connection()?;
        Ok((secrets, Kernel::Server(kernel)))
    }
}
