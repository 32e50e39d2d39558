//! Whether an attack was one: what the relay itself has counted of it. Others are not slowed down
//! either by attackers who never got anywhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::attacker::{Attack, Count};
use super::ours;
use super::way::Ground;

/// The relay counts so much at least of what attackers try. The rest it keeps, lets wait or never sees.
const SHARE_MIN: f64 = 0.1;
/// What attackers leave behind is counted when it ends, which others have to wait for.
const SETTLED_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The class of a home that comes online.
const SESSION: &str = "session";

/// What the relay has counted, by class.
pub(super) type Outcomes = BTreeMap<String, u64>;

/// What an attack came to at the relay.
pub(super) struct Evidence {
    pub(super) n_attempts: u64,
    /// Under the attack's classes.
    pub(super) n_counted: u64,
    /// The attackers' home, without which its visitors attack nobody.
    pub(super) is_home_missing: bool,
}

impl Evidence {
    /// Asks the relay until it has counted what attackers left. `before` is what it had counted before
    /// they began.
    pub(super) async fn gather(
        attack: Attack,
        count: &Count,
        before: &Outcomes,
        (ground, state): (&Ground<'_>, &Path),
    ) -> Result<Self> {
        let deadline = Instant::now() + SETTLED_MAX;
        let mut last = None;
        loop {
            let now = ours::outcomes(ground, state).await?;
            let evidence = Self::of(attack, count, before, &now);
            let is_settled = evidence.is_attack() && last == Some(evidence.n_counted);
            if is_settled || Instant::now() > deadline {
                return Ok(evidence);
            }
            last = Some(evidence.n_counted);
            sleep(LOOK_EVERY).await;
        }
    }

    fn of(attack: Attack, count: &Count, before: &Outcomes, now: &Outcomes) -> Self {
        let counted = |class: &str| {
            let of = |outcomes: &Outcomes| outcomes.get(class).copied().unwrap_or_default();
            of(now).saturating_sub(of(before))
        };
        let was_online = count.is_home_up && counted(SESSION) > 0;
        Self {
            n_attempts: count.n_attempts,
            n_counted: attack.classes().iter().map(|it| counted(it)).sum(),
            is_home_missing: attack.has_home() && !was_online,
        }
    }

    /// Whether the relay was attacked at all.
    pub(super) fn is_attack(&self) -> bool {
        !self.is_home_missing && self.n_counted > 0 && self.share() >= SHARE_MIN
    }

    /// How much of what attackers tried the relay has counted.
    pub(super) fn share(&self) -> f64 {
        self.n_counted as f64 / self.n_attempts.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    const DOCUMENT: &str = include_str!("../../../../../docs/metrics.md");

    fn outcomes(counted: &[(&str, u64)]) -> Outcomes {
        let counted = counted.iter();
        counted
            .map(|(class, n)| ((*class).to_owned(), *n))
            .collect()
    }

    fn count(n_attempts: u64, is_home_up: bool) -> Count {
        Count {
            n_attempts,
            seconds: 5.0,
            is_home_up,
        }
    }

    #[test]
    fn each_attack_moves_a_class_that_there_is() {
        for attack in Attack::value_variants() {
            assert!(!attack.classes().is_empty(), "{attack:?}");
            for class in attack.classes().iter().chain(&[SESSION]) {
                assert!(DOCUMENT.contains(&format!("\n| `{class}` |")), "{class}");
            }
        }
    }

    #[test]
    fn what_was_counted_before_and_what_others_do_is_no_attack() {
        let before = outcomes(&[("not_tls", 5_000), ("visitor", 100)]);
        let now = |n| outcomes(&[("not_tls", 5_000 + n), ("visitor", 9_000)]);
        for (n, is_attack) in [(0, false), (999, false), (1_000, true), (10_000, true)] {
            let count = count(10_000, true);
            let evidence = Evidence::of(Attack::Garbage, &count, &before, &now(n));
            assert_eq!(evidence.n_counted, n);
            assert_eq!(evidence.is_attack(), is_attack, "{n}");
        }
        let idle = Evidence::of(Attack::Garbage, &count(0, true), &before, &before);
        assert!(!idle.is_attack());
    }

    #[test]
    fn visitors_of_an_attackers_home_that_is_not_there_attack_nobody() {
        let before = Outcomes::new();
        for (is_home_up, n_sessions, is_attack) in
            [(true, 1, true), (true, 0, false), (false, 1, false)]
        {
            let now = outcomes(&[("home_offline", 64), (SESSION, n_sessions)]);
            let count = count(64, is_home_up);
            let evidence = Evidence::of(Attack::DeafHome, &count, &before, &now);
            assert_eq!(evidence.is_attack(), is_attack);
        }
    }
}
