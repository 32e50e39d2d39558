//! Rust source with comments and the insides of literals blanked out, so that rules see code only.

/// Replaces every character of comments, strings and character literals by a space. Line breaks
/// stay, so line numbers hold.
pub(crate) fn mask(source: &str) -> String {
    let characters: Vec<char> = source.chars().collect();
    let mut masked = String::with_capacity(source.len());
    let mut at = 0;
    while at < characters.len() {
        let end = skip_token(&characters, at);
        if end == at {
            masked.push(characters[at]);
            at += 1;
        } else {
            masked.extend(
                characters[at..end]
                    .iter()
                    .map(|it| if *it == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    masked
}

/// Where the test code of a file begins (1-based line), if any: everything in a test folder, in
/// `tests.rs`, or from the `#[cfg(test)]` module on, which the style guide puts last.
pub(crate) fn first_test_line(path: &str, masked: &str) -> Option<usize> {
    if path.contains("/tests/") || path.ends_with("/tests.rs") {
        return Some(1);
    }
    let lines: Vec<&str> = masked.lines().collect();
    lines.iter().enumerate().find_map(|(index, line)| {
        let is_test_module = line.trim() == "#[cfg(test)]"
            && lines[index + 1..]
                .iter()
                .map(|it| it.trim())
                .find(|it| !it.is_empty() && !it.starts_with("#["))
                .is_some_and(|it| it.starts_with("mod ") && it.ends_with('{'));
        is_test_module.then_some(index + 1)
    })
}

/// The end of the comment or literal that starts at `at`, or `at` if none starts there.
fn skip_token(characters: &[char], at: usize) -> usize {
    let rest = &characters[at..];
    let is_in_name = at > 0 && is_name_character(characters[at - 1]);
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|it| *it == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + block_comment_length(rest),
        ['"', ..] => at + string_length(rest),
        ['b' | 'c', '"', ..] if !is_in_name => at + 1 + string_length(&rest[1..]),
        ['r', '"' | '#', ..] if !is_in_name => at + raw_string_length(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !is_in_name => at + raw_string_length(rest, 2),
        ['\'', '\\', ..] => at + quoted_length(rest, '\''),
        ['\'', _, '\'', ..] => at + 3,
        _ => at,
    }
}

fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn block_comment_length(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

fn string_length(rest: &[char]) -> usize {
    quoted_length(rest, '"')
}

fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            it if it == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of `r##"…"##`; 0 when this is a raw identifier such as `r#type`.
fn raw_string_length(rest: &[char], prefix: usize) -> usize {
    let n_hashes = rest[prefix..].iter().take_while(|it| **it == '#').count();
    let open = prefix + n_hashes;
    if rest.get(open) != Some(&'"') {
        return 0;
    }
    let mut at = open + 1;
    while at < rest.len() {
        let closes = rest[at] == '"'
            && rest[at + 1..].iter().take_while(|it| **it == '#').count() >= n_hashes;
        if closes {
            return at + 1 + n_hashes;
        }
        at += 1;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, kept: &[&str], gone: &[&str]) {
        let masked = mask(source);
        assert_eq!(masked.lines().count(), source.lines().count());
        for it in kept {
            assert!(masked.contains(it), "{it:?} must stay in {masked:?}");
        }
        for it in gone {
            assert!(!masked.contains(it), "{it:?} must go from {masked:?}");
        }
    }

    #[test]
    fn comments_go() {
        check(
            "a(); // b()\n/* c() /* d() */ e() */ f();",
            &["a()", "f()"],
            &["b()", "d()", "e()"],
        );
    }

    #[test]
    fn strings_go() {
        check(
            r#"a("x \" y"); b(b"z"); c()"#,
            &["a(", "b(", "c()"],
            &["x", "y", "z"],
        );
        check(
            r###"a(r#"x " y"#); b(br"z\"); c()"###,
            &["a(", "b(", "c()"],
            &["x", "y", "z"],
        );
        check("a(\"x\n y\"); b()", &["a(", "b()"], &["x", "y"]);
    }

    #[test]
    fn characters_go_and_lifetimes_stay() {
        check(
            r"fn a<'b>(c: &'b str) { d('\'', 'x', '\u{1F600}'); e() }",
            &["<'b>", "&'b str", "e()"],
            &["x", "1F600"],
        );
    }

    #[test]
    fn raw_identifiers_stay() {
        check("let r#type = var#; a()", &["r#type", "a()"], &[]);
    }

    #[test]
    fn test_code_begins_at_the_test_module() {
        assert_eq!(
            first_test_line("crates/a/src/lib.rs", "a\n#[cfg(test)]\nmod tests {\n"),
            Some(2)
        );
        assert_eq!(
            first_test_line("crates/a/src/lib.rs", "#[cfg(test)]\nmod tests;\nb"),
            None
        );
        assert_eq!(
            first_test_line("crates/a/src/lib.rs", "#[cfg(test)]\nfn c() {}\nb"),
            None
        );
        assert_eq!(first_test_line("crates/a/src/b/tests.rs", "a"), Some(1));
        assert_eq!(first_test_line("crates/a/tests/it/main.rs", "a"), Some(1));
    }
}
