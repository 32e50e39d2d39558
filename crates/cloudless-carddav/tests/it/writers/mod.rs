//! Several writers of one address book at once, each with If-Match, whose requests get lost at
//! times; and a checker of what became of their cards.

mod checker;
mod observer;
mod random;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cloudless_store::ETag;
use http::Request;
use tokio::sync::watch;

pub(crate) use self::checker::{Version, check};
pub(crate) use self::observer::Observer;
pub(crate) use self::random::Random;
use crate::answer::Answer;
use crate::sessions::{Account, Lost, Transport};

/// How many names the writers begin with. Each move adds one.
const NAMES: usize = 5;
/// Writers choose among the names of late.
const NAMES_IN_USE: usize = 8;
/// The longest time after which a writer drops a request that it means to lose.
const CUT_WITHIN_MICROSECONDS: u64 = 4_000;

/// One request of a writer and what came of it. Moments are ticks of the record's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Act {
    pub(crate) asked: Asked,
    pub(crate) outcome: Outcome,
    pub(crate) sent: u64,
    /// When the answer was there; [`u64::MAX`] if it never came.
    pub(crate) answered: u64,
}

/// A request. A base is the ETag in If-Match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Read {
        name: String,
    },
    /// Without a base the card must not exist. The body has this ETag, and no other body has it.
    Put {
        name: String,
        base: Option<String>,
        etag: String,
    },
    Delete {
        name: String,
        base: String,
    },
    /// To a name that no other request was for before it was answered or lost.
    Move {
        from: String,
        to: String,
        base: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The precondition did not hold.
    Refused,
    /// It may have been carried out, or will be.
    Lost,
    /// The ETag that was read; none where there was no card.
    Read(Option<String>),
}

/// What all writers did.
pub(crate) struct Record {
    clock: AtomicU64,
    acts: Mutex<Vec<Act>>,
    names: Mutex<Vec<String>>,
}

/// What a writer knows of a card: its ETag and UID.
#[derive(Clone)]
struct Seen {
    etag: String,
    uid: String,
}

/// Somebody who reads, changes, deletes and moves cards by chance.
pub(crate) struct Writer<T> {
    pub(crate) number: usize,
    pub(crate) account: Account,
    pub(crate) transport: T,
    pub(crate) random: Random,
    /// Whether the server can be reached: a writer whose request was lost waits for it.
    pub(crate) is_up: watch::Receiver<bool>,
}

impl Record {
    pub(crate) fn new() -> Self {
        let names = (0..NAMES).map(|number| format!("card-{number}.vcf"));
        Self {
            clock: AtomicU64::new(0),
            acts: Mutex::new(Vec::new()),
            names: Mutex::new(names.collect()),
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn acts(&self) -> Vec<Act> {
        self.acts.lock().unwrap().clone()
    }

    /// All names that any request was for.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().clone()
    }
}

impl<T: Transport> Writer<T> {
    /// Sends so many requests, one after the other, and notes each; `done` hears of each.
    pub(crate) async fn write(mut self, record: &Record, count: usize, done: impl Fn()) {
        let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
        for number in 0..count {
            let name = self.choose(record);
            let known = seen.get(&name).cloned();
            let chance = self.random.below(100);
            let (asked, request, after) = match known {
                Some(Seen { etag: base, .. }) if chance < 12 => {
                    let request = self.request("DELETE", &name, &[("if-match", &base)], "");
                    (Asked::Delete { name, base }, request, None)
                }
                Some(card) if chance < 20 => {
                    let to = format!("{}-{number}-of-{}.vcf", self.number, number % NAMES);
                    let destination = self.path(&to);
                    let headers = [
                        ("if-match", card.etag.as_str()),
                        ("destination", &destination),
                        ("overwrite", "F"),
                    ];
                    let request = self.request("MOVE", &name, &headers, "");
                    seen.insert(to.clone(), card.clone());
                    let (from, base) = (name, card.etag);
                    (Asked::Move { from, to, base }, request, None)
                }
                _ if chance < 45 => {
                    let request = self.request("GET", &name, &[], "");
                    (Asked::Read { name }, request, None)
                }
                known => {
                    let new = format!("uid-{}-{number}", self.number);
                    let uid = known.as_ref().map_or(new, |card| card.uid.clone());
                    let base = known.map(|card| card.etag);
                    let text = self.card(number, &uid, base.as_deref());
                    let header = match &base {
                        Some(base) => ("if-match", base.as_str()),
                        None => ("if-none-match", "*"),
                    };
                    let headers = [header, ("content-type", "text/vcard")];
                    let request = self.request("PUT", &name, &headers, &text);
                    let etag = quoted(&ETag::of(text.as_bytes()));
                    let after = Seen {
                        etag: etag.clone(),
                        uid,
                    };
                    (Asked::Put { name, base, etag }, request, Some(after))
                }
            };
            let sent = record.tick();
            let answer = self.exchange(request).await;
            let (outcome, answered) = match &answer {
                Ok(answer) => (outcome(answer), record.tick()),
                Err(Lost) => (Outcome::Lost, u64::MAX),
            };
            // What is not known for sure has to be read again.
            let name = asked.name().to_owned();
            seen.remove(&name);
            match &outcome {
                Outcome::Done => {
                    if let Some(after) = after {
                        let tag = answer.as_ref().map(|it| it.header("etag"));
                        assert_eq!(tag.unwrap_or_default(), after.etag);
                        seen.insert(name, after);
                    }
                }
                Outcome::Read(Some(etag)) => {
                    let uid = answer.as_ref().map_or("", |it| uid(it.text())).to_owned();
                    let etag = etag.clone();
                    seen.insert(name, Seen { etag, uid });
                }
                Outcome::Read(None) | Outcome::Refused => {}
                Outcome::Lost => drop(self.is_up.wait_for(|is_up| *is_up).await),
            }
            if let Asked::Move { to, .. } = &asked {
                // Only now others may write there: the move was not to find a card.
                record.names.lock().unwrap().push(to.clone());
                if outcome != Outcome::Done {
                    seen.remove(to);
                }
            }
            record.acts.lock().unwrap().push(Act {
                asked,
                outcome,
                sent,
                answered,
            });
            done();
        }
    }

