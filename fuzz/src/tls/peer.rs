//! A peer that makes its handshake as it should, or does not, and then seals what it likes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::{
    ClientConnection, Connection, ConnectionTrafficSecrets, ContentType, ProtocolVersion,
    ServerConnection, SupportedCipherSuite,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ends::{client, name, server};

/// What a record holds at most (RFC 8446 section 5.1),
const RECORD_MAX: usize = 16 * 1024;
/// and what this peer tries to have in one.
const SEALED_MAX: usize = RECORD_MAX + 300;
/// In the place of a record's type: what follows is no record.
const RAW: u8 = 0xFF;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
const USER_CANCELED: u8 = 90;

/// Says what its script has, and then nothing more.
///
/// A script is records, each as its type, its length in two bytes, and its content, which is sealed;
/// of type 0 the content has its own type and padding in it.
pub(super) struct Peer<'a> {
    script: &'a [u8],
    /// While the handshake lasts, and it has part in it.
    connection: Option<Connection>,
    /// The script follows its first message.
    breaks_off: bool,
    /// Another key follows the first data.
    updates: bool,
    /// Whether it hangs up at the end.
    pub(super) closes: bool,
    /// How many bytes come at a time.
    piece: usize,
    bytes: Vec<u8>,
    n_read: usize,
    pub(super) n_heard: usize,
    /// The data that it has sealed, up to the end or its first fault,
    pub(super) said: Vec<u8>,
    is_over: bool,
    is_data_alone: bool,
}

impl<'a> Peer<'a> {
    pub(super) fn new(options: u8, script: &'a [u8]) -> Self {
        let has = |bit: u8| options & 1 << bit != 0;
        let connection = if has(0) {
            Connection::from(ServerConnection::new(server()).expect("a server"))
        } else {
            Connection::from(ClientConnection::new(client(), name()).expect("a client"))
        };
        let begins = !has(1);
        let mut peer = Self {
            script,
            connection: begins.then_some(connection),
            breaks_off: has(2),
            updates: has(3),
            closes: has(4),
            piece: if has(5) { 7 } else { 8 * 1024 },
            bytes: Vec::new(),
            n_read: 0,
            n_heard: 0,
            said: Vec::new(),
            is_over: false,
            is_data_alone: false,
        };
        if begins {
            peer.go_on();
        } else {
            peer.bytes.extend_from_slice(script);
        }
        peer
    }

    /// Whether it has said nothing but data, all of which has to be heard.
    pub(super) fn is_flawless(&self) -> bool {
        self.is_data_alone && !self.is_over
    }

    /// Takes the handshake further, and says the rest behind it.
    fn go_on(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        send(&mut connection, &mut self.bytes);
        if self.breaks_off && !self.bytes.is_empty() {
            self.bytes.extend_from_slice(self.script);
        } else if connection.is_handshaking() {
            self.connection = Some(connection);
        } else {
            self.seal(connection);
        }
    }

    fn seal(&mut self, mut connection: Connection) {
        self.is_data_alone = true;
        if self.updates {
            io::Write::write_all(&mut connection.writer(), b"first").expect("it has room");
            self.said.extend_from_slice(b"first");
            connection.refresh_traffic_keys().expect("TLS 1.3");
            send(&mut connection, &mut self.bytes);
        }
        let mut sealer = Sealer::of(connection);
        let mut rest = self.script;
        while let [kind, high, low, after @ ..] = rest {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            let (content, later) = after.split_at(len.min(SEALED_MAX).min(after.len()));
            rest = later;
            if *kind == RAW {
                self.is_over |= !content.is_empty();
                self.bytes.extend_from_slice(content);
                continue;
            }
            self.bytes.extend(sealer.seal(*kind, content));
            self.is_over |= content.len() > RECORD_MAX;
            self.count(without_padding(*kind, content));
        }
    }

    /// Keeps what may be heard of a record.
    fn count(&mut self, (kind, content): (u8, &[u8])) {
        self.is_over |= match kind {
            DATA => false,
            // Tickets, if they are whole.
            HANDSHAKE => !content.starts_with(&[4]),
            ALERT => !matches!(content, [_, USER_CANCELED]),
            _ => true,
        };
        self.is_data_alone &= kind == DATA && !content.is_empty();
        if kind == DATA && !self.is_over {
            self.said.extend_from_slice(content);
        }
    }
}

fn send(connection: &mut Connection, bytes: &mut Vec<u8>) {
    while connection.wants_write() {
        connection.write_tls(bytes).expect("a vector takes all");
    }
}

/// What a record is once its padding is off (RFC 8446 section 5.4).
fn without_padding(kind: u8, content: &[u8]) -> (u8, &[u8]) {
    match content.iter().rposition(|byte| *byte != 0) {
        Some(last) if kind == 0 => (content[last], &content[..last]),
        _ => (kind, content),
    }
}

/// Seals records as rustls does.
struct Sealer {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Sealer {
    fn of(connection: Connection) -> Self {
        let Some(SupportedCipherSuite::Tls13(suite)) = connection.negotiated_cipher_suite() else {
            unreachable!("both ends speak TLS 1.3 alone");
        };
        let secrets = connection
            .dangerous_extract_secrets()
            .expect("the configuration lets them out");
        let (sequence, secrets) = secrets.tx;
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
        else {
            unreachable!("TLS 1.3 has no other ciphers");
        };
        let mut sealer = Self {
            encrypter: suite.aead_alg.encrypter(key, iv),
            sequence: 0,
        };
        // Those that have left already: AWS-LC counts from the first, or refuses.
        while sealer.sequence < sequence {
            sealer.seal(DATA, &[]);
        }
        sealer
    }

    fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ: ContentType::from(kind),
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(content),
        };
        let sealed = self.encrypter.encrypt(message, self.sequence);
        self.sequence += 1;
        sealed.expect("a key and a short record").encode()
    }
}

impl AsyncRead for Peer<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let peer = self.get_mut();
        let rest = &peer.bytes[peer.n_read..];
        if rest.is_empty() && !peer.closes {
            return Poll::Pending;
        }
        let n = rest.len().min(peer.piece).min(target.remaining());
        target.put_slice(&rest[..n]);
        peer.n_read += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let peer = self.get_mut();
        peer.n_heard += bytes.len();
        if let Some(connection) = &mut peer.connection {
            let mut rest = bytes;
            while !rest.is_empty() {
                connection.read_tls(&mut rest)?;
                connection.process_new_packets().map_err(io::Error::other)?;
            }
            peer.go_on();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
