//! What is measured, each as a client does it.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::StatusCode;
use tokio::task::JoinSet;

use super::cards;
use super::client::{Connection, Target};
use super::statistics::{Latency, median};

/// PUTs are timed in so many parts, of which the median counts.
const N_PARTS: usize = 5;
/// Small requests of each kind come in turns of so many.
const N_SMALL_EACH_TURN: usize = 50;
const N_SMALL_TURNS: usize = 10;
/// DAVx5 fetches so many cards at once…
const DAVX5_BATCH: usize = 10;
/// …over so many connections: one for each core of a phone, two at least.
const DAVX5_CONNECTIONS: usize = 2;
const THUNDERBIRD_BATCH: usize = 500;

const POLL: &str = r#"<?xml version="1.0"?>
<propfind xmlns="DAV:" xmlns:CS="http://calendarserver.org/ns/"><prop><CS:getctag/></prop></propfind>"#;
const LIST: &str = r#"<?xml version="1.0"?>
<propfind xmlns="DAV:" xmlns:CS="http://calendarserver.org/ns/"><prop>
<resourcetype/><getetag/><CS:getctag/></prop></propfind>"#;
const TOKEN: &str = r#"<?xml version="1.0"?>
<propfind xmlns="DAV:"><prop><sync-token/></prop></propfind>"#;
const SYNC: &str = r#"<?xml version="1.0"?>
<sync-collection xmlns="DAV:"><sync-token/><sync-level>1</sync-level><prop>
<getetag/><resourcetype/></prop></sync-collection>"#;

/// PUTs per second; each is answered after its card is on disk.
pub(crate) struct Writes {
    pub(crate) one: f64,
    pub(crate) eight: f64,
}

/// Requests whose answer is small, on one kept-alive connection.
pub(crate) struct SmallRequests {
    pub(crate) get: Latency,
    pub(crate) poll: Latency,
}

/// From nothing to all cards; connections are opened within it.
pub(crate) struct FirstSync {
    pub(crate) davx5: Duration,
    pub(crate) thunderbird: Duration,
}

/// Deletes every card of the address book.
pub(crate) async fn clear(target: &Target) -> Result<()> {
    let mut connection = target.connect().await?;
    for href in hrefs(&propfind(&mut connection, "1", LIST).await?) {
        let name = href.rsplit('/').next().unwrap_or_default();
        let deleted = [StatusCode::NO_CONTENT, StatusCode::OK];
        connection
            .send("DELETE", name, &[], String::new(), &deleted)
            .await?;
    }
    Ok(())
}

/// Puts new cards with these numbers: a fifth over one connection, the others over eight.
pub(crate) async fn write(target: &Target, numbers: Range<usize>) -> Result<Writes> {
    let middle = numbers.start + numbers.len().div_ceil(5);
    Ok(Writes {
        one: put_in_parts(target, numbers.start..middle, 1).await?,
        eight: put_in_parts(target, middle..numbers.end, 8).await?,
    })
}

/// Measures small requests about a card that `write` put. The targets take turns, so that
/// whatever else the machine does hits them all.
pub(crate) async fn small_requests(targets: &[&Target]) -> Result<Vec<SmallRequests>> {
    let name = cards::name(1);
    let mut measured = Vec::new();
    for target in targets {
        measured.push((target.connect().await?, Vec::new(), Vec::new()));
    }
    for _ in 0..N_SMALL_TURNS {
        for (connection, get, poll) in &mut measured {
            for _ in 0..N_SMALL_EACH_TURN {
                let started = Instant::now();
                connection
                    .send("GET", &name, &[], String::new(), &[StatusCode::OK])
                    .await?;
                get.push(started.elapsed());
            }
            for _ in 0..N_SMALL_EACH_TURN {
                let started = Instant::now();
                propfind(connection, "0", POLL).await?;
                poll.push(started.elapsed());
            }
        }
    }
    let latencies = measured.iter().map(|(_, get, poll)| SmallRequests {
        get: Latency::of(get),
        poll: Latency::of(poll),
    });
    Ok(latencies.collect())
}

/// Fetches the whole address book of `size` cards, `rounds` times each way; the targets take turns.
pub(crate) async fn first_sync(
    targets: &[&Target],
    size: usize,
    rounds: usize,
) -> Result<Vec<FirstSync>> {
    let mut measured = vec![(Vec::new(), Vec::new()); targets.len()];
    for _ in 0..rounds {
        for (target, (davx5, thunderbird)) in targets.iter().zip(&mut measured) {
            let started = Instant::now();
            let n_cards = sync_as_davx5(target).await?;
            davx5.push(started.elapsed());
            ensure!(
                n_cards == size,
                "as DAVx5: {n_cards} cards instead of {size}"
            );

            let started = Instant::now();
            let n_cards = sync_as_thunderbird(target).await?;
            thunderbird.push(started.elapsed());
            ensure!(
                n_cards == size,
                "as Thunderbird: {n_cards} cards instead of {size}"
            );
        }
    }
    let medians = measured.iter().map(|(davx5, thunderbird)| FirstSync {
        davx5: median(davx5),
        thunderbird: median(thunderbird),
    });
    Ok(medians.collect())
}

/// What the disk alone costs: a small append and its fsync.
pub(crate) fn fsync_times(folder: &Path) -> Result<Vec<Duration>> {
    let path = folder.join("fsync");
    let mut file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let mut times = Vec::new();
    for _ in 0..100 {
        let started = Instant::now();
        file.write_all(&[0; 4096]).context("append to a file")?;
        file.sync_data().context("fsync a file")?;
        times.push(started.elapsed());
    }
    Ok(times)
}

