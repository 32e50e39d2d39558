//! Commands for people, run beside the running home.

use std::path::Path;

use anyhow::{Context, Result};

use super::demo::Demo;
use super::statistics::median;
use super::table::{Cell, Row};

pub(crate) const SEARCH: &str = "`contacts search`, ms";
pub(crate) const DUPLICATES: &str = "`contacts duplicates`, s";
pub(crate) const HISTORY: &str = "`contacts history`, ms";
pub(crate) const RESTORE: &str = "`contacts restore --dry-run`, s";
pub(crate) const EXPORT: &str = "`contacts export`, s";

pub(crate) const ALL: [&str; 5] = [SEARCH, DUPLICATES, HISTORY, RESTORE, EXPORT];

/// Runs each one `rounds` times, process start included.
pub(crate) async fn measure(demo: &Demo, rounds: usize, scratch: &Path) -> Result<Vec<Row>> {
    let export = scratch.join("export.vcf");
    let export = export.to_str().context("a path that is no text")?;
    let arguments: [&[&str]; ALL.len()] = [
        &["search", "number 000123"],
        &["duplicates"],
        &["history"],
        // Before there was anything: each card is a difference.
        &["restore", "--at", "365d", "--dry-run"],
        &["export", "--output", export],
    ];
    let mut times = vec![Vec::new(); ALL.len()];
    for _ in 0..rounds {
        for (arguments, times) in arguments.iter().zip(&mut times) {
            times.push(demo.contacts(arguments).await?);
        }
    }
    let rows = ALL.iter().zip(&times).map(|(name, times)| {
        let time = median(times);
        let cell = match *name {
            SEARCH | HISTORY => Cell::Millis(time),
            _ => Cell::Seconds(time),
        };
        Row::new(name, cell)
    });
    Ok(rows.collect())
}
