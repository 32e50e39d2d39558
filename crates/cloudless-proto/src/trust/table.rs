//! The table of levels and attackers, as Markdown.

use super::{Asset, Attacker, Defense, Defenses, Level, Outcome, outcome};

/// What stands before the table in docs/security.md.
pub const TABLE_BEGIN: &str =
    "<!-- Made from the model in crates/cloudless-proto by `cargo xtask security-table`. -->";
/// What stands after it.
pub const TABLE_END: &str = "<!-- End of the table. -->";

/// The table that docs/security.md holds. `cargo xtask security-table` writes it there.
pub fn table() -> String {
    let columns: Vec<(String, Defenses)> = columns();
    let mut rows = vec![Vec::from([String::new()])];
    rows[0].extend(columns.iter().map(|(title, _)| title.clone()));
    rows.push(vec!["---".to_owned(); columns.len() + 1]);
    for attacker in Attacker::ALL {
        let mut row = vec![attacker.title().to_owned()];
        row.extend(
            columns
                .iter()
                .map(|(_, defenses)| cell(*defenses, attacker)),
        );
        rows.push(row);
    }
    let line = |row: &Vec<String>| format!("| {} |\n", row.join(" | "));
    rows.iter().map(line).collect()
}

fn columns() -> Vec<(String, Defenses)> {
    let mut columns = Vec::new();
    for level in Level::ALL {
        let defenses = level.defenses();
        if defenses.has(Defense::Caa) {
            columns.push((format!("`{level}`, unsigned zone"), defenses));
            columns.push((format!("`{level}`"), defenses.with(Defense::Dnssec)));
        } else {
            columns.push((format!("`{level}`"), defenses));
        }
    }
    columns
}

fn cell(defenses: Defenses, attacker: Attacker) -> String {
    let [book, exchange] = Asset::ALL.map(|asset| outcome(defenses, attacker, asset));
    if book == exchange {
        word(book)
    } else {
        format!("book: {}; exchange: {}", word(book), word(exchange))
    }
}

fn word(outcome: Outcome) -> String {
    match outcome {
        Outcome::Exposed => format!("**{outcome}**"),
        outcome => outcome.to_string(),
    }
}
