//! Configuration as the pages of `docs/` show it: tests run that very text, with what is otherwise
//! on this machine.

use std::fs;
use std::path::Path;

use toml_edit::DocumentMut;

/// The first block in a language below a heading of a page.
pub(crate) fn block(page: &str, heading: &str, language: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let text = fs::read_to_string(docs.join(page)).unwrap();
    let after = |text: &str, start: &str| {
        let found = text.split_once(start);
        let (_, rest) = found.unwrap_or_else(|| panic!("{page} has no {start:?}"));
        rest.to_owned()
    };
    let below = after(&text, &format!("\n{heading}\n"));
    let block = after(&below, &format!("```{language}\n"));
    let (block, _) = block.split_once("```").unwrap();
    block.to_owned()
}

/// The cells of the first row of a table of a page that begins with this one.
pub(crate) fn cells(page: &str, first: &str) -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let text = fs::read_to_string(docs.join(page)).unwrap();
    let start = format!("| {first} |");
    let row = text.lines().find(|it| it.starts_with(&start));
    let row = row.unwrap_or_else(|| panic!("{page} has no row {start:?}"));
    let cells = row.trim_matches('|').split('|');
    cells.map(|it| it.trim().to_owned()).collect()
}

/// Replaces what the page says by what is so here; each must be there.
pub(crate) fn here(mut text: String, changes: &[(&str, &str)]) -> String {
    for (documented, is_here) in changes {
        assert!(text.contains(documented), "no {documented:?} in:\n{text}");
        text = text.replace(documented, is_here);
    }
    text
}

/// Makes the settings of a block those of a file, which keeps all others.
pub(crate) fn set(file: &Path, block: &str) {
    let parse = |text: &str| text.parse::<DocumentMut>().unwrap();
    let mut settings = parse(&fs::read_to_string(file).unwrap());
    for (key, item) in parse(block).iter() {
        match item.as_table() {
            None => settings[key] = item.clone(),
            Some(table) => {
                for (key_inside, item) in table {
                    settings[key][key_inside] = item.clone();
                }
            }
        }
    }
    fs::write(file, settings.to_string()).unwrap();
}
