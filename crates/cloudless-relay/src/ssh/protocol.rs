//! What is spoken with SSH clients.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve};
use russh::server::Config;
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};

use super::HostKey;
use crate::SOFTWARE;
use crate::config::Timings;

/// Whoever guesses keys waits this long for each wrong one.
const REJECTION: Duration = Duration::from_secs(1);
/// Keys that a client may offer. An agent has several.
const LOGINS_MAX: usize = 6;
/// What a client may send on a channel before it is told that it may send more.
const WINDOW: u32 = 2 * 1024 * 1024;
const PACKET_LEN: u32 = 32 * 1024;
/// Packets of one channel that wait for the visitor's task, which takes them at once.
const CHANNEL_QUEUE: usize = 32;
/// Packets of all visitors that wait for the connection.
const QUEUE: usize = 16;

/// Key exchanges, with the strict one that Terrapin (CVE-2023-48795) has no hold on.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];
const CIPHERS: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::CHACHA20_POLY1305];
/// Of no use with these ciphers, but both sides have to name one.
const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];
/// The relay's own is the first one.
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
];

/// The settings of all SSH connections.
#[derive(Clone)]
pub(crate) struct Protocol(Arc<Config>);

impl Protocol {
    pub(crate) fn new(host_key: &HostKey, timings: &Timings) -> Self {
        Self(Arc::new(Config {
            server_id: SshId::Standard(Cow::Owned(format!(
                "SSH-2.0-{}",
                SOFTWARE.replace('/', "_")
            ))),
            methods: MethodSet::from(&[MethodKind::PublicKey][..]),
            auth_rejection_time: REJECTION,
            // The first question is which methods there are, and guesses nothing.
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: vec![host_key.private().clone()],
            window_size: WINDOW,
            maximum_packet_size: PACKET_LEN,
            channel_buffer_size: CHANNEL_QUEUE,
            event_buffer_size: QUEUE,
            preferred: Preferred {
                kex: Cow::Borrowed(KEX),
                key: Cow::Borrowed(KEYS),
                cipher: Cow::Borrowed(CIPHERS),
                mac: Cow::Borrowed(MACS),
                compression: Cow::Borrowed(&[compression::NONE]),
                ..Preferred::DEFAULT
            },
            max_auth_attempts: LOGINS_MAX,
            // Only for a client that takes nothing: the relay's pings keep every other one active.
            inactivity_timeout: Some(timings.dead_after.max(timings.ssh_login)),
            keepalive_interval: None,
            ..Config::default()
        }))
    }

    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol(..)")
    }
}
