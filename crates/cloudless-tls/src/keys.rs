//! The keys after the handshake. rustls derives each of them, and its ciphers use them.

use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{
    InboundOpaqueMessage, InboundPlainMessage, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundPlainMessage,
};
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, ExtractedSecrets, ProtocolVersion,
    Tls13CipherSuite,
};

use crate::record::HEADER_LEN;

/// What rustls keeps of a connection whose records are not its own.
pub(crate) enum Kernel {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

/// Makes the next key of either direction.
pub(crate) struct Keys {
    kernel: Kernel,
    suite: &'static Tls13CipherSuite,
}

impl Keys {
    /// Those with which the handshake has ended.
    pub(crate) fn new(
        kernel: Kernel,
        secrets: ExtractedSecrets,
    ) -> Result<(Self, Sealer, Opener), Error> {
        let suite = match &kernel {
            Kernel::Client(kernel) => kernel.negotiated_cipher_suite(),
            Kernel::Server(kernel) => kernel.negotiated_cipher_suite(),
        };
        let suite = suite
            .tls13()
            .ok_or_else(|| Error::General("only TLS 1.3 is spoken here".to_owned()))?;
        let keys = Self { kernel, suite };
        let sealer = keys.sealer(secrets.tx)?;
        let opener = keys.opener(secrets.rx)?;
        Ok((keys, sealer, opener))
    }

    /// For what is sent after a KeyUpdate to the peer.
    pub(crate) fn next_sealer(&mut self) -> Result<Sealer, Error> {
        let secrets = match &mut self.kernel {
            Kernel::Client(kernel) => kernel.update_tx_secret(),
            Kernel::Server(kernel) => kernel.update_tx_secret(),
        };
        self.sealer(secrets?)
    }

    /// For what comes after a KeyUpdate of the peer.
    pub(crate) fn next_opener(&mut self) -> Result<Opener, Error> {
        let secrets = match &mut self.kernel {
            Kernel::Client(kernel) => kernel.update_rx_secret(),
            Kernel::Server(kernel) => kernel.update_rx_secret(),
        };
        self.opener(secrets?)
    }

    fn sealer(
        &self,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<Sealer, Error> {
        let (key, iv) = key_and_iv(secrets)?;
        let limit = if sequence == 0 {
            // One less, for the KeyUpdate itself.
            self.suite.common.confidentiality_limit.saturating_sub(1)
        } else {
            // Of a key that rustls has sealed with already (a server's tickets), this cipher would take the
            // first number that it sees for zero, and refuse some of those behind it.
            sequence
        };
        Ok(Sealer {
            encrypter: self.suite.aead_alg.encrypter(key, iv),
            sequence,
            limit,
        })
    }

    fn opener(
        &self,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<Opener, Error> {
        let (key, iv) = key_and_iv(secrets)?;
        Ok(Opener {
            decrypter: self.suite.aead_alg.decrypter(key, iv),
            sequence,
        })
    }
}

fn key_and_iv(
    secrets: ConnectionTrafficSecrets,
) -> Result<(rustls::crypto::cipher::AeadKey, rustls::crypto::cipher::Iv), Error> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok((key, iv)),
        _ => Err(Error::General(
            "a cipher suite that is not known".to_owned(),
        )),
    }
}

/// Seals records by one key.
pub(crate) struct Sealer {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
    /// So many records and no more.
    limit: u64,
}

impl Sealer {
    /// A record of these bytes, one after the other.
    pub(crate) fn seal(
        &mut self,
        content_type: ContentType,
        chunks: &[&[u8]],
    ) -> Result<Vec<u8>, Error> {
        let next = self.sequence.checked_add(1).ok_or(Error::EncryptError)?;
        let message = OutboundPlainMessage {
            typ: content_type,
            version: ProtocolVersion::TLSv1_3,
            payload: OutboundChunks::new(chunks),
        };
        let sealed = self.encrypter.encrypt(message, self.sequence)?;
        self.sequence = next;
        Ok(sealed.encode())
    }

    /// Whether the next record has to be by another key.
    pub(crate) fn is_worn(&self) -> bool {
        self.sequence >= self.limit
    }

    /// As if it had sealed so many records that few are left.
    #[cfg(test)]
    pub(crate) fn wear(&mut self, left: u64) {
        self.limit = self.sequence + left;
    }
}

/// Opens records by one key.
pub(crate) struct Opener {
    decrypter: Box<dyn MessageDecrypter>,
    sequence: u64,
}

impl Opener {
    /// Opens the whole record where it lies; what it holds begins behind its header.
    pub(crate) fn open<'a>(
        &mut self,
        record: &'a mut [u8],
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let next = self.sequence.checked_add(1).ok_or(Error::DecryptError)?;
        let Some((_, payload)) = record.split_at_mut_checked(HEADER_LEN) else {
            return Err(Error::DecryptError);
        };
        let message = InboundOpaqueMessage::new(
            ContentType::ApplicationData,
            ProtocolVersion::TLSv1_2,
            payload,
        );
        let opened = self.decrypter.decrypt(message, self.sequence)?;
        self.sequence = next;
        Ok(opened)
    }
}
