//! One run: every part on every way, the ways in turns.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::attack::Attacks;
use super::backend::Certificate;
use super::figures::{Figures, Row};
use super::load::{Direction, Load};
use super::path::Path as FarPath;
use super::site::Site;
use super::way::{Backend, Ground, Kind, Way};
use super::{Options, Part, attack, crowd, goals, outages, rathole};
use crate::bench::goals::Verdicts;
use crate::bench::measurement::load_average;
use crate::bench::plot::{self, Series};
use crate::workspace::Workspace;
use crate::{debian, step};

const BULK_TIME: Duration = Duration::from_secs(3);
const RATE_TIME: Duration = Duration::from_secs(3);
/// In the tunnel, where 64 MiB a second are the most, 500 MB take so long.
const UPLOAD_TIME: Duration = Duration::from_secs(8);
/// Long, because of a hundred requests one counts.
const LOSSY_TIME: Duration = Duration::from_secs(15);
const N_BULK: usize = 16;
const N_AT_ONCE: usize = 16;
const N_KEPT: usize = 64;
const N_BESIDE: usize = 4;
const N_FIRST_BYTES: usize = 100;
const N_FAR_FIRST_BYTES: usize = 30;
/// Visitors who wait come in such steps; all of them are as many as a home takes.
const IDLE: [usize; 4] = [125, 125, 250, 500];
const TITLE: &str = "MiB of the relay by idle visitors or homes";
/// Far from home nobody runs HAProxy, which is no tunnel.
const FAR: [Kind; 7] = [
    Kind::NoRelay,
    Kind::Legs,
    Kind::Streams,
    Kind::Rathole,
    Kind::Recipe,
    Kind::SshHome,
    Kind::Sshd,
];

/// Runs everything that was asked for and prints it.
pub(crate) async fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let started = Instant::now();
    // The other parts are about ours alone.
    let compares = |part: &Part| !matches!(part, Part::Attack | Part::Homes);
    let is_compared = options.only.is_empty() || options.only.iter().any(compares);
    let is_far = [Part::Far, Part::Lossy, Part::Outages].map(|it| options.wants(it));
    if is_far.contains(&true) || (is_compared && options.ways.iter().any(|it| it.is_program())) {
        debian::prepare(debian::RELAY_PEERS)?;
    }
    if is_compared && options.ways.contains(&Kind::Rathole) {
        rathole::prepare(workspace)?;
    }
    // In memory where it can be: config files and logs are not what is measured.
    let scratch = tempfile::tempdir().context("make a temporary folder")?;
    let mut run = Run {
        workspace,
        options,
        certificate: Certificate::create(scratch.path())?,
        scratch: scratch.path(),
        figures: Figures::default(),
        series: Vec::new(),
    };
    print_heading();
    run.near().await?;
    run.far().await?;
    let mut verdicts = Verdicts::default();
    let mut attacks = None;
    goals::judge(&run.figures, &mut verdicts);
    print!("{}", run.figures.table(&options.ways));
    if run.wants(Part::Homes) {
        run.homes(&mut verdicts).await?;
    }
    if run.wants(Part::Outages) {
        run.outages(&mut verdicts).await?;
    }
    if run.wants(Part::Attack) {
        attacks = Some(run.attacks(&mut verdicts).await?);
    }
    print!("{verdicts}");
    if let Some(path) = &options.plot {
        std::fs::write(path, plot::growth(TITLE, &run.series))
            .with_context(|| format!("write {}", path.display()))?;
    }
    println!(
        "\nMeasured in {:.0} minutes.",
        started.elapsed().as_secs_f64() / 60.0
    );
    attacks.map_or(Ok(()), |it| it.require())
}

struct Run<'a> {
    workspace: &'a Workspace,
    options: &'a Options,
    certificate: Certificate,
    scratch: &'a Path,
    figures: Figures,
    /// The lines of the plot.
    series: Vec<Series>,
}

