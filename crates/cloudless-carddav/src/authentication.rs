//! Basic authentication (RFC 7617): who is asking.

use cloudless_dav_proto::basic::Basic;
use cloudless_store::{KnownLogin, Login, Store, StoreError, Timestamp};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::Body;
use crate::password::hash_password;

/// What a request without a valid login is told. Clients store the password under this realm, so it
/// never changes.
pub(crate) const CHALLENGE: HeaderValue =
    HeaderValue::from_static(r#"Basic realm="cloudless", charset="UTF-8""#);

/// A user name and the hash of a device's password.
pub(crate) struct Credentials {
    user: String,
    secret_hash: [u8; 32],
}

impl Credentials {
    /// Reads the `Authorization` header. None when there is no such header, more than one, or one
    /// that is not well-formed Basic.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        let basic = Basic::parse(value.to_str().ok()?)?;
        Some(Self {
            // Account names are lower case only; a phone's keyboard likes to begin with a capital.
            user: basic.user().to_ascii_lowercase(),
            secret_hash: hash_password(basic.password()),
        })
    }

    /// The name that the login is for, whether or not there is such a user.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// Looks the login up among those that are in memory, without blocking.
    pub(crate) fn check_known(&self, store: &Store, now: Timestamp) -> KnownLogin {
        store.authenticate_known(&self.user, &self.secret_hash, now)
    }

    /// Looks the login up. Blocks on the store. None when the user or the password is unknown, or
    /// the device was revoked.
    ///
    /// # Errors
    /// When the store cannot be read: then nobody can say whether the login is right.
    pub(crate) fn check(&self, store: &Store, now: Timestamp) -> Result<Option<Login>, StoreError> {
        store.authenticate(&self.user, &self.secret_hash, now)
    }
}

/// The answer to a request without a valid login. It is the same for every path, so it tells
/// nothing about what exists.
pub(crate) fn challenge() -> Response<Body> {
    let mut response = Response::new(Body::from(
        "Log in with a user name and a device password.\n",
    ));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Option<(String, [u8; 32])> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        Credentials::from_headers(&headers).map(|it| (it.user, it.secret_hash))
    }

    #[test]
    fn one_header_is_a_login_whose_user_is_in_lower_case() {
        const VALID: &str = "Basic TWU6c2VjcmV0";
        let expected = Some(("me".to_owned(), hash_password("secret")));
        assert_eq!(parse(&[VALID]), expected);
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&["Basic !!!"]), None);
        assert_eq!(parse(&[VALID, VALID]), None, "two headers");
    }
}
