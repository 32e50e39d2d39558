//! One multiget of very many cards, each with a photo: what a first sync at its worst costs.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::client::Target;
use super::demo::Demo;
use super::statistics::Thousands;
use super::{cards, dav, peer, writes};

const BOOK: &str = "photos";

/// What it took in each way.
pub(crate) struct Photos {
    n_cards: usize,
    ways: Vec<(&'static str, Duration, usize)>,
}

/// Fills an address book of its own with cards that have photos.
pub(crate) async fn fill(demo: &Demo, n_cards: usize, scratch: &Path) -> Result<()> {
    peer::make_book(&book(&demo.local)).await?;
    let file = scratch.join("photos.vcf");
    // Every card with such a number has one.
    let numbers = (0..n_cards).map(|it| it * cards::PHOTO_EVERY);
    writes::write_file(&file, numbers.map(cards::card))?;
    let path = file.to_str().context("a path that is no text")?;
    demo.contacts(&["import", path, "--book", BOOK]).await?;
    fs::remove_file(&file).with_context(|| format!("remove {path}"))
}

/// Fetches all of them with one request, over loopback and through the relay.
pub(crate) async fn measure(demo: &Demo, n_cards: usize) -> Result<Photos> {
    let mut ways = Vec::new();
    for (name, target) in [
        ("loopback", &demo.local),
        ("through the relay", &demo.public),
    ] {
        let mut connection = book(target).connect().await?;
        let list = dav::propfind(&mut connection, "1", dav::LIST).await?;
        let body = dav::multiget(&dav::hrefs(&list));
        let started = Instant::now();
        let counted = dav::count(&mut connection, "1", &body).await?;
        ways.push((name, started.elapsed(), counted.n_bytes));
        ensure!(
            counted.n_cards == n_cards,
            "{} cards instead of {n_cards}",
            counted.n_cards
        );
    }
    Ok(Photos { n_cards, ways })
}

fn book(target: &Target) -> Target {
    target.with_book(target.book.replace("/contacts/", &format!("/{BOOK}/")))
}

impl fmt::Display for Photos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_cards = Thousands(self.n_cards);
        let head = format!("one multiget of {n_cards} cards with photos | s | MB | MB/s");
        writeln!(f, "\n| {head} |\n|---|--:|--:|--:|")?;
        for (name, time, n_bytes) in &self.ways {
            let (seconds, megabytes) = (time.as_secs_f64(), *n_bytes as f64 / 1e6);
            let rate = megabytes / seconds;
            writeln!(f, "| {name} | {seconds:.2} | {megabytes:.0} | {rate:.0} |")?;
        }
        Ok(())
    }
}
