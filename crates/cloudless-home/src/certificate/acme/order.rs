//! One order, from the first request to the certificate.

use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::Hostname;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeHandle, ChallengeType, Error,
    Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use rustls_pki_types::CertificateDer;

use super::failure::OrderError;
use super::schedule::Failure;
use super::validations::{UnderWay, Validations};
use crate::certificate::ValidationMethod;

/// The profile that is taken where the authority has it and home.toml names no other one:
/// certificates for servers and nothing else.
const DEFAULT_PROFILE: &str = "tlsserver";
/// How an authority is asked whether it has done its part.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

/// What is ordered, and how.
pub(super) struct Ordering<'a> {
    pub(super) hostname: &'a Hostname,
    pub(super) key: &'a KeyPair,
    pub(super) method: ValidationMethod,
    pub(super) profile: Option<&'a str>,
    /// The certificate that the new one takes the place of.
    pub(super) replaces: Option<&'a CertificateDer<'static>>,
    pub(super) validations: &'a Arc<Validations>,
}

impl Ordering<'_> {
    /// Orders a certificate, answers the authority that comes to look, and returns the chain in PEM.
    /// Sets no deadline of its own. When it is dropped, the authority finds no answer any more.
    pub(super) async fn run(&self, account: &Account) -> Result<String, OrderError> {
        let mut order = self.place(account).await?;
        let answer = self.prove(&mut order).await?;
        if let Some(answer) = answer {
            let ready = order.poll_ready(&POLLING).await;
            drop(answer);
            // The authority has judged an invalid order alone; else the question failed, as by a refused nonce.
            let is_invalid = matches!(order.state().status, OrderStatus::Invalid);
            match ready {
                Ok(OrderStatus::Ready) => {}
                Err(error) if !is_invalid => return Err(OrderError::Acme(error)),
                Ok(_) | Err(_) => return Err(self.why_not_ready(&mut order).await),
            }
        }
        let request = self.signing_request().map_err(OrderError::Key)?;
        order
            .finalize_csr(&request)
            .await
            .map_err(OrderError::Acme)?;
        order
            .poll_certificate(&POLLING)
            .await
            .map_err(OrderError::Acme)
    }

    async fn place(&self, account: &Account) -> Result<Order, OrderError> {
        let names = [Identifier::Dns(self.hostname.to_string())];
        let profile = self.profile(account)?;
        let new = || match &profile {
            Some(profile) => NewOrder::new(&names).profile(profile),
            None => NewOrder::new(&names),
        };
        let replaces = self.replaces.map(CertificateIdentifier::try_from);
        if let Some(Ok(replaces)) = replaces {
            match account.new_order(&new().replaces(replaces)).await {
                Ok(order) => return Ok(order),
                // The authority knows no such certificate, or has seen another one in its place.
                Err(error) if is_about_replacing(&error) => {
                    tracing::debug!(%error, "The order does not say what it replaces");
                }
                Err(error) => return Err(OrderError::Acme(error)),
            }
        }
        account.new_order(&new()).await.map_err(OrderError::Acme)
    }

    fn profile(&self, account: &Account) -> Result<Option<String>, OrderError> {
        let mut offered: Vec<&str> = account.profiles().map(|profile| profile.name).collect();
        offered.sort_unstable();
        let wanted = self.profile.unwrap_or(DEFAULT_PROFILE);
        if offered.contains(&wanted) {
            return Ok(Some(wanted.to_owned()));
        }
        match self.profile {
            None => Ok(None),
            Some(wanted) => Err(OrderError::ProfileNotOffered {
                wanted: wanted.to_owned(),
                offered: match offered.as_slice() {
                    [] => "none".to_owned(),
                    offered => offered.join(", "),
                },
            }),
        }
    }

    /// Has an answer ready and the authority come to look; `None` when it knows already.
    async fn prove(&self, order: &mut Order) -> Result<Option<UnderWay>, OrderError> {
        let mut answer = None;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(OrderError::Acme)?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                _ => return Err(OrderError::Invalid),
            }
            let kind = match self.method {
                ValidationMethod::Http01 => ChallengeType::Http01,
                ValidationMethod::TlsAlpn01 => ChallengeType::TlsAlpn01,
            };
            let not_offered = || OrderError::MethodNotOffered {
                hostname: self.hostname.clone(),
                method: self.method,
            };
            let mut challenge = authorization.challenge(kind).ok_or_else(not_offered)?;
            answer = Some(self.begin(&challenge)?);
            challenge.set_ready().await.map_err(OrderError::Acme)?;
        }
        Ok(answer)
    }

    fn begin(&self, challenge: &ChallengeHandle<'_>) -> Result<UnderWay, OrderError> {
        let authorization = challenge.key_authorization();
        match self.method {
            ValidationMethod::Http01 => Ok(self.validations.begin_http(
                self.hostname,
                &challenge.token,
                authorization.as_str(),
            )),
            ValidationMethod::TlsAlpn01 => self
                .validations
                .begin_tls(self.hostname, authorization.digest().as_ref())
                .map_err(OrderError::Answer),
        }
    }

    /// What the authority says that it has found.
    async fn why_not_ready(&self, order: &mut Order) -> OrderError {
        let mut problem = None;
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if authorization.refresh().await.is_err() {
                continue;
            }
            let challenges = authorization.challenges.iter();
            problem = challenges
                .filter_map(|challenge| challenge.error.clone())
                .next()
                .or(problem);
        }
        OrderError::NotValidated {
            hostname: self.hostname.clone(),
            method: self.method,
            problem,
            relay_lost: false,
        }
    }

    /// The request that the authority signs (RFC 2986), in DER.
    fn signing_request(&self) -> Result<Vec<u8>, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::DnsName(self.hostname.to_string().try_into()?)];
        let request = params.serialize_request(self.key)?;
        Ok(request.der().to_vec())
    }
}

/// Whether an order that says what it replaces was refused, perhaps for that.
fn is_about_replacing(error: &Error) -> bool {
    match error {
        Error::Unsupported(_) => true,
        Error::Api(_) => super::failure::failure_of(error) == Failure::Refused,
        _ => false,
    }
}
