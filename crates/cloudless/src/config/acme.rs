//! `[acme]` in `home.toml`: the authority that signs public certificates, and how it is asked.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cloudless_home::certificate::{AcmeConfig, ExternalAccount, ValidationMethod};
use cloudless_proto::Redacted;
use data_encoding::BASE64URL_NOPAD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Deserializer, de};

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// The table; all of it may be left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AcmeTable {
    /// The authority's directory.
    #[serde(deserialize_with = "directory")]
    pub(crate) directory: String,
    /// Whose certificates the authority's servers have, in place of those that the system trusts.
    root_ca_file: Option<PathBuf>,
    /// How the authority reaches who runs this home.
    #[serde(deserialize_with = "contact")]
    contact: Option<String>,
    /// Which kind of certificate is ordered.
    profile: Option<String>,
    /// How names are proven.
    pub(crate) challenge: Challenge,
    /// The account of the authority's site that the ACME account belongs to.
    external_account: Option<ExternalAccountTable>,
}

/// How a name is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Challenge {
    #[serde(rename = "http-01")]
    Http01,
    #[default]
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// `external_account`: what the authority's site gives out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExternalAccountTable {
    key_id: String,
    #[serde(deserialize_with = "hmac_key")]
    hmac_key: Redacted<Vec<u8>>,
}

impl Default for AcmeTable {
    fn default() -> Self {
        Self {
            directory: LETS_ENCRYPT.to_owned(),
            root_ca_file: None,
            contact: None,
            profile: None,
            challenge: Challenge::default(),
            external_account: None,
        }
    }
}

impl AcmeTable {
    /// How names are proven.
    pub(crate) fn method(&self) -> ValidationMethod {
        match self.challenge {
            Challenge::Http01 => ValidationMethod::Http01,
            Challenge::TlsAlpn01 => ValidationMethod::TlsAlpn01,
        }
    }

    /// What home is told of it. Reads the certificates of those who say who the authority is.
    pub(crate) fn config(&self, state: &Path) -> anyhow::Result<AcmeConfig> {
        let roots = match &self.root_ca_file {
            Some(file) => certificates("root_ca_file", &state.join(file))?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        if roots.is_empty() {
            bail!(
                "this system has no certificates of authorities, so that no ACME authority is \
                 trusted: install ca-certificates"
            );
        }
        let external = self.external_account.as_ref();
        Ok(AcmeConfig {
            directory: self.directory.clone(),
            roots,
            contact: self.contact.clone(),
            profile: self.profile.clone(),
            method: self.method(),
            external_account: external.map(|external| ExternalAccount {
                key_id: external.key_id.clone(),
                hmac_key: external.hmac_key.clone(),
            }),
        })
    }
}

/// The certificates of authorities in a file that `setting` names.
pub(super) fn certificates(
    setting: &str,
    file: &Path,
) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let context = || format!("cannot read {setting} {}", file.display());
    let found = CertificateDer::pem_file_iter(file).with_context(context)?;
    let roots: Vec<_> = found.collect::<Result<_, _>>().with_context(context)?;
    if roots.is_empty() {
        bail!("{setting} {} holds no certificate", file.display());
    }
    Ok(roots)
}

fn directory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "letsencrypt" => Ok(LETS_ENCRYPT.to_owned()),
        "letsencrypt-staging" => Ok(LETS_ENCRYPT_STAGING.to_owned()),
        url if url.starts_with("https://") && url.parse::<http::Uri>().is_ok() => Ok(text),
        _ => Err(de::Error::custom(format!(
            "`{text}` is no directory; expected \"letsencrypt\", \"letsencrypt-staging\" or the URL \
             of an ACME directory, such as \"https://acme.example.org/directory\""
        ))),
    }
}

fn contact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mailbox = text.strip_prefix("mailto:");
    let is_mailbox = mailbox.is_some_and(|mailbox| mailbox.contains('@'));
    if is_mailbox && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(text));
    }
    Err(de::Error::custom(format!(
        "`{text}` is no contact; expected one such as \"mailto:me@example.org\""
    )))
}

fn hmac_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Redacted<Vec<u8>>, D::Error> {
    let text = Redacted::<String>::deserialize(deserializer)?;
    let text = text.expose().trim_end_matches('=');
    let key = BASE64URL_NOPAD.decode(text.as_bytes());
    key.map(Redacted::new).map_err(|_| {
        // The key is a secret and is not repeated.
        de::Error::custom("this is no base64url; copy the HMAC key as the authority gives it")
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(text: &str) -> Result<AcmeTable, String> {
        parse(text.as_bytes()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn lets_encrypt_by_tls_unless_it_says_otherwise() {
        let table = read("").unwrap();
        assert_eq!(table.directory, LETS_ENCRYPT);
        assert_eq!(table.challenge, Challenge::TlsAlpn01);
        let table = read("directory = \"letsencrypt-staging\"\nchallenge = \"http-01\"").unwrap();
        assert_eq!(table.directory, LETS_ENCRYPT_STAGING);
        assert_eq!(table.challenge, Challenge::Http01);
        let own = "directory = \"https://acme.example.org:14000/dir\"\nprofile = \"shortlived\"";
        assert_eq!(
            read(own).unwrap().directory,
            "https://acme.example.org:14000/dir"
        );
        for wrong in [
            "directory = \"http://acme.example.org/dir\"",
            "directory = \"acme.example.org\"",
            "challenge = \"dns-01\"",
            "contact = \"me@example.org\"",
            "external_account = { key_id = \"1\" }",
            "profil = \"shortlived\"",
        ] {
            assert!(read(wrong).unwrap_err().starts_with("1:"), "{wrong}");
        }
    }

    #[test]
    fn the_key_of_an_external_account_is_never_shown() {
        let table =
            read("external_account = { key_id = \"kid-1\", hmac_key = \"c2VjcmV0\" }").unwrap();
        let shown = format!("{table:?}");
        assert!(shown.contains("hmac_key: [redacted]"), "{shown}");
        assert_eq!(table.external_account.unwrap().hmac_key.expose(), b"secret");
        let fault = read("external_account = { key_id = \"1\", hmac_key = \"s3cr3t!\" }");
        // The line itself is shown, as for every mistake; the message does not repeat the key.
        assert!(fault.unwrap_err().contains("this is no base64url"));
    }
}
