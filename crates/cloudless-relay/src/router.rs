//! Decides where a connection of the TLS port goes.

use std::sync::Arc;

use bytes::Bytes;
use cloudless_proto::client_hello::{Malformed, Parsed};
use cloudless_proto::control::ALPN;
use cloudless_proto::leg;

use crate::listener::Connection;
use crate::run::Relay;
use crate::{home, legs, socket, tunnel, upstream};

/// What a browser shows that was sent to `http://…:443`.
const HTTPS_IS_SPOKEN_HERE: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 62\r\n\
    Connection: close\r\n\r\n\
    Only https is spoken here: change http:// in the URL to https\n";

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
            // On the heap, so that a visitor's task has no room for a tunnel in it.
            return Box::pin(tunnel::serve(relay, connection, opening)).await;
        }
        Parsed::NotTls if leg::begins(&opening) => {
            return legs::serve(relay, connection, opening).await;
        }
        parsed => parsed,
    };
    connection.permits.decided();
    let config = relay.config();
    let (class, servers) = match &parsed {
        // A home that is offline is still a home: what is meant for it goes nowhere else.
        Parsed::Name(hostname, _)
            if *hostname != config.server_name && relay.registry.key_of(hostname).is_some() =>
        {
            return home::visit(relay, connection, hostname.clone(), opening).await;
        }
        Parsed::Name(hostname, _) => match config.routes.of(hostname) {
            Some(servers) => ("route", servers),
            None if *hostname == config.server_name => ("own_name", &config.fallback),
            None => ("unknown_name", &config.fallback),
        },
        Parsed::NoServerName(_) => ("no_server_name", &config.fallback),
        Parsed::NotTls => ("not_tls", &config.fallback),
        Parsed::TooLong => ("too_long", &config.fallback),
        Parsed::Malformed(malformed) => (malformed_class(*malformed), &config.fallback),
        // The reader returns only outcomes that are final.
        Parsed::Incomplete => return,
    };
    relay.counters.count(class);
    match &servers.https {
        Some(address) => {
            let version = servers.proxy_protocol;
            upstream::pass(relay, &config, connection, opening, address, version).await;
        }
        None if is_plain_http(&opening) => {
            socket::close(connection.stream, HTTPS_IS_SPOKEN_HERE).await;
        }
        None => socket::close(connection.stream, b"").await,
    }
}

/// Whether the first bytes can only be a person's browser that was given the wrong scheme.
fn is_plain_http(opening: &[u8]) -> bool {
    let methods: [&[u8]; 7] = [
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"PUT ",
        b"OPTIONS ",
        b"PROPFIND ",
        b"REPORT ",
    ];
    methods.iter().any(|method| opening.starts_with(method))
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
