//! POST to an address book and DELETE of a registration (draft-bitfire-webdav-push-00 §3).

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cloudless_dav_proto::error::Condition;
use cloudless_dav_proto::request::{PushRegister, WebPushSubscription, parse_push_register};
use cloudless_store::{NewPushRegistration, PushOutcome, Timestamp};
use data_encoding::BASE64URL_NOPAD;
use http::header::{CONTENT_TYPE, EXPIRES, LOCATION};
use http::{HeaderValue, Response, StatusCode, Uri};

use super::{is_xml, read_xml};
use crate::clock::http_date;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::resource::push_registration_href;
use crate::{Body, blocking};

/// How long a registration lasts that does not say it. Clients may count on three days (§3.4).
const LIFE: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// How long it lasts at most. A phone that is lost is told no longer than this.
const LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest URL of a push resource, in bytes.
const PUSH_RESOURCE_LEN_MAX: usize = 2048;
/// An uncompressed point on P-256 (RFC 8291 §2).
const PUBLIC_KEY_LEN: usize = 65;
const AUTH_SECRET_LEN: usize = 16;

/// Registers the device for an address book that its user may read.
pub(super) async fn register<B>(
    request: Request,
    book: String,
    body: B,
) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Display,
{
    // A page of another site can have a browser send POST with a login that it remembers, and any body,
    // but not as XML.
    if !request.headers.get(CONTENT_TYPE).is_some_and(is_xml) {
        let reason = "Send a registration with Content-Type: application/xml.";
        return Err(Refusal::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    let body = read_xml(&request, body).await?;
    blocking::run(move || {
        let register = parse_push_register(&body)?;
        let Some(book) = request.address_book(&book)? else {
            return Err(Refusal::not_found());
        };
        if request.push.is_none() {
            let reason = "This server sends no push messages.";
            return Err(refuse(Condition::PushNotAvailable, reason));
        }
        let (on_content, on_properties) = (
            register.trigger.content_update,
            register.trigger.property_update,
        );
        if !on_content && !on_properties {
            let reason = "Name content-update or property-update as trigger.";
            return Err(refuse(Condition::NoSupportedTrigger, reason));
        }
        let expires_at = expiration(&register, request.now);
        let Some(wanted) = register.subscription.and_then(Subscription::check) else {
            let reason = "Send one web-push-subscription with an https push-resource, \
                          a subscription-public-key of type p256dh and an auth-secret.";
            return Err(refuse(Condition::InvalidSubscription, reason));
        };
        let new = NewPushRegistration {
            book: book.id,
            user: request.login.user,
            push_resource: wanted.push_resource,
            public_key: wanted.public_key,
            auth_secret: wanted.auth_secret,
            on_content,
            on_properties,
            expires_at,
        };
        let device = request.login.device;
        let name = match request.store.register_push(new, device, request.now)? {
            PushOutcome::Registered { name } => name,
            PushOutcome::TooMany => {
                let reason = "The device has too many push registrations.";
                return Err(Refusal::text(StatusCode::INSUFFICIENT_STORAGE, reason));
            }
            PushOutcome::NoSuchBook => return Err(Refusal::not_found()),
        };
        // DAVx5 takes an absolute URL only.
        let origin = request.origin.as_deref().unwrap_or_default();
        let location = format!("{origin}{}", push_registration_href(&name));
        let mut response = no_content();
        let headers = response.headers_mut();
        if let Ok(location) = HeaderValue::try_from(location) {
            headers.insert(LOCATION, location);
        }
        if let Ok(expires) = HeaderValue::try_from(http_date(expires_at)) {
            headers.insert(EXPIRES, expires);
        }
        Ok(response)
    })
    .await
}

/// Ends a registration of the user (§3.3).
pub(super) async fn unregister(request: Request, name: String) -> Result<Response<Body>, Refusal> {
    blocking::run(move || {
        let user = request.login.user;
        match request.store.unregister_push(user, &name, request.now)? {
            true => Ok(no_content()),
            false => Err(Refusal::not_found()),
        }
    })
    .await
}

/// A subscription that a message can be sent to.
struct Subscription {
    push_resource: String,
    public_key: Vec<u8>,
    auth_secret: Vec<u8>,
}

impl Subscription {
    /// Where the push resource leads is looked at when something is sent there.
    fn check(wanted: WebPushSubscription) -> Option<Self> {
        let encoding = wanted.content_encoding.as_deref().unwrap_or("aes128gcm");
        let public_key = decode(&wanted.public_key?)?;
        let auth_secret = decode(&wanted.auth_secret?)?;
        let is_usable = encoding == "aes128gcm"
            && is_push_resource(&wanted.push_resource)
            && public_key.len() == PUBLIC_KEY_LEN
            && public_key.first() == Some(&4)
            && auth_secret.len() == AUTH_SECRET_LEN;
        is_usable.then_some(Self {
            push_resource: wanted.push_resource,
            public_key,
            auth_secret,
        })
    }
}

fn is_push_resource(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    url.is_ascii()
        && url.len() <= PUSH_RESOURCE_LEN_MAX
        && uri.scheme_str() == Some("https")
        && uri.host().is_some_and(|host| !host.is_empty())
        && uri.authority().is_some_and(|it| !it.as_str().contains('@'))
        && !url.contains('#')
}

/// Some clients pad what is not to be padded.
fn decode(base64: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD
        .decode(base64.trim_end_matches('=').as_bytes())
        .ok()
}

/// When the registration ends. A time that is over, as of a client whose clock is wrong, is like
/// none.
fn expiration(register: &PushRegister, now: Timestamp) -> Timestamp {
    let after = |life: Duration| {
        let life = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
        Timestamp(now.0.saturating_add(life))
    };
    let requested: Option<SystemTime> = register
        .expires
        .as_deref()
        .and_then(|date| httpdate::parse_http_date(date).ok());
    match requested.map(Timestamp::from) {
        Some(requested) if requested > now => requested.min(after(LIFE_MAX)),
        _ => after(LIFE),
    }
}

fn refuse(condition: Condition, reason: &'static str) -> Refusal {
    Refusal::condition(StatusCode::FORBIDDEN, condition, reason)
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
