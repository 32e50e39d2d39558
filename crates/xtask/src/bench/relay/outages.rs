//! How long nobody gets through to home after something has happened to the path or to a machine:
//! ours beside the others, in network namespaces, with a visitor who tries every 100 ms.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use cloudless_testbed::{Bed, Conditions, Family, RELAY};
use tokio::time::{Instant, sleep, timeout_at};

use super::backend::Certificate;
use super::crowd::{self, Crowd};
use super::load::unix_seconds as now;
use super::site::{Place, Probing, Site};
use super::way::{Backend, Ground, Kind, Way};
use crate::bench::goals::Verdicts;
use crate::bench::table::{figure, head};
use crate::workspace::Workspace;

/// Who stays away for longer is not waited for.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// How long all is well before something is done.
const CALM: Duration = Duration::from_secs(2);
const N_HOMES: usize = 1_000;
/// The ways that keep a tunnel.
const WAYS: [Kind; 5] = [
    Kind::Legs,
    Kind::Rathole,
    Kind::Recipe,
    Kind::SshHome,
    Kind::Sshd,
];

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    RelayKilled,
    HostSilent,
    BlackHole,
    HomeMoved,
    MappingLost,
}

impl Event {
    const ALL: [Self; 5] = [
        Self::RelayKilled,
        Self::HostSilent,
        Self::BlackHole,
        Self::HomeMoved,
        Self::MappingLost,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::RelayKilled => "relay killed, started again a second later",
            Self::HostSilent => "relay's host silent for 10 s",
            Self::BlackHole => "path a black hole for 20 s",
            Self::HomeMoved => "home's address replaced",
            Self::MappingLost => "NAT mapping lost, with visitors",
        }
    }

    /// What is asked of ours, from the moment on at which the path is whole again; of those with SSH
    /// what docs/performance.md says that can be had.
    fn bound(self, kind: Kind) -> Option<Duration> {
        let seconds = match (kind, self) {
            (Kind::Legs, Self::RelayKilled | Self::HostSilent) => 1,
            (Kind::Legs, Self::BlackHole | Self::HomeMoved) => 2,
            // A ping after 5 s of silence, and 3 s.
            (Kind::Legs, Self::MappingLost) => 8,
            (Kind::SshHome, Self::RelayKilled) => 1,
            (Kind::SshHome, Self::HostSilent | Self::BlackHole) => 3,
            // ssh asks every 2 s and may miss two answers.
            (Kind::SshHome, Self::HomeMoved | Self::MappingLost) => 10,
            (Kind::Sshd, Self::RelayKilled | Self::HostSilent | Self::BlackHole) => 2,
            // The others are what there is to compare with; and an sshd that listens at a port keeps it for
            // a dead session as long as visitors come.
            _ => return None,
        };
        Some(Duration::from_secs(seconds))
    }

    /// Lets it happen, and returns when all is whole again that was broken from outside.
    async fn befall(self, bed: &Bed, way: &mut Way) -> Result<()> {
        match self {
            Self::RelayKilled => {
                way.kill_relay().await?;
                sleep(Duration::from_secs(1)).await;
                way.start_relay()?;
            }
            Self::HostSilent => {
                bed.silence_relay();
                sleep(Duration::from_secs(10)).await;
                bed.wake_relay();
            }
            Self::BlackHole => {
                bed.internet.set(Conditions::BLACK_HOLE);
                sleep(Duration::from_secs(20)).await;
                bed.internet.set(Conditions::default());
            }
            Self::HomeMoved => bed.move_home(),
            Self::MappingLost => bed.forget_mappings(),
        }
        Ok(())
    }
}

/// Seconds until somebody gets through again; `None` when nobody did in a minute.
type Away = Option<f64>;

/// What was measured, by event and way.
pub(crate) struct Outages(Vec<(Event, Kind, Away)>);

/// Lets everything befall every way that was asked for.
pub(crate) async fn measure(
    workspace: &Workspace,
    certificate: &Certificate,
    folder: &Path,
    kinds: &[Kind],
) -> Result<Outages> {
    let mut outages = Vec::new();
    for event in Event::ALL {
        for kind in WAYS.into_iter().filter(|it| kinds.contains(it)) {
            let bed = Bed::new(Conditions::default());
            let site = site(&bed);
            let backend = Backend::start(&site.home, certificate, folder).await?;
            let ground = Ground {
                workspace,
                certificate,
                folder: folder.to_owned(),
                site: &site,
                backend: backend.address,
            };
            let mut way = Way::open(kind, &ground).await?;
            let mut probing = way.probe()?;
            sleep(CALM).await;
            back(&mut probing, now()).await?;
            event.befall(&bed, &mut way).await?;
            let away = back(&mut probing, now()).await;
            let away = away.with_context(|| format!("{}: {}", kind.name(), event.name()))?;
            outages.push((event, kind, away));
        }
    }
    Ok(Outages(outages))
}

