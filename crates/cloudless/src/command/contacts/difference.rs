//! What a restore changes, as people read it.

use cloudless_home::admin::{Cards, Difference};

use crate::terminal::{self, StdoutError};

/// Prints one line for each card, and then the counts.
pub(super) fn tell(difference: &Difference, dry_run: bool) -> Result<(), StdoutError> {
    let Difference {
        created,
        changed,
        deleted,
        conflicts,
    } = difference;
    for (sign, cards) in [("+", created), ("~", changed), ("-", deleted)] {
        list(sign, cards)?;
    }
    for card in &conflicts.cards {
        terminal::warning(format_args!(
            "{} cannot come back: another card has its UID",
            terminal::clean(&card.name)
        ));
    }
    let would = if dry_run { "would be " } else { "" };
    terminal::data(format_args!(
        "{} {would}brought back, {} {would}changed back, {} {would}deleted",
        created.count, changed.count, deleted.count
    ))
}

fn list(sign: &str, cards: &Cards) -> Result<(), StdoutError> {
    for card in &cards.cards {
        let full_name = card.full_name.as_deref().unwrap_or_default();
        let line = format!("{sign} {}  {full_name}", card.name);
        terminal::data(terminal::clean(line.trim_end()))?;
    }
    let more = cards.count - cards.cards.len();
    if more > 0 {
        terminal::data(format_args!("{sign} and {more} more"))?;
    }
    Ok(())
}