impl Run<'_> {
    /// What is measured over loopback.
    async fn near(&mut self) -> Result<()> {
        let site = Site::loopback();
        let backend = Backend::start(&site.home, &self.certificate, self.scratch).await?;
        if self.wants(Part::Memory) {
            for round in 0..self.options.rounds {
                for kind in self.relays() {
                    self.memory(kind, &site, &backend, round == 0).await?;
                }
            }
        }
        let parts = [
            Part::Bulk,
            Part::FirstByte,
            Part::Visitors,
            Part::Requests,
            Part::Upload,
        ];
        if !parts.iter().any(|it| self.wants(*it)) {
            return Ok(());
        }
        let mut ways = Vec::new();
        for kind in &self.options.ways {
            ways.push(self.open(*kind, &site, &backend).await?);
        }
        for part in parts.into_iter().filter(|it| self.options.wants(*it)) {
            for _ in 0..self.options.rounds {
                // What does nothing else than to multiplex has nothing to do with other parts.
                let floors = [Kind::Multiplexer, Kind::SealedMultiplexer];
                let has_floor = [Part::Requests, Part::Bulk].contains(&part);
                let is_for = |way: &&Way| has_floor || !floors.contains(&way.kind);
                for way in ways.iter().filter(is_for) {
                    self.measure(part, way).await?;
                }
            }
        }
        Ok(())
    }

    /// What is measured with a path between relay and home.
    async fn far(&mut self) -> Result<()> {
        for (part, loss) in [(Part::Far, 0.0), (Part::Lossy, 0.01)] {
            if !self.wants(part) {
                continue;
            }
            if let Some(what) = FarPath::missing() {
                return step::missing(&format!("{what}: nothing is measured over a path"));
            }
            let path = FarPath::open(loss);
            let backend = Backend::start(&path.site.home, &self.certificate, self.scratch).await?;
            let mut ways = Vec::new();
            for kind in self.options.ways.iter().filter(|it| FAR.contains(it)) {
                ways.push(self.open(*kind, &path.site, &backend).await?);
            }
            for _ in 0..self.options.rounds {
                for way in &ways {
                    self.measure(part, way).await?;
                }
            }
        }
        Ok(())
    }

    /// What visitors who wait cost.
    async fn memory(
        &mut self,
        kind: Kind,
        site: &Site,
        backend: &Backend,
        is_drawn: bool,
    ) -> Result<()> {
        // A process that has worked before has memory to give out again.
        let way = self.open(kind, site, backend).await?;
        let memory = way.memory(&IDLE).await?;
        if let [(_, empty), .., (n_visitors, full)] = memory.as_slice() {
            let each = (*full as f64 - *empty as f64) / *n_visitors as f64;
            self.figures.add(Row::Memory, kind, each);
        }
        if is_drawn {
            let points = memory.iter().filter(|it| it.0 > 0);
            self.series.push(Series {
                name: format!("visitors, {}", kind.name().replace('`', "")),
                points: points
                    .map(|it| (it.0 as f64, it.1 as f64 / 1_024.0))
                    .collect(),
            });
        }
        Ok(())
    }

    /// What idle homes cost.
    async fn homes(&mut self, verdicts: &mut Verdicts) -> Result<()> {
        let program = self.workspace.target("release/cloudless");
        let site = Site::loopback();
        let crowd = crowd::measure(&program, &site, self.scratch, self.options.homes).await?;
        print!("{}", crowd.table());
        crowd.judge(verdicts);
        self.series.push(crowd.series());
        Ok(())
    }

    /// How long nobody gets through.
    async fn outages(&mut self, verdicts: &mut Verdicts) -> Result<()> {
        if let Some(what) = FarPath::missing() {
            return step::missing(&format!("{what}: no outages are measured"));
        }
        let (certificate, ways) = (&self.certificate, &self.options.ways);
        let outages = outages::measure(self.workspace, certificate, self.scratch, ways).await?;
        print!("{}", outages.table());
        outages.judge(verdicts);
        let crowd = outages::crowd(self.workspace, self.scratch).await?;
        print!("{}", crowd.storms());
        crowd.judge_storms(verdicts);
        Ok(())
    }

    /// What attacks do to others.
    async fn attacks(&mut self, verdicts: &mut Verdicts) -> Result<Attacks> {
        let ground = Ground {
            workspace: self.workspace,
            certificate: &self.certificate,
            folder: self.scratch.to_owned(),
            site: &Site::loopback(),
            backend: Site::loopback().home.address(0),
        };
        let attacks = attack::measure(&ground, &self.options.attacks, self.options.rounds).await?;
        print!("{}", attacks.table());
        attacks.judge(verdicts);
        Ok(attacks)
    }

    /// The ways that have a relay in earnest.
    fn relays(&self) -> Vec<Kind> {
        let ways = self.options.ways.iter().copied();
        ways.filter(|it| {
            !matches!(
                it,
                Kind::NoRelay | Kind::Multiplexer | Kind::SealedMultiplexer
            )
        })
        .collect()
    }

    /// One part on one way, once.
    async fn measure(&mut self, part: Part, way: &Way) -> Result<()> {
        let kind = way.kind;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let figures = &mut self.figures;
        match part {
            Part::Bulk => {
                let rows = [
                    (Direction::Down, Row::BulkDown, Row::CpuDown),
                    (Direction::Up, Row::BulkUp, Row::CpuUp),
                ];
                for (direction, speed, cost) in rows {
                    let load = Load::Bulk {
                        direction,
                        n_connections: N_BULK,
                        time: BULK_TIME,
                    };
                    let (outcome, cpu) = way.load_with_cpu(load).await?;
                    let n_bytes = outcome.n_bytes as f64;
                    figures.add(speed, kind, n_bytes / 1e6 / outcome.seconds);
                    if kind != Kind::NoRelay {
                        figures.add(cost, kind, cpu.as_secs_f64() / (n_bytes / 1e9));
                    }
                }
            }
            Part::FirstByte | Part::Far => {
                let (row, n_visitors) = match part {
                    Part::Far => (Row::FarFirstByte, N_FAR_FIRST_BYTES),
                    _ => (Row::FirstByte, N_FIRST_BYTES),
                };
                let outcome = way.load(Load::FirstByte { n_visitors }).await?;
                figures.add(row, kind, ms(outcome.p50));
            }
            Part::Visitors => {
                let load = Load::NewVisitors {
                    at_once: N_AT_ONCE,
                    time: RATE_TIME,
                };
                let outcome = way.load(load).await?;
                let rate = outcome.n_answers as f64 / outcome.seconds;
                figures.add(Row::NewVisitors, kind, rate);
            }
            Part::Requests => {
                let load = Load::Requests {
                    n_connections: N_KEPT,
                    time: RATE_TIME,
                };
                let outcome = way.load(load).await?;
                let rate = outcome.n_answers as f64 / outcome.seconds;
                figures.add(Row::Requests, kind, rate);
            }
            Part::Upload => {
                let small = |time| Load::Requests {
                    n_connections: 1,
                    time,
                };
                let upload = Load::Bulk {
                    direction: Direction::Up,
                    n_connections: 1,
                    time: UPLOAD_TIME,
                };
                let idle = way.load(small(RATE_TIME)).await?.p99.as_secs_f64();
                // In processes of their own: a visitor must not wait for another one's thread.
                let (_, beside) = tokio::try_join!(way.load(upload), way.load(small(UPLOAD_TIME)))?;
                let ratio = beside.p99.as_secs_f64() / idle;
                figures.add(Row::BesideUpload, kind, ratio);
            }
            Part::Lossy => {
                let load = Load::Beside {
                    n_downloads: N_BULK,
                    n_small: N_BESIDE,
                    time: LOSSY_TIME,
                };
                let outcome = way.load(load).await?;
                let speed = outcome.n_bytes as f64 / 1e6 / outcome.seconds;
                figures.add(Row::LossyDown, kind, speed);
                figures.add(Row::LossyBeside, kind, ms(outcome.p99));
            }
            Part::Memory | Part::Homes | Part::Attack | Part::Outages => {}
        }
        Ok(())
    }

    async fn open(&self, kind: Kind, site: &Site, backend: &Backend) -> Result<Way> {
        let ground = Ground {
            workspace: self.workspace,
            certificate: &self.certificate,
            folder: self.scratch.to_owned(),
            site,
            backend: backend.address,
        };
        Way::open(kind, &ground).await
    }

    fn wants(&self, part: Part) -> bool {
        self.options.wants(part)
    }
}

fn print_heading() {
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("# cloudless relay benchmark\n");
    println!(
        "{n_cores} cores, {}, load {} at the start; visitors, relay, home and the TLS server at \
         home share them. Medians. Every new visitor makes a full TLS 1.3 handshake.",
        std::env::consts::ARCH,
        load_average(),
    );
}