    /// Waits for the answer, or for a moment only.
    async fn exchange(&mut self, request: Request<Bytes>) -> Result<Answer, Lost> {
        if self.random.below(100) >= 7 {
            return self.transport.exchange(request).await;
        }
        let patience = Duration::from_micros(self.random.below(CUT_WITHIN_MICROSECONDS));
        let answer = tokio::time::timeout(patience, self.transport.exchange(request));
        answer.await.unwrap_or(Err(Lost))
    }

    fn choose(&mut self, record: &Record) -> String {
        let names = record.names.lock().unwrap();
        let in_use = &names[names.len().saturating_sub(NAMES_IN_USE)..];
        let chosen = self.random.below(in_use.len() as u64 + NAMES as u64);
        let chosen = usize::try_from(chosen).unwrap();
        in_use.get(chosen).unwrap_or(&names[chosen % NAMES]).clone()
    }

    /// A card that tells who wrote it, as what, and what it took the place of.
    fn card(&self, number: usize, uid: &str, base: Option<&str>) -> String {
        let writer = self.number;
        let base = base.unwrap_or("nothing");
        format!(
            "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:Card {uid}\r\n\
             NOTE:request {number} of writer {writer}\\, based on {base}\r\nEND:VCARD\r\n"
        )
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.account.book())
    }

    fn request(
        &self,
        method: &str,
        name: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Request<Bytes> {
        self.account
            .request(method, &self.path(name), headers, body)
    }
}

impl Asked {
    fn name(&self) -> &str {
        match self {
            Self::Read { name } | Self::Put { name, .. } | Self::Delete { name, .. } => name,
            Self::Move { from, .. } => from,
        }
    }
}

/// An ETag as it stands in headers.
pub(crate) fn quoted(etag: &ETag) -> String {
    format!("\"{}\"", etag.as_str())
}

fn outcome(answer: &Answer) -> Outcome {
    match answer.status {
        200 => Outcome::Read(Some(answer.header("etag").to_owned())),
        201 | 204 => Outcome::Done,
        // Also of a card that was to be moved.
        404 => Outcome::Read(None),
        // 409: another card has the UID, which no sound server comes to.
        409 | 412 => Outcome::Refused,
        // A server that is ending.
        500..=599 => Outcome::Lost,
        _ => panic!("{answer:?}"),
    }
}

fn uid(text: &str) -> &str {
    let line = text.lines().find_map(|line| line.strip_prefix("UID:"));
    line.unwrap_or_default()
}
