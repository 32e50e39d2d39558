//! Decides where a connection of the TLS port goes.

use std::sync::Arc;

use bytes::Bytes;
use cloudless_proto::client_hello::Parsed;
use cloudless_proto::control::ALPN;
use cloudless_proto::leg;

use crate::listener::Connection;
use crate::outcome::Outcome;
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
    connection: Connection,
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
    let config = relay.config();
    // A home that is offline is still a home: what is meant for it goes nowhere else.
    if let Parsed::Name(hostname, _) = &parsed
        && *hostname != config.server_name
        && let Some(key) = relay.registry.key_of(hostname)
    {
        return home::visit(relay, connection, (hostname.clone(), key), opening).await;
    }
    let (outcome, servers) = match &parsed {
        Parsed::Name(hostname, _) => match config.routes.of(hostname) {
            Some(servers) => (Outcome::Route, servers),
            None if *hostname == config.server_name => (Outcome::OwnName, &config.fallback),
            None => (Outcome::UnknownName, &config.fallback),
        },
        Parsed::NoServerName(_) => (Outcome::NoServerName, &config.fallback),
        Parsed::NotTls => (Outcome::NotTls, &config.fallback),
        Parsed::TooLong => (Outcome::TooLong, &config.fallback),
        Parsed::Malformed(malformed) => ((*malformed).into(), &config.fallback),
        // The reader returns only outcomes that are final.
        Parsed::Incomplete => return,
    };
    relay.counters.count(outcome);
    match &servers.https {
        Some(address) => {
            if let Parsed::Name(hostname, _) = &parsed {
                relay.coalescing.passed_on(hostname);
            }
            let server = (address, servers.proxy_protocol);
            let config = Arc::clone(&config);
            upstream::pass(relay, config, connection, opening, server, Vec::new).await;
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
