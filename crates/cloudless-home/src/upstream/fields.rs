//! Header fields on their way to a server behind home and back (RFC 9110 section 7.6).
//!
//! Hop-by-hop fields end here, in both directions. What tells a server who the visitor is comes from
//! home alone: a visitor's own word is removed, also in spellings that servers take for the same.

use std::net::{IpAddr, SocketAddr};

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_SCRIPT_NAME: HeaderName = HeaderName::from_static("x-script-name");

/// Of one connection only, whatever `Connection` says.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What servers believe of a proxy: who the visitor is, and which page is meant.
const EDGE_ONLY: [&str; 14] = [
    "client-ip",
    "forwarded",
    "proxy",
    "remote-user",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-remote-user",
    "x-rewrite-url",
    "x-script-name",
];
const EDGE_ONLY_PREFIX: &str = "x-forwarded-";

/// How a request came to home.
pub(super) struct Edge<'a> {
    /// The visitor, as the relay told.
    pub(super) address: Option<SocketAddr>,
    /// The name, and the port if it was given, that the visitor asked for.
    pub(super) authority: &'a Authority,
    /// What was taken from the path's beginning, without a slash at the end; empty for nothing.
    pub(super) prefix: &'a str,
}

/// Turns the fields of a visitor's request into those that a server gets. The length of the body and
/// the host are told anew by who sends it.
pub(super) fn to_server(headers: &mut HeaderMap, edge: &Edge<'_>) {
    remove_hop_by_hop(headers);
    let spoofed: Vec<_> = headers
        .keys()
        .filter(|name| is_for_the_edge(name.as_str()))
        .cloned()
        .collect();
    for name in spoofed {
        headers.remove(name);
    }
    // Home has answered it: it reads the body when the server does.
    headers.remove(EXPECT);
    headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);
    join_cookies(headers);
    let mut say = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(value)) {
            headers.insert(name, value);
        }
    };
    say(FORWARDED, forwarded(edge));
    if let Some(address) = edge.address {
        say(X_FORWARDED_FOR, address.ip().to_canonical().to_string());
    }
    say(X_FORWARDED_HOST, edge.authority.to_string());
    say(X_FORWARDED_PROTO, "https".to_owned());
    if !edge.prefix.is_empty() {
        say(X_FORWARDED_PREFIX, edge.prefix.to_owned());
        say(X_SCRIPT_NAME, edge.prefix.to_owned());
    }
}

/// RFC 7239 section 4.
fn forwarded(edge: &Edge<'_>) -> String {
    let node = match edge.address.map(|it| it.ip().to_canonical()) {
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => format!("\"[{ip}]\""),
        None => "unknown".to_owned(),
    };
    format!("for={node};host=\"{}\";proto=https", edge.authority)
}

/// What is wrong with the head of a server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MalformedAnswer {
    #[error("its answer has Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    #[error("its answer has several Content-Length")]
    Lengths,
    #[error("its answer has a Transfer-Encoding that is not chunked")]
    Coding,
    #[error("it switched to another protocol, which nobody had asked for")]
    Switched,
}

/// Turns the fields of a server's answer into those that the visitor gets; 101 is none.
pub(super) fn to_visitor(
    status: StatusCode,
    method: &Method,
    headers: &mut HeaderMap,
) -> Result<(), MalformedAnswer> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(MalformedAnswer::Switched);
    }
    let lengths = headers.get_all(CONTENT_LENGTH).iter();
    let n_lengths: usize = lengths
        .map(|value| value.as_bytes().split(|byte| *byte == b',').count())
        .sum();
    let codings: Vec<_> = headers.get_all(TRANSFER_ENCODING).iter().collect();
    match codings[..] {
        [] if n_lengths > 1 => return Err(MalformedAnswer::Lengths),
        [] => {}
        _ if n_lengths > 0 => return Err(MalformedAnswer::LengthAndCoding),
        [coding] if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {}
        _ => return Err(MalformedAnswer::Coding),
    }
    remove_hop_by_hop(headers);
    // The length of what is not sent; elsewhere hyper knows it.
    let is_bodiless = method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
    if !is_bodiless {
        headers.remove(CONTENT_LENGTH);
    }
    Ok(())
}

/// Whether a request wants to go on as a WebSocket (RFC 6455 section 4.1). No other protocol is
/// switched to: what follows would be requests that nobody has looked at.
pub(super) fn wants_websocket(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let is_websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    method == Method::GET
        && version == Version::HTTP_11
        && protocols.next().is_some_and(is_websocket)
        && protocols.next().is_none()
        && connection_options(headers).any(|it| it.eq_ignore_ascii_case("upgrade"))
}

/// Takes out what is of one connection.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = connection_options(headers)
        .filter_map(|name| name.parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// What `Connection` lists (RFC 9110 section 7.6.1).
fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CONNECTION).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Whether a server might take it for the word of its proxy. Where fields become variables of a
/// program (RFC 3875 section 4.1.18), `-` and `_` are one, so that no field with a `_` is passed on.
fn is_for_the_edge(name: &str) -> bool {
    name.contains('_') || EDGE_ONLY.contains(&name) || name.starts_with(EDGE_ONLY_PREFIX)
}

/// One field, as HTTP/1.1 wants it (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let values: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&values.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests;
