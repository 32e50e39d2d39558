//! What attacks on the relay do to everybody else: how long new visitors and small requests take
//! while it is attacked, beside the same while a listener that does nothing is attacked likewise on
//! the same core. The relay itself has to say that it was attacked: its counters are read before and
//! after.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cloudless_proto::PublicKey;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::{sleep, timeout};

use super::attacker::{Attack, Count, EVIL, Target};
use super::evidence::Evidence;
use super::load::Load;
use super::ours;
use super::site::{Place, Site};
use super::way::{Backend, Ground, Way};
use crate::bench::goals::Verdicts;
use crate::bench::statistics::Thousands;
use crate::bench::table::head;

/// Relay, home, visitors and the listener that does nothing share one core, attackers have another.
const CORE: usize = 0;
const ATTACKERS_CORE: usize = 1;
const TIME: Duration = Duration::from_secs(4);
/// Until an attack is in full swing.
const RAMP: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(30);
const N_KEPT: usize = 4;
/// What an attack may make of the others' p99.
const FACTOR_MAX: f64 = 2.0;
const DID_NOT_ATTACK: &str = "did not attack";

/// What was measured.
pub(crate) struct Attacks(Vec<Row>);

/// One attack, in one round or more.
struct Row {
    attack: Attack,
    /// Attempts in a second, on the relay.
    rate: f64,
    rounds: Vec<Round>,
}

struct Round {
    on_nothing: Others,
    on_relay: Others,
    evidence: Evidence,
}

/// The p99 of those who do no harm, in ms; infinite when one of them was cut off.
#[derive(Clone, Copy)]
struct Others {
    visitors: f64,
    requests: f64,
}

/// Lets each of the attacks loose, once on each target and round.
pub(crate) async fn measure(
    ground: &Ground<'_>,
    attacks: &[Attack],
    rounds: usize,
) -> Result<Attacks> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ensure!(cores > ATTACKERS_CORE, "attackers need a core of their own");
    let place = Site::loopback().relay.pinned(CORE);
    let site = Site {
        visitors: place.clone(),
        relay: place.clone(),
        home: place.clone(),
    };
    let backend = Backend::start(&site.home, ground.certificate, &ground.folder).await?;
    // What strangers make it do takes nothing from the server at home, which has its own processor in life.
    let fallback = Backend::start(&site.relay, ground.certificate, &ground.folder).await?;
    let ground = Ground {
        workspace: ground.workspace,
        certificate: ground.certificate,
        folder: ground.folder.clone(),
        site: &site,
        backend: backend.address,
    };
    let folder = ground.folder.join("attacked");
    std::fs::create_dir_all(&folder).context("make a folder")?;
    let parts = ours::open_with_default_limits(&ground, &folder, fallback.address).await?;
    let state = folder.join("relay");
    let address = parts.address;
    let way = Way::of(parts, &ground);
    let nothing = Nothing::start(&place).await?;
    let server_name = ours::server_name(&state)?;
    let mut rows = Vec::new();
    for &attack in attacks {
        let mut row = Row {
            attack,
            rate: 0.0,
            rounds: Vec::new(),
        };
        for _ in 0..rounds {
            let target = |address| Target {
                address,
                server_name: server_name.clone(),
                attack,
            };
            let (on_nothing, _) = under(&target(nothing.address), &way, None).await?;
            let relay = (&ground, state.as_path());
            let before = ours::outcomes(&ground, &state).await?;
            let (on_relay, count) = under(&target(address), &way, Some(relay)).await?;
            row.rate = count.n_attempts as f64 / count.seconds;
            row.rounds.push(Round {
                on_nothing,
                on_relay,
                evidence: Evidence::gather(attack, &count, &before, relay).await?,
            });
        }
        rows.push(row);
    }
    Ok(Attacks(rows))
}

