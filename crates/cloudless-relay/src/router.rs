//! Decides where a connection of the TLS port goes.

use std::sync::Arc;

use bytes::Bytes;
use cloudless_proto::client_hello::{Malformed, Parsed};
use cloudless_proto::control::ALPN;
use cloudless_proto::leg;

use crate::listener::Connection;
use crate::run::Relay;
use crate::{fallback, home, legs, socket, tunnel};

/// Serves a connection whose first bytes are `opening`, to its end.
pub(crate) async fn route(
    relay: &Arc<Relay>,
    mut connection: Connection,
    parsed: Parsed,
    opening: Bytes,
) {
    let parsed = match parsed {
        Parsed::Name(hostname, offer)
            if hostname == relay.config().server_name && offer.offers(ALPN) =>
        {
            return tunnel::serve(relay, connection, opening).await;
        }
        Parsed::NotTls if leg::begins(&opening) => {
            return legs::serve(relay, connection, opening).await;
        }
        parsed => parsed,
    };
    connection.permits.decided();
    let class = match parsed {
        Parsed::Name(hostname, _) if hostname == relay.config().server_name => "own_name",
        // A home that is offline is still a home: what is meant for it goes nowhere else.
        Parsed::Name(hostname, _) if relay.registry.key_of(&hostname).is_some() => {
            return home::visit(relay, connection, hostname, opening).await;
        }
        Parsed::Name(..) => "unknown_name",
        Parsed::NoServerName(_) => "no_server_name",
        Parsed::NotTls => "not_tls",
        Parsed::TooLong => "too_long",
        Parsed::Malformed(malformed) => malformed_class(malformed),
        // The reader returns only outcomes that are final.
        Parsed::Incomplete => return,
    };
    relay.counters.count(class);
    let Connection {
        stream, permits, ..
    } = connection;
    let Some(address) = relay.config().fallback_https else {
        return socket::close(stream, b"").await;
    };
    let Some(_permit) = relay.visitors.admit(relay.config().limits.visitors) else {
        relay.counters.count("visitor_limit");
        return;
    };
    if let Err(error) = fallback::forward(
        stream,
        opening,
        address,
        &relay.pipes,
        &relay.config().timings,
    )
    .await
    {
        tracing::warn!(%error, "The HTTPS fallback cannot be reached");
        relay.counters.count("fallback_unreachable");
    }
    drop(permits);
}

/// One class for each way in which a ClientHello is wrong.
fn malformed_class(malformed: Malformed) -> &'static str {
    match malformed {
        Malformed::AlpnLength => "malformed_alpn_length",
        Malformed::CipherSuitesLength => "malformed_cipher_suites_length",
        Malformed::CompressionMethodsLength => "malformed_compression_methods_length",
        Malformed::DuplicateAlpn => "malformed_duplicate_alpn",
        Malformed::DuplicateServerName => "malformed_duplicate_server_name",
        Malformed::EmptyRecord => "malformed_empty_record",
        Malformed::ExtensionLength => "malformed_extension_length",
        Malformed::ExtensionsLength => "malformed_extensions_length",
        Malformed::HandshakeType(_) => "malformed_handshake_type",
        Malformed::HelloLength => "malformed_hello_length",
        Malformed::HelloVersion(_) => "malformed_hello_version",
        Malformed::Hostname(_) => "malformed_hostname",
        Malformed::NameType(_) => "malformed_name_type",
        Malformed::RecordLength(_) => "malformed_record_length",
        Malformed::RecordType(_) => "malformed_record_type",
        Malformed::RecordVersion(_) => "malformed_record_version",
        Malformed::ServerNameLength => "malformed_server_name_length",
        Malformed::SessionIdLength => "malformed_session_id_length",
        Malformed::TrailingBytes => "malformed_trailing_bytes",
    }
}