/// The relay killed and started again with a thousand homes behind one router.
pub(crate) async fn crowd(workspace: &Workspace, folder: &Path) -> Result<Crowd> {
    let bed = Bed::new(Conditions::default());
    let program = workspace.target("release/cloudless");
    let folder = folder.join("outages");
    std::fs::create_dir_all(&folder).context("make a folder")?;
    crowd::measure(&program, &site(&bed), &folder, N_HOMES).await
}

/// Where the ends are in the scene. Home's server is on home's machine.
fn site(bed: &Bed) -> Site {
    let place = |machine: &cloudless_testbed::Namespace, ip: IpAddr| Place {
        ip,
        namespace: Some(machine.name().to_owned()),
        core: None,
        port: 443,
    };
    let relay = RELAY[Family::V4 as usize];
    Site {
        visitors: place(&bed.phone, relay),
        relay: place(&bed.relay, relay),
        home: place(&bed.home, Ipv4Addr::LOCALHOST.into()),
    }
}

/// How long after `event` the first try was answered that began after it.
async fn back(probing: &mut Probing, event: f64) -> Result<Away> {
    let deadline = Instant::now() + AWAY_MAX;
    loop {
        match timeout_at(deadline, probing.next()).await {
            Err(_) => return Ok(None),
            Ok(attempt) => {
                let attempt = attempt?;
                if attempt.is_answered && attempt.begun >= event {
                    return Ok(Some(attempt.ended - event));
                }
            }
        }
    }
}

impl Outages {
    fn of(&self, event: Event, kind: Kind) -> Option<Away> {
        let mut rows = self.0.iter();
        rows.find(|it| (it.0, it.1) == (event, kind)).map(|it| it.2)
    }

    pub(crate) fn table(&self) -> String {
        let kinds = WAYS.map(|it| it.name().to_owned());
        let mut table = head("seconds until a new connection works again", &kinds);
        for event in Event::ALL {
            let _ = write!(table, "| {} |", event.name());
            for kind in WAYS {
                let cell = self.of(event, kind).map(|away| match away {
                    Some(seconds) => format!("{seconds:.1}"),
                    None => format!("not in {}", AWAY_MAX.as_secs()),
                });
                table.push_str(&figure(cell));
            }
            table.push('\n');
        }
        table
    }

    pub(crate) fn judge(&self, verdicts: &mut Verdicts) {
        for (event, kind, away) in &self.0 {
            let Some(bound) = event.bound(*kind) else {
                continue;
            };
            let bound = bound.as_secs_f64();
            let name = match kind {
                Kind::Legs => event.name().to_owned(),
                _ => format!("{}, {}", event.name(), kind.name()),
            };
            verdicts.push(
                name,
                format!("back within {bound:.0} s"),
                away.map_or_else(|| "not back".to_owned(), |it| format!("{it:.2} s")),
                away.is_some_and(|it| it <= bound),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_come_back_has_missed_the_goal() {
        let outages = Outages(vec![
            (Event::HomeMoved, Kind::Legs, Some(0.12)),
            (Event::HomeMoved, Kind::Recipe, None),
            (Event::BlackHole, Kind::Legs, None),
            (Event::HomeMoved, Kind::SshHome, Some(6.5)),
            (Event::HomeMoved, Kind::Sshd, None),
        ]);
        let table = outages.table();
        let row = "| home's address replaced | 0.1 | – | not in 60 | 6.5 | not in 60 |\n";
        assert!(table.contains(row), "{table}");
        let mut verdicts = Verdicts::default();
        outages.judge(&mut verdicts);
        let text = verdicts.to_string();
        assert!(text.contains("within 2 s | 0.12 s | met"), "{text}");
        assert!(text.contains("not back | **missed**"), "{text}");
        assert!(
            text.contains("autossh as home | back within 10 s | 6.50 s | met"),
            "{text}"
        );
        // What nobody promises is not judged.
        assert_eq!(text.matches("back within").count(), 3, "{text}");
    }
}