/// How the others fare while the target is attacked.
async fn under(
    target: &Target,
    way: &Way,
    enroll: Option<(&Ground<'_>, &Path)>,
) -> Result<(Others, Count)> {
    let mut attackers = Attackers::start(target).await?;
    if let (Some((ground, state)), Some(key)) = (enroll, attackers.key) {
        enroll_evil(ground, state, &key).await?;
    }
    attackers.go().await?;
    sleep(RAMP).await;
    let visitors = way.load(Load::NewVisitors {
        at_once: 1,
        time: TIME,
    });
    let requests = way.load(Load::Requests {
        n_connections: N_KEPT,
        time: TIME,
    });
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let others = match tokio::try_join!(visitors, requests) {
        Ok((visitors, requests)) => Others {
            visitors: ms(visitors.p99),
            requests: ms(requests.p99),
        },
        Err(error) => {
            eprintln!("cut off during {}: {error:#}", target.attack.name());
            Others {
                visitors: f64::INFINITY,
                requests: f64::INFINITY,
            }
        }
    };
    Ok((others, attackers.end().await?))
}

/// Makes the attackers' key a home of the relay, as its operator might have.
async fn enroll_evil(ground: &Ground<'_>, state: &Path, key: &PublicKey) -> Result<()> {
    let path = state.join("homes.toml");
    let homes = std::fs::read_to_string(&path).context("read homes.toml")?;
    let others = homes.split("[[home]]").filter(|it| !it.contains(EVIL));
    let mut text = others.collect::<Vec<_>>().join("[[home]]");
    let _ = write!(
        text,
        "\n[[home]]\nhostname = \"{EVIL}\"\nkey = \"{key}\"\njoined = 2026-01-01T00:00:00Z\n"
    );
    std::fs::write(&path, text).context("write homes.toml")?;
    ours::reload(ground, state).await
}

impl Attacks {
    pub(crate) fn table(&self) -> String {
        let heads = [
            "attempts/s",
            "of these counted by the relay",
            "new visitor, p99 ms, nothing attacked",
            "the relay attacked",
            "x",
            "small request, p99 ms, nothing attacked",
            "the relay attacked",
            "x",
        ];
        let mut table = head("attack", &heads.map(str::to_owned));
        for row in &self.0 {
            let rate = Thousands(row.rate.round() as usize);
            let counted = row.counted();
            let _ = write!(table, "| {} | {rate} | {counted} |", row.attack.name());
            for of in [|it: &Others| it.visitors, |it: &Others| it.requests] {
                let (on_nothing, on_relay) = row.medians(of);
                let factor = row.factor(of);
                let _ = write!(table, " {on_nothing:.2} | {on_relay:.2} | {factor:.1} |");
            }
            table.push('\n');
        }
        table
    }

    pub(crate) fn judge(&self, verdicts: &mut Verdicts) {
        for row in &self.0 {
            let factor = row
                .factor(|it| it.visitors)
                .max(row.factor(|it| it.requests));
            let measured = match row.is_attack() {
                true => format!("{factor:.2}x"),
                false => DID_NOT_ATTACK.to_owned(),
            };
            verdicts.push(
                format!("p99 of the others during {}", row.attack.name()),
                format!("at most {FACTOR_MAX}x that while nothing is attacked"),
                measured,
                row.is_attack() && factor <= FACTOR_MAX,
            );
        }
    }

    /// Fails where nobody was attacked: whatever was measured says nothing.
    pub(crate) fn require(&self) -> Result<()> {
        let idle = self.0.iter().filter(|it| !it.is_attack());
        let idle: Vec<String> = idle.map(Row::missing).collect();
        ensure!(idle.is_empty(), "{DID_NOT_ATTACK}: {}", idle.join("; "));
        Ok(())
    }
}

impl Row {
    /// Whether the relay was attacked in each round.
    fn is_attack(&self) -> bool {
        !self.rounds.is_empty() && self.rounds.iter().all(|it| it.evidence.is_attack())
    }

    /// The least share of the rounds.
    fn counted(&self) -> String {
        let shares = self.rounds.iter().map(|it| it.evidence.share());
        let share = shares.fold(f64::INFINITY, f64::min);
        match self.is_attack() {
            true => format!("{:.0} %", 100.0 * share),
            false => format!("**{DID_NOT_ATTACK}**"),
        }
    }

    /// What its attackers tried, and how little of that the relay has seen.
    fn missing(&self) -> String {
        let rounds = self.rounds.iter().filter(|it| !it.evidence.is_attack());
        let rounds = rounds.map(|it| {
            let Evidence {
                n_attempts,
                n_counted,
                is_home_missing,
            } = it.evidence;
            let home = match is_home_missing {
                true => ", their home was not online all the time",
                false => "",
            };
            let classes = self.attack.classes().join(", ");
            format!("of {n_attempts} attempts the relay counted {n_counted} as {classes}{home}")
        });
        let rounds: Vec<String> = rounds.collect();
        format!("{}: {}", self.attack.name(), rounds.join(", "))
    }

    fn medians(&self, of: impl Fn(&Others) -> f64) -> (f64, f64) {
        let on_nothing = self.rounds.iter().map(|it| of(&it.on_nothing));
        let on_relay = self.rounds.iter().map(|it| of(&it.on_relay));
        (median(on_nothing), median(on_relay))
    }

    /// The median over the rounds.
    fn factor(&self, of: impl Fn(&Others) -> f64) -> f64 {
        let factors = self.rounds.iter();
        median(factors.map(|it| of(&it.on_relay) / of(&it.on_nothing)))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.get(half) {
        None => 0.0,
        Some(upper) if values.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(values[half - 1], *upper),
    }
}

/// A listener that does nothing. Dropping it ends it.
struct Nothing {
    _child: Child,
    address: SocketAddr,
}

impl Nothing {
    async fn start(place: &Place) -> Result<Self> {
        let mut child = place
            .role("relay-nothing", &place.ip)?
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start a listener")?;
        let stdout = child.stdout.take().context("take standard output")?;
        Ok(Self {
            address: answer(&mut BufReader::new(stdout).lines()).await?,
            _child: child,
        })
    }
}

/// Attackers in a process of their own. Dropping it ends them.
struct Attackers {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Their home's, if they have one.
    key: Option<PublicKey>,
}

impl Attackers {
    async fn start(target: &Target) -> Result<Self> {
        let place = Site::loopback().relay.pinned(ATTACKERS_CORE);
        let mut child = place
            .role("relay-attackers", target)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start attackers")?;
        let stdout = child.stdout.take().context("take standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        Ok(Self {
            stdin: child.stdin.take().context("take standard input")?,
            key: answer(&mut lines).await?,
            lines,
            child,
        })
    }

    async fn go(&mut self) -> Result<()> {
        let sent = self.stdin.write_all(b"go\n").await;
        sent.context("let attackers loose")
    }

    /// Ends them; returns what they did.
    async fn end(mut self) -> Result<Count> {
        self.stdin
            .write_all(b"end\n")
            .await
            .context("end attackers")?;
        let count = answer(&mut self.lines).await?;
        self.child.kill().await.context("end attackers")?;
        Ok(count)
    }
}

async fn answer<T: DeserializeOwned>(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<T> {
    let line = timeout(ANSWER_MAX, lines.next_line()).await;
    let line = line
        .context("no answer in time")?
        .context("read an answer")?;
    let line = line.context("it ended early")?;
    serde_json::from_str(&line).context("read an answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attacks(requests: f64, evidence: [Evidence; 2]) -> Attacks {
        let others = |visitors, requests| Others { visitors, requests };
        let rounds = evidence.map(|evidence| Round {
            on_nothing: others(2.0, 1.0),
            on_relay: others(3.0, requests),
            evidence,
        });
        Attacks(vec![Row {
            attack: Attack::Garbage,
            rate: 1_999.6,
            rounds: rounds.into(),
        }])
    }

    fn evidence(n_counted: u64) -> Evidence {
        Evidence {
            n_attempts: 10_000,
            n_counted,
            is_home_missing: false,
        }
    }

    #[test]
    fn the_worse_of_both_factors_is_judged() {
        let attacks = attacks(2.5, [9_900, 8_000].map(evidence));
        assert!(
            attacks
                .table()
                .ends_with("| 2,000 | 80 % | 2.00 | 3.00 | 1.5 | 1.00 | 2.50 | 2.5 |\n"),
            "{}",
            attacks.table()
        );
        attacks.require().expect("all have attacked");
        let mut verdicts = Verdicts::default();
        attacks.judge(&mut verdicts);
        assert!(
            verdicts.to_string().contains("2.50x | **missed**"),
            "{verdicts}"
        );
    }

    #[test]
    fn an_attack_that_was_none_in_one_round_meets_no_goal_and_fails() {
        let attacks = attacks(1.0, [9_900, 3].map(evidence));
        let table = attacks.table();
        assert!(table.contains("| **did not attack** |"), "{table}");
        let mut verdicts = Verdicts::default();
        attacks.judge(&mut verdicts);
        let verdicts = verdicts.to_string();
        assert!(
            verdicts.contains("did not attack | **missed**"),
            "{verdicts}"
        );
        let error = attacks.require().expect_err("nobody was attacked");
        let said = "of 10000 attempts the relay counted 3 as not_tls";
        assert!(error.to_string().ends_with(said), "{error}");
    }
}
