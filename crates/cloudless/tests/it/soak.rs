//! Churn of every kind leaves the files, tasks and memory of both roles as they were.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::binary::on;
use crate::client::Client;
use crate::metrics;
use crate::pair::Pair;
use crate::role::Role;

/// Rounds that fill caches and pools which stay.
const WARM_UP: usize = 3;
/// Finds what each round leaves a lot of, while all that stays is still being filled: home's page
/// caches, and what the allocator keeps and may use again.
const SHORT: Form = Form {
    filling: 0,
    rounds: 6,
    relay_growth_max: 4 * MIB,
    home_growth_max: 8 * MIB,
};
/// Finds what each of 200 sessions leaves a little of: 8 KiB in the relay. In home 24 KiB, as its store
/// goes on to open connections and to fill their page caches of 1 MiB each, seldom, for hundreds of rounds.
const LONG: Form = Form {
    filling: 100,
    rounds: 200,
    relay_growth_max: 3 * MIB / 2,
    home_growth_max: 9 * MIB / 2,
};
/// In KiB.
const MIB: u64 = 1024;
/// The store opens more connections the more is read at once, to this bound: its writer and eight
/// readers, with at most three files each.
const STORE_FILES_MAX: usize = 27;
/// Pipes to splice through are kept, as many as were in use at once, up to sixteen.
const PIPE_FILES_MAX: usize = 32;
/// Nothing that a peer left may stay for longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks: the kernel tells nobody that a process has closed a file.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// So many looks take longer than anybody is waited for who should close.
const SETTLED: usize = 25;
/// A card that is worth a leg in both directions.
const LARGE: &str = "large.vcf";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_tasks_and_memory_are_after_churn_what_they_were_before() {
    let form = if crate::is_acceptance() { LONG } else { SHORT };
    let filled = WARM_UP + form.filling;
    let mut pair = Pair::start();
    let (relay_state, home_state) = (pair.folder("relay"), pair.folder("home"));
    pair.kill_home();
    pair.kill_relay();
    metrics::set(&relay_state, "relay.toml", "127.0.0.1:0");
    metrics::set(&home_state, "home.toml", "127.0.0.1:0");
    let mut relay = Soaked::start(&relay_state, "relay");
    let mut home = Soaked::start(&home_state, "home");
    let visitors = Visitors {
        relay: format!("127.0.0.1:{}", pair.relay_port()).parse().unwrap(),
        client: pair.phone(),
    };
    visitors.are_served().await;

    // The relay goes on while its home is killed again and again, and while its files change.
    for round in 0..filled + form.rounds {
        if round == WARM_UP {
            relay.begin().await;
        }
        if round == filled {
            relay.is_filled().await;
        }
        visitors.round().await;
        home.restart();
        reload(&relay_state);
        visitors.are_served().await;
    }
    let counter = "cloudless_relay_legs_total ";
    relay.end(counter, form.relay_growth_max).await;

    // Home goes on while its relay is killed again and again.
    for round in 0..filled + form.rounds {
        if round == WARM_UP {
            home.begin().await;
        }
        if round == filled {
            home.is_filled().await;
        }
        visitors.round().await;
        relay.restart();
        visitors.are_served().await;
    }
    let counter = "cloudless_home_visitors_total{relay=\"0\"} ";
    home.end(counter, form.home_growth_max).await;
}

/// How long it goes on, and what memory may grow by meanwhile, in KiB.
struct Form {
    /// Rounds before memory counts,
    filling: usize,
    /// and those in which it does.
    rounds: usize,
    relay_growth_max: u64,
    home_growth_max: u64,
}

/// A role and what it took before.
struct Soaked {
    role: Role,
    name: &'static str,
    state: PathBuf,
    metrics: String,
    before: Footprint,
    filled: Footprint,
}

/// What a process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Footprint {
    /// Apart from those of the two pools.
    files: usize,
    store_files: usize,
    pipe_files: usize,
    tasks: u64,
    /// Without the pages of files, which the kernel drops and reads again as it likes.
    anonymous_kib: u64,
}

impl Soaked {
    fn start(state: &Path, name: &'static str) -> Self {
        let (role, ready) = Role::start(state, name);
        Self {
            role,
            name,
            state: state.to_owned(),
            metrics: ready["metrics"].as_str().unwrap().to_owned(),
            before: Footprint::default(),
            filled: Footprint::default(),
        }
    }

    fn restart(&mut self) {
        self.role.kill();
        *self = Self::start(&self.state, self.name);
    }

    fn footprint(&self) -> Footprint {
        let process = format!("/proc/{}", self.role.pid());
        let tasks = metrics::value(&self.metrics, "cloudless_tasks ");
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let anonymous = status.lines().find_map(|it| it.strip_prefix("RssAnon:"));
        let anonymous = anonymous.unwrap().trim().trim_end_matches(" kB");
        let links = links(&process);
        let store_files = links.iter().filter(|it| it.contains("/store.sqlite"));
        let store_files = store_files.count();
        // Both ends of a pipe are open in the process only if it made the pipe for itself.
        let is_own_pipe = |link: &&String| {
            link.starts_with("pipe:") && links.iter().filter(|it| it == link).count() == 2
        };
        let pipe_files = links.iter().filter(is_own_pipe).count();
        Footprint {
            files: links.len() - store_files - pipe_files,
            store_files,
            pipe_files,
            tasks,
            anonymous_kib: anonymous.parse().unwrap(),
        }
    }

