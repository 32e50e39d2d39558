//! A home that redeems a join code.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use cloudless_proto::control::{FromRelay, Refusal};
use cloudless_proto::join_code::JoinSecret;
use cloudless_proto::{Hostname, PublicKey};

use super::refused::Refused;
use crate::crowd::source_of;
use crate::home_key::HomeKey;
use crate::registry::{Claim, RedeemError};
use crate::run::Relay;
use crate::status::unix_now;
use crate::tunnel::Home;

/// Redeems a join code for the home's key.
pub(super) async fn join(
    relay: &Arc<Relay>,
    home: &Home,
    hostname: Hostname,
    secret: JoinSecret,
) -> Result<Hostname, Refused> {
    let claim = relay
        .registry
        .claim(home.key, &hostname, &secret, unix_now());
    match claim {
        Claim::Invited => {}
        // The first answer may have been lost. Nothing limits how often a home asks for it again, so
        // that it costs nothing.
        Claim::Owned => return Ok(hostname),
        Claim::Rejected => return Err(rejected(relay, home)),
    }
    let (redeemer, key, name) = (Arc::clone(relay), home.key, hostname.clone());
    let redemption = tokio::task::spawn_blocking(move || redeem(&redeemer, key, &name, &secret));
    match redemption.await {
        Ok(Ok(())) => Ok(hostname),
        Ok(Err(error @ (RedeemError::HostnameTaken | RedeemError::Routed))) => {
            Err(Refused::new(Refusal::HostnameTaken, &error.to_string()))
        }
        Ok(Err(error @ RedeemError::Rejected)) => {
            Err(Refused::new(Refusal::JoinRejected, &error.to_string()))
        }
        Ok(Err(RedeemError::Write(error))) => {
            tracing::error!(
                ?error,
                "A join code was refused because the state cannot be written"
            );
            Err(Refused::unavailable())
        }
        Err(error) => {
            tracing::error!(%error, "Redeeming a join code failed");
            Err(Refused::unavailable())
        }
    }
}

/// Only guesses have a rate: who has a right code is kept from it by nobody of the same source.
fn rejected(relay: &Relay, home: &Home) -> Refused {
    let source = source_of(home.address.ip());
    let admitted = {
        let mut joins = relay.joins.lock().unwrap_or_else(PoisonError::into_inner);
        let per_source_max = relay.config().limits.joins_per_minute_per_source;
        joins.admit(source, per_source_max, Instant::now())
    };
    match admitted {
        Ok(()) => Refused::new(Refusal::JoinRejected, &RedeemError::Rejected.to_string()),
        Err(wait) => {
            let message = "too many join requests: try again later";
            Refused::new(Refusal::RateLimited, message).for_now(wait)
        }
    }
}

/// Redeems the code, with all that comes of it. Blocks on the disk, and is through with it when the
/// home hangs up meanwhile: nothing of it comes of asking again.
fn redeem(
    relay: &Relay,
    key: PublicKey,
    hostname: &Hostname,
    secret: &JoinSecret,
) -> Result<(), RedeemError> {
    let routes = &relay.config().routes;
    let redeemed = relay
        .registry
        .redeem(key, hostname, secret, routes, unix_now())?;
    if !redeemed.is_new {
        return Ok(());
    }
    relay.coalescing.look();
    if let Some(replaced) = redeemed.replaced {
        relay.sessions.close(&replaced);
    }
    let key = HomeKey::from(key);
    if let Some(session) = relay.sessions.live(&key) {
        let hostnames = relay.registry.hostnames_of(&key);
        session.tell(FromRelay::Hostnames { hostnames });
    }
    tracing::info!("A home joined");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use cloudless_proto::join_code::JoinCode;
    use tempfile::TempDir;
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::Config;
    use crate::identity::new_identity;
    use crate::registry::{InviteTerms, Registry};

    const HOME: Home = Home {
        key: PublicKey([1; 32]),
        address: std::net::SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 7),
    };

    fn relay(directory: &TempDir) -> Arc<Relay> {
        let name = "relay.example.test".parse().unwrap();
        let addresses = vec!["relay.example.test:443".to_owned()];
        let config = Config::new(name, new_identity([200; 32]), addresses);
        let registry = Registry::open(directory.path()).unwrap();
        Arc::new(Relay::new(config, registry, CancellationToken::new()).unwrap())
    }

    fn invite(relay: &Relay, secret: u8) -> JoinCode {
        let terms = InviteTerms {
            hostname: "home.example.test".parse().unwrap(),
            ttl: Duration::from_secs(600),
            replace: true,
        };
        let (relay_key, secret) = (PublicKey([200; 32]), JoinSecret::new([secret; 16]));
        let code = relay
            .registry
            .invite(&relay.config(), relay_key, terms, secret, unix_now());
        code.unwrap()
    }

    /// What comes of it without waiting for anything.
    fn at_once<T>(event: impl Future<Output = T>) -> Option<T> {
        match pin!(event).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn a_name_that_is_joined_again_is_answered_and_costs_nothing() {
        let directory = TempDir::new().unwrap();
        let relay = relay(&directory);
        let JoinCode {
            hostname, secret, ..
        } = invite(&relay, 7);
        let again = |secret| join(&relay, &HOME, hostname.clone(), secret);
        assert!(again(secret.clone()).await.is_ok());
        assert!(at_once(relay.coalescing.is_to_look()).is_some());
        for secret in [secret, JoinSecret::new([9; 16])] {
            // So no thread was asked to write.
            assert!(at_once(again(secret)).is_some_and(|answer| answer.is_ok()));
            assert!(at_once(relay.coalescing.is_to_look()).is_none());
        }
        // A code is used up by the home that has the name, which is no news of it.
        let JoinCode { secret, .. } = invite(&relay, 8);
        assert!(again(secret.clone()).await.is_ok());
        assert!(at_once(relay.coalescing.is_to_look()).is_none());
        let claim = |key| relay.registry.claim(key, &hostname, &secret, unix_now());
        assert_eq!(claim(HOME.key), Claim::Owned);
        assert_eq!(claim(PublicKey([2; 32])), Claim::Rejected);
    }

    #[tokio::test]
    async fn a_home_that_hangs_up_has_joined_all_the_same() {
        let directory = TempDir::new().unwrap();
        let relay = relay(&directory);
        let code = invite(&relay, 7);
        let joining = join(&relay, &HOME, code.hostname.clone(), code.secret);
        // Its thread has begun.
        drop(at_once(joining));
        let look = timeout(Duration::from_secs(20), relay.coalescing.is_to_look());
        look.await.unwrap();
        let key = relay.registry.key_of(&code.hostname);
        assert_eq!(key, Some(HOME.key.into()));
    }
}
