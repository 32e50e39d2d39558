use std::str::FromStr;

use phonenumber::{Mode, country};
use thiserror::Error;

/// How many digits a number has to have at least and at most: fewer are a service, more are none
/// (ITU-T E.164 §6.2.1 has 15, and an international prefix may come before).
const DIGITS: std::ops::RangeInclusive<usize> = 6..=20;

/// The region that telephone numbers without a country belong to, such as `DE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region(country::Id);

/// A text that names no region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is no region; write the two letters of ISO 3166, such as DE")]
pub struct UnknownRegion;

impl FromStr for Region {
    type Err = UnknownRegion;

    fn from_str(region: &str) -> Result<Self, UnknownRegion> {
        let region = region.trim().to_ascii_uppercase();
        region.parse().map(Self).map_err(|_| UnknownRegion)
    }
}

/// A number as it compares: in the form of E.164, or its digits where the country is not known,
/// with its extension. `None` for what is no number of a person.
pub(super) fn phone_key(number: &str, region: Option<Region>) -> Option<String> {
    let number = number.trim();
    let number = number.strip_prefix("tel:").unwrap_or(number);
    let is_extension = |c: char| matches!(c, 'x' | 'X' | ';' | '#' | ',' | 'p' | 'w');
    let (main, extension) = number.split_at(number.find(is_extension).unwrap_or(number.len()));
    // A zero in parentheses is dialed within the country only: +49 (0) 30 …
    let main = if main.starts_with('+') {
        main.replacen("(0)", "", 1)
    } else {
        main.to_owned()
    };
    let digits: String = main.chars().filter_map(ascii_digit).collect();
    if !DIGITS.contains(&digits.len()) {
        return None;
    }
    let dialed = if main.starts_with(['+', '＋']) {
        format!("+{digits}")
    } else {
        digits
    };
    let region = region.map(|Region(id)| id);
    let key = match phonenumber::parse(region, &dialed) {
        Ok(number) => number.format().mode(Mode::E164).to_string(),
        Err(_) => dialed,
    };
    let extension: String = extension.chars().filter_map(ascii_digit).collect();
    Some(if extension.is_empty() {
        key
    } else {
        format!("{key};ext={extension}")
    })
}

/// A digit of any script as one of ASCII.
fn ascii_digit(c: char) -> Option<char> {
    match c {
        '0'..='9' => Some(c),
        '\u{660}'..='\u{669}' => char::from_digit(u32::from(c) - 0x660, 10),
        '\u{6F0}'..='\u{6F9}' => char::from_digit(u32::from(c) - 0x6F0, 10),
        '\u{FF10}'..='\u{FF19}' => char::from_digit(u32::from(c) - 0xFF10, 10),
        _ => None,
    }
}