    /// Remembers what it takes once that no longer changes: the least of some looks, as each takes a task
    /// or two itself, which may not have ended at the next one.
    async fn begin(&mut self) {
        let start = Instant::now();
        loop {
            let least = self.least_of_some_looks().await;
            if (least.files, least.tasks) == (self.before.files, self.before.tasks) {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{} does not settle: {least:?}",
                self.name
            );
            self.before = least;
        }
    }

    /// Remembers what it takes once its memory counts.
    async fn is_filled(&mut self) {
        self.filled = self.least_of_some_looks().await;
    }

    async fn least_of_some_looks(&self) -> Footprint {
        let mut looks = interval(POLL_INTERVAL);
        let mut least = self.footprint();
        for _ in 0..SETTLED {
            looks.tick().await;
            let now = self.footprint();
            least = Footprint {
                files: now.files.min(least.files),
                tasks: now.tasks.min(least.tasks),
                anonymous_kib: now.anonymous_kib.min(least.anonymous_kib),
                ..now
            };
        }
        least
    }

    /// Waits for what peers left to be gone. The counter shows that there were any.
    async fn end(&self, counter: &str, growth_max: u64) {
        let counted = metrics::value(&self.metrics, counter);
        assert!(counted > 0, "{counter}");
        let mut looks = interval(POLL_INTERVAL);
        let start = Instant::now();
        let mut now = self.footprint();
        while now.files > self.before.files
            || now.store_files > STORE_FILES_MAX
            || now.pipe_files > PIPE_FILES_MAX
            || now.tasks > self.before.tasks
            || now.anonymous_kib > self.filled.anonymous_kib + growth_max
        {
            assert!(
                start.elapsed() < PATIENCE,
                "{} had {:?}, filled {:?}, and has {now:?}; {counter}{counted}; {:#?}",
                self.name,
                self.before,
                self.filled,
                links(&format!("/proc/{}", self.role.pid()))
            );
            looks.tick().await;
            now = self.footprint();
        }
        println!(
            "MEASURED {} had {:?}, filled {:?}, and has {now:?}; {counter}{counted}",
            self.name, self.before, self.filled
        );
    }
}

/// What a process has open.
fn links(process: &str) -> Vec<String> {
    let files = fs::read_dir(format!("{process}/fd")).unwrap();
    // One may be closed before it is looked at.
    let links = files.filter_map(|it| fs::read_link(it.ok()?.path()).ok());
    links.map(|it| it.display().to_string()).collect()
}

/// Those who come by.
#[derive(Clone)]
struct Visitors {
    relay: SocketAddr,
    client: Client,
}

impl Visitors {
    /// Returns once a visitor gets an answer again, however often the tunnel was cut.
    async fn are_served(&self) {
        let mut attempts = interval(POLL_INTERVAL / 5);
        let start = Instant::now();
        while self.client.connect().await.is_err() {
            assert!(start.elapsed() < PATIENCE, "nobody is served");
            attempts.tick().await;
        }
    }

    /// One of each kind, some of them several times, all at once.
    async fn round(&self) {
        let hello = self.client.hello();
        let half = &hello[..hello.len() / 2];
        // They say nothing, or not enough, for as long as the round takes.
        let mut silent = Vec::new();
        for opening in [&[][..], half, &hello] {
            silent.push(self.say(opening).await.unwrap());
        }
        let mut others = JoinSet::new();
        for number in 0..4_u32 {
            let (visitors, hello) = (self.clone(), hello.clone());
            others.spawn(async move { visitors.reset(&hello, number).await });
            let client = if number % 2 == 0 {
                self.client.clone()
            } else {
                self.client.clone().over_http2()
            };
            let (served, cut) = (client.clone(), client);
            others.spawn(async move {
                let mut connection = served.connect().await.unwrap();
                for name in [format!("small-{number}.vcf"), LARGE.to_owned()] {
                    let card = card(&name);
                    let put = connection.put(&name, &card).await.unwrap();
                    assert!(put.status.is_success(), "{put:?}");
                    assert_eq!(connection.get(&name).await.unwrap().body, card);
                }
            });
            others.spawn(async move {
                let mut connection = cut.connect().await.unwrap();
                let (card, moment) = (card(LARGE), Duration::from_millis(u64::from(number) * 3));
                // Somewhere in the middle, up or down.
                let _ = timeout(moment, connection.put(LARGE, &card)).await;
                let _ = timeout(moment, connection.get(LARGE)).await;
            });
        }
        others.join_all().await;
        drop(silent);
    }

    async fn say(&self, opening: &[u8]) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.relay).await?;
        stream.write_all(opening).await?;
        Ok(stream)
    }

    /// Ends at once: with RST before home answers, with half a connection, or with nonsense.
    async fn reset(&self, hello: &[u8], number: u32) {
        let mut stream = self.say(hello).await.unwrap();
        if number == 0 {
            stream.shutdown().await.unwrap();
        } else if number == 1 {
            // It may be gone already.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
        }
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

/// The relay's files, once as they cannot be used and once as they were.
fn reload(state: &Path) {
    let path = state.join("relay.toml");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("unheard = 1\n{good}")).unwrap();
    assert_ne!(on(state, &["relay", "reload"]).code, Some(0));
    fs::write(&path, good).unwrap();
    on(state, &["relay", "reload"]).expect(0);
}

fn card(name: &str) -> Vec<u8> {
    let size = if name == LARGE { 300_000 } else { 300 };
    let note = "x".repeat(size);
    format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{name}\r\nFN:{name}\r\nNOTE:{note}\r\nEND:VCARD\r\n")
        .into_bytes()
}
