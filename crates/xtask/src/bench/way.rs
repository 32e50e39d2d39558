//! The ways to the measured servers, and one round after the other over all of them.

use anyhow::Result;

use super::client::Target;
use super::table::Column;
use super::{first_sync, rates, requests};

/// A way to a server.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) name: &'static str,
    pub(crate) target: &'a Target,
    /// How often each thing is measured; at most once for what takes minutes.
    pub(crate) rounds: usize,
    /// Whether it only answers the smallest requests, to tell what HTTP itself costs.
    pub(crate) is_floor: bool,
}

impl<'a> Way<'a> {
    pub(crate) fn new(name: &'static str, target: &'a Target, rounds: usize) -> Self {
        Self {
            name,
            target,
            rounds,
            is_floor: false,
        }
    }
}

/// Reads full address books of `size` cards in every way. In each round the ways take turns, so
/// that whatever else the machine does hits them all.
pub(crate) async fn reads(ways: &[Way<'_>], size: usize) -> Result<Vec<Column>> {
    let syncs = first_sync::measure(ways, size).await?;
    let requests = requests::measure(ways).await?;
    let rates = rates::measure(ways, size).await?;
    let parts = syncs.into_iter().zip(requests).zip(rates);
    let columns = ways.iter().zip(parts);
    let columns = columns.map(|(way, ((syncs, requests), rates))| Column {
        name: way.name,
        is_floor: way.is_floor,
        rows: [syncs, requests, rates].concat(),
    });
    Ok(columns.collect())
}
