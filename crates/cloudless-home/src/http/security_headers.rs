//! What every answer says to a browser that should not be here.

use http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Hosts;

/// Nothing that is served is a page: no script, no frame, no form.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";
/// A page of another site cannot have an answer as an image or a script.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const YEAR: &str = "max-age=31536000";

/// Adds what is not said yet.
pub(super) fn add(headers: &mut HeaderMap, hosts: &Hosts) {
    let mut say = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    say(X_CONTENT_TYPE_OPTIONS, "nosniff");
    say(CONTENT_SECURITY_POLICY, POLICY);
    say(REFERRER_POLICY, "no-referrer");
    say(RESOURCE_POLICY, "same-origin");
    if let Hosts::Only(_) = hosts {
        say(STRICT_TRANSPORT_SECURITY, YEAR);
    }
}
