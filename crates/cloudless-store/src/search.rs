use std::collections::BTreeSet;

use rusqlite::Connection;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::index::derived::Derived;
use crate::index::scan::by_index;
use crate::{BookId, CardRow, Store, StoreError, UserId};

/// No card has more text that is worth searching.
const TEXT_MAX: usize = 64 * 1024;
/// More words than anybody types.
const WORDS_MAX: usize = 16;
/// The length of a trigram, and so the shortest word that the trigrams can find.
const TRIGRAM: usize = 3;

/// Where to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchScope {
    /// In one address book.
    Book(BookId),
    /// In all address books of a user, and in those shared with them.
    User(UserId),
}

/// A card that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its address book.
    pub book: BookId,
    /// What is known of it.
    pub row: CardRow,
}

impl Store {
    /// Cards whose text has every word of `query` somewhere, the last stored first. Case and
    /// accents do not matter. A query without words finds nothing; at most 16 words count.
    ///
    /// Words of three characters or more are looked up; shorter ones alone read all the text.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn search(
        &self,
        scope: impl Into<SearchScope>,
        query: &str,
        limit: usize,
    ) -> Result<Vec<Hit>, StoreError> {
        let scope = scope.into();
        let query = fold(query);
        let words: Vec<_> = query.split_whitespace().take(WORDS_MAX).collect();
        if words.is_empty() {
            return Ok(Vec::new());
        }
        self.read_long(|snapshot| {
            let books = books(snapshot, scope)?;
            let indexed_to = Derived::Trigrams.last(snapshot)?;
            let trigrams = trigrams(&words);
            let mut hits = Vec::new();
            let mut collect = |statement: &str, bound: &dyn rusqlite::ToSql| {
                let mut statement = snapshot.prepare_cached(statement)?;
                let mut rows = statement.query([bound])?;
                while let Some(row) = rows.next()? {
                    if hits.len() >= limit {
                        break;
                    }
                    let (id, book) = (row.get(0)?, row.get(1)?);
                    let text = row.get_ref(2)?.as_str()?;
                    if books.contains(&book)
                        && words.iter().all(|word| text.contains(word))
                        && let Some(row) = by_index(snapshot, id)?
                    {
                        hits.push(Hit { book, row });
                    }
                }
                Ok::<_, rusqlite::Error>(())
            };
            if trigrams.is_empty() {
                collect(BY_TEXT, &0)?;
            } else {
                collect(BY_TEXT, &indexed_to)?;
                collect(BY_TRIGRAMS, &trigrams)?;
            }
            Ok(hits)
        })
    }
}

/// Texts after the bound, the newest first.
const BY_TEXT: &str = "SELECT id, book_id, text FROM card_index WHERE id > ?1 ORDER BY id DESC";

/// Trigrams only say where the words may be, so the text is compared too.
pub(crate) const BY_TRIGRAMS: &str = "SELECT card_index.id, card_index.book_id, card_index.text
     FROM trigrams CROSS JOIN card_index ON card_index.id = trigrams.rowid
     WHERE trigrams MATCH ?1 ORDER BY trigrams.rowid DESC";

/// Brings text into the form in which it is compared: no case, no accents, no control characters.
/// Upper case comes first, because some letters agree only there: `ß` with `ss`, the two small
/// sigmas, `i` with and without its dot.
pub(crate) fn fold(text: &str) -> String {
    if text.is_ascii() {
        let letters = text.chars().take(TEXT_MAX);
        let fold = |letter: char| match letter.is_ascii_control() {
            true => ' ',
            false => letter.to_ascii_lowercase(),
        };
        return letters.map(fold).collect();
    }
    let mut folded = String::with_capacity(text.len());
    let letters = text
        .nfkd()
        .filter(|letter| !is_combining_mark(*letter))
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase);
    for letter in letters {
        if folded.len() + letter.len_utf8() > TEXT_MAX {
            break;
        }
        folded.push(if letter.is_control() { ' ' } else { letter });
    }
    folded
}

/// An expression for cards that have all trigrams of all words; empty if all words are too short.
fn trigrams(words: &[&str]) -> String {
    let mut found = BTreeSet::new();
    for word in words {
        let letters: Vec<char> = word.chars().collect();
        found.extend(letters.windows(TRIGRAM).map(<[char]>::to_vec));
    }
    let quoted = found.into_iter().map(|trigram| {
        let trigram = String::from_iter(trigram).replace('"', "\"\"");
        format!("\"{trigram}\"")
    });
    quoted.collect::<Vec<_>>().join(" AND ")
}

fn books(connection: &Connection, scope: SearchScope) -> rusqlite::Result<BTreeSet<BookId>> {
    match scope {
        SearchScope::Book(book) => Ok(BTreeSet::from([book])),
        SearchScope::User(user) => connection
            .prepare_cached(
                "SELECT id FROM address_books WHERE user_id = ?1
                 UNION SELECT book_id FROM shares WHERE user_id = ?1",
            )?
            .query_map([user], |row| row.get(0))?
            .collect(),
    }
}

impl From<BookId> for SearchScope {
    fn from(book: BookId) -> Self {
        Self::Book(book)
    }
}

impl From<UserId> for SearchScope {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

#[cfg(test)]
mod tests;