/// PUTs per second, the median over parts of the numbers.
async fn put_in_parts(target: &Target, numbers: Range<usize>, n_connections: usize) -> Result<f64> {
    let mut times = Vec::new();
    let n_cards_each = numbers.len().div_ceil(N_PARTS).max(1);
    for start in numbers.clone().step_by(n_cards_each) {
        let part = start..(start + n_cards_each).min(numbers.end);
        times.push(put_all(target, part, n_connections).await?);
    }
    Ok(1.0 / median(&times).as_secs_f64())
}

/// Puts all these cards and tells how long one took. They are dealt to the connections in turn, so
/// that each gets as many photos.
async fn put_all(target: &Target, numbers: Range<usize>, n_connections: usize) -> Result<Duration> {
    let n_cards = u32::try_from(numbers.len()).context("more cards than there can be")?;
    let mut shares = Vec::new();
    for first in numbers.clone().take(n_connections) {
        let numbers = (first..numbers.end).step_by(n_connections);
        let cards: Vec<_> = numbers
            .map(|it| (cards::name(it), cards::card(it)))
            .collect();
        shares.push((target.connect().await?, cards));
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for (mut connection, cards) in shares {
        tasks.spawn(async move {
            for (name, card) in cards {
                let new = [("if-none-match", "*")];
                connection
                    .send("PUT", &name, &new, card, &[StatusCode::CREATED])
                    .await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.context("a task of the benchmark panicked")??;
    }
    Ok(started.elapsed() / n_cards)
}

async fn sync_as_davx5(target: &Target) -> Result<usize> {
    let mut first = target.connect().await?;
    propfind(&mut first, "0", TOKEN).await?;
    let hrefs = hrefs(&report(&mut first, "0", SYNC.to_owned()).await?);
    let mut batches: Vec<Vec<String>> = vec![Vec::new(); DAVX5_CONNECTIONS];
    for (index, batch) in hrefs.chunks(DAVX5_BATCH).enumerate() {
        batches[index % DAVX5_CONNECTIONS].push(multiget(batch));
    }
    let mut connections = vec![first];
    while connections.len() < DAVX5_CONNECTIONS {
        connections.push(target.connect().await?);
    }
    let mut tasks = JoinSet::new();
    for (mut connection, batches) in connections.into_iter().zip(batches) {
        tasks.spawn(async move {
            let mut n_cards = 0;
            for batch in batches {
                n_cards += count_cards(&report(&mut connection, "0", batch).await?);
            }
            anyhow::Ok(n_cards)
        });
    }
    let mut n_cards = 0;
    while let Some(outcome) = tasks.join_next().await {
        n_cards += outcome.context("a task of the benchmark panicked")??;
    }
    Ok(n_cards)
}

async fn sync_as_thunderbird(target: &Target) -> Result<usize> {
    let mut connection = target.connect().await?;
    let mut n_cards = 0;
    for batch in hrefs(&propfind(&mut connection, "1", LIST).await?).chunks(THUNDERBIRD_BATCH) {
        n_cards += count_cards(&report(&mut connection, "1", multiget(batch)).await?);
    }
    propfind(&mut connection, "0", TOKEN).await?;
    Ok(n_cards)
}

async fn propfind(connection: &mut Connection, depth: &str, body: &str) -> Result<Bytes> {
    let depth = [("depth", depth)];
    connection
        .send(
            "PROPFIND",
            "",
            &depth,
            body.to_owned(),
            &[StatusCode::MULTI_STATUS],
        )
        .await
}

async fn report(connection: &mut Connection, depth: &str, body: String) -> Result<Bytes> {
    connection
        .send(
            "REPORT",
            "",
            &[("depth", depth)],
            body,
            &[StatusCode::MULTI_STATUS],
        )
        .await
}

fn multiget(hrefs: &[String]) -> String {
    let rows: Vec<String> = hrefs
        .iter()
        .map(|it| format!("<D:href>{it}</D:href>"))
        .collect();
    format!(
        r#"<?xml version="1.0"?>
<addressbook-multiget xmlns="urn:ietf:params:xml:ns:carddav" xmlns:D="DAV:"><D:prop>
<D:getetag/><D:getcontenttype/><address-data content-type="text/vcard"/></D:prop>{}
</addressbook-multiget>"#,
        rows.concat()
    )
}

/// The cards' hrefs, whatever prefix the server writes. Parsing in earnest would cost the client
/// more than the answer costs the server.
fn hrefs(multistatus: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(multistatus)
        .split("href>")
        .skip(1)
        .step_by(2)
        .filter_map(|it| it.split('<').next())
        .filter(|it| it.ends_with(".vcf"))
        .map(str::to_owned)
        .collect()
}

fn count_cards(multistatus: &[u8]) -> usize {
    let end = b"END:VCARD";
    multistatus
        .windows(end.len())
        .filter(|it| it == end)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hrefs_of_cards_are_found_under_any_prefix() {
        let answer = b"<a:multistatus><a:response><a:href>/b/</a:href></a:response>\
            <a:response><a:href>/b/1.vcf</a:href></a:response>\
            <response><href>/b/2.vcf</href></response></a:multistatus>";
        assert_eq!(hrefs(answer), ["/b/1.vcf", "/b/2.vcf"]);
    }

    #[test]
    fn cards_are_counted() {
        assert_eq!(
            count_cards(b"END:VCARD</d><d>BEGIN:VCARD\r\nEND:VCARD\r\n"),
            2
        );
    }
}
