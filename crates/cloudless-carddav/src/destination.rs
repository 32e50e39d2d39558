//! Where COPY and MOVE put a resource: the `Destination` and `Overwrite` headers (RFC 4918 §10.3,
//! §10.6).

use cloudless_dav_proto::header::{Destination, parse_overwrite};
use http::{HeaderMap, StatusCode};

use crate::refusal::{Refusal, chain};
use crate::request::Request;
use crate::resource::Resource;

/// Reads the `Destination`.
///
/// # Errors
/// 400 when there is none, 502 for another server, 403 for a place where nothing of this user can
/// be.
pub(crate) fn destination(request: &Request) -> Result<Resource, Refusal> {
    let bad = |reason| Refusal::text(StatusCode::BAD_REQUEST, reason);
    let mut values = request.headers.get_all("destination").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(bad("Send one Destination."));
    };
    let value = value
        .to_str()
        .map_err(|_| bad("The Destination is malformed."))?;
    Destination::parse(value)
        .map_err(|error| Refusal::text(StatusCode::BAD_REQUEST, chain(&error)))?;
    if !is_here(request, value) {
        let reason = "The Destination is another server.";
        return Err(Refusal::text(StatusCode::BAD_GATEWAY, reason));
    }
    Resource::parse(value)
        .filter(|resource| resource.user() == Some(&request.login.user_name))
        .ok_or_else(|| {
            let reason = "Nothing of yours can be at the Destination.";
            Refusal::text(StatusCode::FORBIDDEN, reason)
        })
}

/// Whether what is at the destination may be replaced.
///
/// # Errors
/// 400 for any other value than T and F.
pub(crate) fn overwrite(headers: &HeaderMap) -> Result<bool, Refusal> {
    let Some(value) = headers.get("overwrite") else {
        return Ok(true);
    };
    value
        .to_str()
        .ok()
        .and_then(parse_overwrite)
        .ok_or_else(|| Refusal::text(StatusCode::BAD_REQUEST, "Overwrite must be T or F."))
}

/// Tells whether a path or URL is one of this server. Ports differ where something forwards
/// connections, and TLS may end before; another name is another server, and so is another protocol.
pub(crate) fn is_here(request: &Request, url: &str) -> bool {
    let Ok(destination) = Destination::parse(url) else {
        return false;
    };
    let scheme = url.trim().split_once("://").map(|(scheme, _)| scheme);
    let is_http = |scheme: &str| {
        ["http", "https"]
            .iter()
            .any(|it| it.eq_ignore_ascii_case(scheme))
    };
    if destination.authority.is_some() && !scheme.is_some_and(is_http) {
        return false;
    }
    let there = destination.authority.as_deref().map(without_port);
    match (there, &request.host) {
        (Some(there), Some(here)) => there.eq_ignore_ascii_case(here),
        _ => true,
    }
}

/// The name in a host and port.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}
