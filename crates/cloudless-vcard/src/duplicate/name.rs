use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The longest name that is compared, in characters.
const NAME_LEN_MAX: usize = 256;

/// A name as it compares: its words in order of the alphabet, without accents, case and
/// punctuation. `None` for a single word, which many people share, unless its script has no case:
/// such scripts often write a whole name as one word.
pub(super) fn name_key(name: &str) -> Option<String> {
    let folded: String = name
        .chars()
        .take(NAME_LEN_MAX)
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect();
    let mut words: Vec<&str> = folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.sort_unstable();
    let has_case = |word: &str| word.chars().any(|c| c.is_lowercase() || c.is_numeric());
    match words.as_slice() {
        [] => None,
        [word] if has_case(word) || word.chars().count() < 2 => None,
        words => Some(words.join(" ")),
    }
}
