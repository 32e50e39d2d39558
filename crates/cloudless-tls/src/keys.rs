//! The keys after the handshake, each of which rustls derives.

use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{InboundOpaqueMessage, InboundPlainMessage, make_tls13_aad};
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, ExtractedSecrets, ProtocolVersion,
    Tls13CipherSuite,
};

use crate::cipher::{Cipher, TAG_LEN};

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
        Ok(Sealer {
            cipher: Cipher::new(secrets)?,
            sequence,
            // One less, for the KeyUpdate itself.
            limit: self.suite.common.confidentiality_limit.saturating_sub(1),
        })
    }

    fn opener(
        &self,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<Opener, Error> {
        Ok(Opener {
            cipher: Cipher::new(secrets)?,
            sequence,
        })
    }
}

/// Seals records by one key.
pub(crate) struct Sealer {
    cipher: Cipher,
    sequence: u64,
    /// So many records and no more.
    limit: u64,
}

impl Sealer {
    /// Makes a record of what stands in `buffer` from `start` on: room for a header, and what the record
    /// is to hold.
    pub(crate) fn seal(
        &mut self,
        content_type: ContentType,
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), Error> {
        let next = self.sequence.checked_add(1).ok_or(Error::EncryptError)?;
        buffer.push(content_type.into());
        let Some((header, inner)) = buffer[start..].split_first_chunk_mut() else {
            return Err(Error::EncryptError);
        };
        *header = make_tls13_aad(inner.len() + TAG_LEN);
        let tag = self.cipher.seal(self.sequence, *header, inner)?;
        buffer.extend_from_slice(&tag);
        self.sequence = next;
        Ok(())
    }

    /// Whether the next record has to be by another key.
    pub(crate) fn is_worn(&self) -> bool {
        self.sequence >= self.limit
    }

    /// How many records this key has sealed, by rustls too.
    #[cfg(test)]
    pub(crate) fn n_sealed(&self) -> u64 {
        self.sequence
    }

    /// As if it had sealed so many records that few are left.
    #[cfg(test)]
    pub(crate) fn wear(&mut self, left: u64) {
        self.limit = self.sequence + left;
    }

    /// As if it had sealed all records that can be numbered, and may go on.
    #[cfg(test)]
    pub(crate) fn exhaust(&mut self) {
        self.sequence = u64::MAX;
        self.limit = u64::MAX;
    }
}

/// Opens records by one key.
pub(crate) struct Opener {
    cipher: Cipher,
    sequence: u64,
}

impl Opener {
    /// Opens the whole record where it lies; what it holds begins behind its header.
    pub(crate) fn open<'a>(
        &mut self,
        record: &'a mut [u8],
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let next = self.sequence.checked_add(1).ok_or(Error::DecryptError)?;
        let Some((header, sealed)) = record.split_first_chunk_mut() else {
            return Err(Error::DecryptError);
        };
        let inner = self.cipher.open(self.sequence, *header, sealed)?;
        self.sequence = next;
        InboundOpaqueMessage::new(
            ContentType::ApplicationData,
            ProtocolVersion::TLSv1_2,
            inner,
        )
        .into_tls13_unpadded_message()
    }
}
