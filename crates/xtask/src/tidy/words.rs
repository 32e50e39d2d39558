//! Names and spelling: the field's own words, and one spelling for each.

use super::{Finding, code};

/// The rule that asks for American spelling.
pub(crate) const SPELLING: &str = "spelling";

/// Words that name no thing of the field, in whatever part of a name.
const EMPTY_WORDS: &[&str] = &[
    "agent", "common", "engine", "entry", "helper", "helpers", "item", "manager", "misc", "node",
    "service", "util", "utils",
];

/// Names that a trait, a protocol or the design gives.
const GIVEN_NAMES: &[&str] = &["IndexEntry", "Item"];

/// Keywords after which a name is declared.
const DECLARATIONS: &[&str] = &["enum", "mod", "struct", "trait", "type", "union"];

const BRITISH: &[(&str, &str)] = &[
    ("analyse", "analyze"),
    ("artefact", "artifact"),
    ("authorise", "authorize"),
    ("behaviour", "behavior"),
    ("catalogue", "catalog"),
    ("centre", "center"),
    ("colour", "color"),
    ("defence", "defense"),
    ("favour", "favor"),
    ("honour", "honor"),
    ("initialise", "initialize"),
    ("licence", "license"),
    ("neighbour", "neighbor"),
    ("normalise", "normalize"),
    ("organise", "organize"),
    ("recognise", "recognize"),
    ("serialise", "serialize"),
    ("synchronise", "synchronize"),
];

/// Checks the names that a Rust file declares.
pub(crate) fn check_names(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in code::mask(text).lines().enumerate() {
        let mut report = |rule, message| {
            findings.push(Finding {
                path: path.to_owned(),
                line: index + 1,
                rule,
                message,
            });
        };
        let tokens: Vec<&str> = line
            .split(|it: char| !is_name_character(it))
            .filter(|it| !it.is_empty())
            .collect();
        for pair in tokens.windows(2) {
            let name = pair[1];
            if pair[0] == "fn" && name.starts_with("get_") {
                let without = name.trim_start_matches("get_");
                report("name", format!("`{name}`: a getter is named `{without}`"));
            }
            if !DECLARATIONS.contains(&pair[0]) || GIVEN_NAMES.contains(&name) {
                continue;
            }
            if let Some(empty) = words_of(name).find(|it| EMPTY_WORDS.contains(&it.as_str())) {
                report(
                    "name",
                    format!("`{name}`: `{empty}` says nothing; use the word of the RFC or field"),
                );
            }
        }
    }
    findings
}

/// Checks the spelling of any text file, comments and strings included.
pub(crate) fn check_spelling(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let lower = line.to_lowercase();
        for (british, american) in BRITISH.iter().filter(|(it, _)| lower.contains(it)) {
            findings.push(Finding {
                path: path.to_owned(),
                line: index + 1,
                rule: SPELLING,
                message: format!("`{british}`: write `{american}`"),
            });
        }
    }
    findings
}

fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// `RelayManager` and `relay_manager` are both "relay", "manager".
fn words_of(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for character in name.chars() {
        if character == '_' || (character.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        if character != '_'
            && let Some(word) = words.last_mut()
        {
            word.extend(character.to_lowercase());
        }
        was_lower = character.is_lowercase();
    }
    words.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines(text: &str) -> Vec<usize> {
        check_names("crates/a/src/b.rs", text)
            .into_iter()
            .map(|it| it.line)
            .collect()
    }

    #[test]
    fn declared_names_say_something() {
        assert_eq!(
            lines("struct Session;\nmod client_hello;\nenum Parsed {}\n"),
            NONE
        );
        assert_eq!(lines("a\npub struct SessionManager<T>;\n"), [2]);
        assert_eq!(lines("mod string_utils;\n"), [1]);
        assert_eq!(lines("trait RelayEngine {}\n"), [1]);
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(
            lines("struct Itemized;\nmod commons;\nstruct Agenda;\n"),
            NONE
        );
    }

    #[test]
    fn given_names_and_other_text_pass() {
        assert_eq!(
            lines("type Item = u8;\nuse hyper::service::Service;\n// struct Manager\n"),
            NONE
        );
    }

    #[test]
    fn getters_are_nouns() {
        assert_eq!(lines("fn get_name() {}\n"), [1]);
        assert_eq!(
            lines("fn name() {}\nfn target_get() {}\nmap.get_mut(a);\n"),
            NONE
        );
    }

    #[test]
    fn spelling_is_american() {
        assert!(check_spelling("a.md", "The behavior of a license.\n").is_empty());
        let found = check_spelling("a.md", "A\nLicences and behaviours.\n");
        let lines: Vec<usize> = found.iter().map(|it| it.line).collect();
        assert_eq!(lines, [2, 2]);
    }
}
