//! Whether a certificate may be ordered now, and with which account.

use std::path::Path;
use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::trust::zone::{Check, Trap};
use cloudless_proto::trust::{Level, is_special_use};
use tokio::time::timeout;

use super::Trust;
use crate::certificate::{
    AcmeConfig, Gate, IntendedOrder, KnownAccount, Permission, Refusal, known_accounts,
};
use crate::trust::report::{Account, records, wanted};

/// What the logs may take before an order is let wait.
const LOGS_MAX: Duration = Duration::from_secs(45);

impl Trust {
    /// Whether an order may be made: `Err` says why not and what to do.
    pub(super) async fn decide(&self, hostname: &Hostname, account: Account) -> Result<(), String> {
        self.learn(hostname, account);
        match self.config.level(hostname) {
            Level::HonestRelay => return Ok(()),
            Level::Pinned => {
                return Err(format!(
                    "{hostname} is pinned: its certificate is of home's own authority, and no other is ordered"
                ));
            }
            Level::Public | Level::ClientCertificates => {}
        }
        if is_special_use(hostname) {
            return Err(format!(
                "nothing is ordered for {hostname}: no public authority may issue for a name like this. \
                 For one of your own, write trust = \"honest-relay\" below [hostname.\"{hostname}\"] in \
                 home.toml"
            ));
        }
        self.check_clock().await;
        let looked = self.look(hostname).await;
        let traps = looked.map(|it| it.traps).unwrap_or_default();
        // Behind a proxy the relay's name may never be looked up, and a renewal does not wait for that.
        let is_renewal = self.kept(hostname).is_clean;
        let (leads, guards): (Vec<_>, Vec<_>) = traps
            .iter()
            .filter(|trap| !(is_renewal && matches!(trap, Trap::UnknownRelay(_))))
            .partition(|trap| trap.check() == Check::Addresses);
        if let Some(refusal) = self.refusal(hostname, &guards) {
            return Err(refusal);
        }
        self.require_clean(hostname).await?;
        match self.refusal(hostname, &leads) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// Takes note of the account that a name's next order is made with: whatever the level, as the
    /// level may be raised while a certificate of that account is there.
    fn learn(&self, hostname: &Hostname, account: Account) {
        let known = self.kept(hostname);
        if known.ordering() == Some(&account) {
            return;
        }
        if known.account.is_some() && !self.is_free(hostname) {
            tracing::warn!(
                "The CAA records of a name have to name another account or method from its next order \
                 on; see `cloudless home doctor`"
            );
        }
        self.change(hostname, |name| name.learn(account));
    }

    /// Takes note of an account that was imported, or of a method that was set, while home was not
    /// running: what to publish is told before it starts. Blocks on the disk.
    pub(super) fn catch_up(&self, hostname: &Hostname, state_dir: &Path, acme: &AcmeConfig) {
        let Some(known) = self.kept(hostname).ordering().cloned() else {
            // The authority has not said yet by which name CAA records know it.
            return;
        };
        // A damaged file is told when something is ordered.
        let accounts = known_accounts(state_dir).unwrap_or_default();
        let mut here = accounts.iter().filter(|it| it.directory == acme.directory);
        let is_elsewhere =
            |it: &KnownAccount| it.uri == known.uri && it.directory != acme.directory;
        if let Some(account) = here.next()
            && !accounts.iter().any(is_elsewhere)
        {
            let uri = account.uri.clone();
            let method = acme.method.to_string();
            let issuer = known.issuer;
            self.learn(
                hostname,
                Account {
                    issuer,
                    uri,
                    method,
                },
            );
        }
    }

    /// The text of a refusal, when something stands against it.
    fn refusal(&self, hostname: &Hostname, traps: &[&Trap]) -> Option<String> {
        let mut wrong = traps.iter().filter(|trap| !trap.is_advice()).peekable();
        wrong.peek()?;
        let told: Vec<_> = wrong
            .map(|trap| format!("{trap}: {}", trap.remedy()))
            .collect();
        let mut text = format!("nothing is ordered for {hostname} yet. {}", told.join(". "));
        let is_caa = |trap: &&&Trap| trap.check() == Check::Caa;
        if traps.iter().any(|trap| is_caa(&trap)) {
            let wanted = wanted(self.config.level(hostname), self.kept(hostname).ordering());
            let records = records(hostname, wanted.as_ref()).join(" and ");
            text.push_str(&format!(". The records to publish: {records}"));
        }
        Some(text)
    }

    /// Before the first order, and the first after the name was not known to be protected, the logs must
    /// have told everything since, and nothing unknown.
    async fn require_clean(&self, hostname: &Hostname) -> Result<(), String> {
        let known = || self.kept(hostname);
        if known().is_clean {
            return Ok(());
        }
        let transparency = self.transparency.as_ref();
        let Some(transparency) = transparency.filter(|it| it.monitors().next().is_some()) else {
            tracing::warn!(
                "A certificate is ordered without a look at who else has one: nobody watches the logs, \
                 as [transparency] in home.toml says"
            );
            return Ok(());
        };
        let asked = async {
            for monitor in transparency.monitors() {
                let told = self.ask_logs(transparency, monitor, hostname).await;
                if told.is_ok() {
                    break;
                }
            }
            // What is not taken now is tried again by the watch.
            let _ = self.tell().await;
        };
        let is_late = timeout(LOGS_MAX, asked).await.is_err();
        let known = known();
        if let Some(issuance) = known.watched.in_use() {
            return Err(format!(
                "nothing is ordered for {hostname}: {issuance}, and home did not make its key: whoever \
                 has that key can imitate the name until the certificate ends. If you had it made \
                 yourself, say `cloudless home trust --accept {}`; otherwise use a name that was never \
                 used",
                issuance.key
            ));
        }
        if !known.is_told() {
            if is_late {
                // The watch takes the time that it needs, and the next order finds what it was told.
                self.want(transparency, hostname);
            }
            let cause = known.watched.error();
            let cause = cause.unwrap_or_else(|| "no answer yet".to_owned());
            return Err(format!(
                "nothing is ordered for {hostname} yet: whether somebody else has a certificate for it \
                 is not known, as the logs could not be asked ({cause})"
            ));
        }
        self.change(hostname, |name| name.is_clean = name.is_told());
        Ok(())
    }
}

impl Gate for Trust {
    fn learn(&self, order: &IntendedOrder) {
        if let Some(account) = account_of(order) {
            self.learn(&order.hostname, account);
        }
    }

    fn may_order<'a>(&'a self, order: &'a IntendedOrder) -> Permission<'a> {
        Box::pin(async move {
            let Some(account) = account_of(order) else {
                return Err(Refusal {
                    message: format!(
                        "nothing is ordered for {}: the authority's directory does not say by which \
                         name CAA records know it (caaIdentities), so nobody else can be kept from \
                         a certificate; use another authority",
                        order.hostname
                    ),
                });
            };
            let decided = self.decide(&order.hostname, account).await;
            decided.map_err(|message| Refusal { message })
        })
    }
}

/// As CAA records name it; `None` where they cannot.
fn account_of(order: &IntendedOrder) -> Option<Account> {
    Some(Account {
        issuer: order.caa_identities.first()?.clone(),
        uri: order.account_uri.clone(),
        method: order.method.to_string(),
    })
}
