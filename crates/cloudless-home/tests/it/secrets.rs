//! What is secret shows in no debug output, and so in no log.

use std::fmt::Debug;

use cloudless_home::admin::{ClientCertificate, Reply};
use cloudless_home::certificate::{AcmeConfig, ExternalAccount, ValidationMethod};
use cloudless_home::trust::{TransparencyConfig, TrustConfig};
use cloudless_home::{Config, Proxy, PushConfig, PushTimings};
use cloudless_proto::Redacted;
use cloudless_proto::join_code::JoinSecret;
use data_encoding::{BASE64, HEXLOWER};

use crate::fixture::add_device;
use crate::relay::new_key;

/// However a debug output would write them.
#[track_caller]
fn assert_hides(shown: &dyn Debug, secret: &[u8]) {
    for text in [format!("{shown:?}"), format!("{shown:#?}")] {
        let plain = String::from_utf8_lossy(secret).into_owned();
        let list = format!("{secret:?}");
        let list = list.trim_matches(['[', ']']).to_owned();
        let pretty = format!("{secret:#?}");
        for written in [
            plain,
            list,
            pretty,
            HEXLOWER.encode(secret),
            BASE64.encode(secret),
        ] {
            assert!(!text.contains(&written), "{text}");
        }
    }
}

#[test]
fn no_secret_is_in_debug_output() {
    let directory = tempfile::tempdir().unwrap();
    let store = cloudless_store::Store::open(directory.path()).unwrap();
    let mut added = add_device(&store, "me", "phone", 7);
    let password = added.password.expose().clone();
    let certificate = ClientCertificate {
        pkcs12_base64: Redacted::new("cGtjczEyLXNlY3JldA".to_owned()),
        password: Redacted::new("pkcs12-password".to_owned()),
    };
    added.client_certificate = Some(certificate);
    let reply = Reply::DeviceAdded(added);
    for secret in [&*password, "cGtjczEyLXNlY3JldA", "pkcs12-password"] {
        assert_hides(&reply, secret.as_bytes());
    }
    let hash = cloudless_carddav::hash_password(&password);
    let now = cloudless_store::Timestamp(1);
    let login = store.authenticate("me", &hash, now).unwrap();
    assert!(login.is_some());
    assert_hides(&login, &hash);
    assert_hides(&store, &hash);

    let key = new_key();
    let mut config = Config::new(vec![], vec![], key.clone_key(), directory.path().into());
    config.proxy = Some(Proxy::new("http://me:proxy-password@127.0.0.1:1", "").unwrap());
    config.push = Some(PushConfig {
        key: key.clone_key(),
        contact: None,
        private_hosts: vec![],
        roots: vec![],
        timings: PushTimings::default(),
    });
    config.acme = Some(AcmeConfig {
        external_account: Some(ExternalAccount {
            key_id: "me".to_owned(),
            hmac_key: Redacted::new(b"hmac-key".to_vec()),
        }),
        directory: "https://ca.example/directory".to_owned(),
        roots: vec![],
        contact: None,
        profile: None,
        method: ValidationMethod::default(),
    });
    config.trust = Some(TrustConfig {
        transparency: Some(TransparencyConfig {
            webhook: Some(Redacted::new("https://alarm.example/token".to_owned())),
            ..TransparencyConfig::default()
        }),
        ..TrustConfig::default()
    });
    assert_hides(&config, b"hmac-key");
    assert_hides(&config, b"alarm.example/token");
    assert_hides(&config, key.secret_pkcs8_der());
    assert_hides(&config, b"proxy-password");
    assert_hides(&config, BASE64.encode(b"me:proxy-password").as_bytes());
    assert_hides(&JoinSecret::new([93; 16]), &[93; 16]);
    assert_hides(&cloudless_proto::leg::Token::new([93; 16]), &[93; 16]);
}
