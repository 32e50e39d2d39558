//! The names that an authority is validating at this moment, and what it is answered.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use cloudless_proto::Hostname;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::PrivateKeyDer;

/// The protocol that an authority names in TLS, and no other client does (RFC 8737 section 4).
pub(crate) const ALPN: &[u8] = b"acme-tls/1";
/// Where an authority looks over plain HTTP (RFC 8555 section 8.3).
const HTTP_PATH: &str = "/.well-known/acme-challenge/";

/// What visitors of one name are answered if they are the authority. Nobody else learns anything by
/// asking: the answers prove that home holds the ACME account, and nothing more.
#[derive(Debug, Default)]
pub(crate) struct Validations(RwLock<HashMap<Hostname, Answer>>);

#[derive(Clone, Debug)]
enum Answer {
    Http {
        path: String,
        key_authorization: String,
    },
    Tls(Arc<ServerConfig>),
}

/// Why an answer could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("cannot make the certificate for the validation")]
    Certificate(#[source] rcgen::Error),
    #[error("cannot use the certificate for the validation")]
    Tls(#[source] rustls::Error),
}

impl Validations {
    /// The TLS that proves the name; `None` unless it is being validated that way.
    pub(crate) fn tls(&self, hostname: &Hostname) -> Option<Arc<ServerConfig>> {
        match self.read(hostname)? {
            Answer::Tls(config) => Some(config),
            Answer::Http { .. } => None,
        }
    }

    /// The body that proves the name over plain HTTP; `None` unless it is being validated that way
    /// and this is the path.
    pub(crate) fn http(&self, hostname: &Hostname, path: &str) -> Option<String> {
        match self.read(hostname)? {
            Answer::Http {
                path: expected,
                key_authorization,
            } => (path == expected).then_some(key_authorization),
            Answer::Tls(_) => None,
        }
    }

    /// Answers an authority that comes by TLS-ALPN-01 with the digest of the key authorization, until
    /// the returned value is dropped.
    pub(super) fn begin_tls(
        self: &Arc<Self>,
        hostname: &Hostname,
        digest: &[u8],
    ) -> Result<UnderWay, AnswerError> {
        let config = server_config(hostname, digest)?;
        Ok(self.begin(hostname, Answer::Tls(config)))
    }

    /// The same by HTTP-01, with the key authorization.
    pub(super) fn begin_http(
        self: &Arc<Self>,
        hostname: &Hostname,
        token: &str,
        key_authorization: &str,
    ) -> UnderWay {
        let answer = Answer::Http {
            path: format!("{HTTP_PATH}{token}"),
            key_authorization: key_authorization.to_owned(),
        };
        self.begin(hostname, answer)
    }

    fn begin(self: &Arc<Self>, hostname: &Hostname, answer: Answer) -> UnderWay {
        self.write().insert(hostname.clone(), answer);
        UnderWay {
            validations: self.clone(),
            hostname: hostname.clone(),
        }
    }

    fn read(&self, hostname: &Hostname) -> Option<Answer> {
        let answers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(hostname).cloned()
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Hostname, Answer>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A validation; its end takes the answer back.
#[derive(Debug)]
pub(super) struct UnderWay {
    validations: Arc<Validations>,
    hostname: Hostname,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.validations.write().remove(&self.hostname);
    }
}

/// A self-signed certificate with the digest in it, which is good for nothing else
/// (RFC 8737 section 3).
fn server_config(hostname: &Hostname, digest: &[u8]) -> Result<Arc<ServerConfig>, AnswerError> {
    let made = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::DnsName(hostname.to_string().try_into()?)];
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = params.self_signed(&key)?;
        Ok((certificate.der().clone(), key.serialize_der()))
    };
    let (certificate, key) = made().map_err(AnswerError::Certificate)?;
    let key = PrivateKeyDer::Pkcs8(key.into());
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(AnswerError::Tls)?;
    // Not checked against each other: the extension is critical, and nobody but authorities knows it.
    let pair = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(AnswerError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(pair));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_lasts_as_long_as_its_order_and_is_for_one_name_and_one_way() {
        let validations = Arc::new(Validations::default());
        let (home, other) = (
            "home.example.org".parse().unwrap(),
            "other.example.org".parse().unwrap(),
        );
        let under_way = validations.begin_tls(&home, &[7; 32]).unwrap();
        assert!(validations.tls(&home).is_some());
        assert!(validations.tls(&other).is_none());
        let path = "/.well-known/acme-challenge/token";
        assert_eq!(validations.http(&home, path), None);
        drop(under_way);
        assert!(validations.tls(&home).is_none());

        let under_way = validations.begin_http(&home, "token", "token.thumb");
        let answer = validations.http(&home, path);
        assert_eq!(answer.as_deref(), Some("token.thumb"));
        for (name, path) in [
            (&other, path),
            (&home, "/.well-known/acme-challenge/toke"),
            (&home, "/.well-known/acme-challenge/token2"),
        ] {
            assert_eq!(validations.http(name, path), None, "{name} {path}");
        }
        assert!(validations.tls(&home).is_none());
        drop(under_way);
        assert_eq!(validations.http(&home, path), None);
    }
}
