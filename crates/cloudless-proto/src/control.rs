//! The messages on the control stream of a tunnel session.
//!
//! The home dials the relay over TLS 1.3 with [`ALPN`]; the relay, as HTTP/2 client, opens the
//! first stream as `POST` [`CONTROL_PATH`] and both bodies stay open. Each side writes one JSON
//! object per line ([`crate::lines`]), at most [`MAX_LINE`] bytes.
//!
//! ```text
//! home                        relay
//!   Hello ───────────────────▶       a key that is registered
//!         ◀──────────── Welcome      or Refused, and the relay closes
//!         ◀─────────── Hostnames     each time its names change
//!         ◀──────────────── Keys     each time its own keys change
//!  Pinned ───────────────────▶       the home trusts the newest of them from now on
//!   Reach ───────────────────▶       whether phones reach the home under one of its names
//!         ◀───────────────── Leg     offers a visitor a leg
//!         ◀──────────── LegReady     the leg was recognized
//!         ◀─────── OtherInstance     a second process with the home's key was refused
//!         ◀─────────────── Drain     before the relay goes away
//!
//!   Join ────────────────────▶       a key that redeems a join code
//!         ◀───────────── Joined      or Refused; the relay closes in both cases
//! ```
//!
//! After Welcome every visitor is one `CONNECT` stream with [`VISITOR_HEADER`].
//!
//! Both sides skip messages whose type and fields they do not know, so that a newer peer can say
//! more without being misunderstood. What would be misunderstood takes another [`VERSION`], which
//! the first message of each side says; [`decode`] looks at it before anything else, so that two
//! sides that cannot go on say which of them to upgrade ([`skew`]). [`ALPN`] stays what it is.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Hostname, PublicKey, join_code::JoinSecret, leg::Token, takeover::Instance};

/// The application protocol that a home offers, and nothing else, when it dials a relay.
pub const ALPN: &[u8] = b"cloudless/1";
/// The version of these messages that this program speaks.
pub const VERSION: u32 = 1;
/// The longest line that either side sends, in bytes, the line feed not counted.
pub const MAX_LINE: usize = 16 * 1024;
/// The path of the control stream.
pub const CONTROL_PATH: &str = "/control";
/// The header of a `CONNECT` stream that holds the visitor's address as `ip:port`.
pub const VISITOR_HEADER: &str = "cloudless-visitor";
/// The longest payload of an HTTP/2 frame that either side lets the other send: with the frame's
/// header of 9 bytes it fills two TLS records.
pub const FRAME_LEN: usize = 2 * 16 * 1024 - 9;

/// What a home says to a relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromHome {
    /// The first line of a session whose key is registered.
    Hello {
        /// The version of the messages, [`VERSION`].
        version: u32,
        /// Name and version of the program, for people to read.
        software: String,
        /// The process that dials.
        instance: Instance,
        /// Counts the sessions of that process, upwards.
        epoch: u64,
        /// Whether it dials legs that are offered. A home that does not know of legs leaves it out.
        #[serde(default, skip_serializing_if = "is_false")]
        legs: bool,
        /// Whether it tries its names from outside and tells what comes of it ([`FromHome::Reach`]).
        #[serde(default, skip_serializing_if = "is_false")]
        probes: bool,
    },
    /// The answer to the relay's keys where they have changed: the newest of them is on the home's
    /// disk, and the home will trust the relay by it.
    Pinned {
        /// That key.
        key: PublicKey,
    },
    /// Whether phones reach the home under one of its names, as it has tried itself from outside: said
    /// for each name in a session, and again each time that it changes.
    Reach {
        /// The name.
        hostname: Hostname,
        /// What came of it.
        reach: Reach,
        /// What is wrong and what to do, for people to read, where something is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The first and only line of a session that redeems a join code for its own key.
    Join {
        /// The version of the messages, [`VERSION`].
        version: u32,
        /// Name and version of the program, for people to read.
        software: String,
        /// The name that the join code is for.
        hostname: Hostname,
        /// The secret in the join code.
        secret: JoinSecret,
    },
}

/// What came of a home's last try to reach itself under a public name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// No address of the name led home.
    Fails,
    /// Some addresses of the name led home and some did not.
    Partly,
    /// It cannot be tried from there.
    Untested,
    /// Each address of the name led home.
    Works,
    /// It is under way, or what a newer home says of it is not known here.
    #[serde(other)]
    Checking,
}

/// What a relay says to a home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromRelay {
    /// The relay is about to go away: dial anew after this time, the open streams may finish.
    Drain {
        /// How long to wait before dialing anew, in milliseconds.
        retry_after_ms: u64,
    },
    /// The names of the home's key have changed.
    Hostnames {
        /// All names of the key from here on.
        hostnames: Vec<Hostname>,
    },
    /// The join code is redeemed: the name belongs to the home's key.
    Joined {
        /// The name.
        hostname: Hostname,
    },
    /// The keys that the relay proves have changed: one is on its way in or out.
    Keys {
        /// All of them from here on, the newest first.
        keys: Vec<PublicKey>,
    },
    /// A visitor may go on on a leg: dial the relay where the tunnel reached it, and show the ticket
    /// ([`crate::leg`]).
    Leg {
        /// The HTTP/2 stream of the visitor's `CONNECT`.
        stream: u32,
        /// The leg's number.
        number: u64,
        /// The leg's secret.
        token: Token,
    },
    /// The ticket was shown, in time: the home may change over.
    LegReady {
        /// The HTTP/2 stream of the visitor's `CONNECT`.
        stream: u32,
        /// The leg's number.
        number: u64,
    },
    /// Another process connected with the home's key and was refused, because this one is alive.
    OtherInstance,
    /// The relay does not serve this session and closes it.
    Refused {
        /// Why, for the home to act upon.
        reason: Refusal,
        /// Why, for people to read.
        message: String,
        /// When to try again, in milliseconds; without it the home's own backoff holds.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// The session is up, visitors follow.
    Welcome {
        /// The version of the messages, [`VERSION`].
        version: u32,
        /// Name and version of the program, for people to read.
        software: String,
        /// All names of the home's key.
        hostnames: Vec<Hostname>,
        /// All keys that the relay proves, the newest first. A relay that does not rotate its key
        /// may leave them out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<PublicKey>,
    },
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Why a relay does not serve a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The name belongs to another key; only an invite that replaces it can move it.
    HostnameTaken,
    /// No such join code, or it is expired or used: ask for a new one.
    JoinRejected,
    /// The home sent a line that is no message, or the wrong one.
    Malformed,
    /// The same process has a newer session; let this one go.
    OldEpoch,
    /// Another live process is connected with the same key: stop one of the two.
    OtherInstance,
    /// Too many attempts; try later.
    RateLimited,
    /// No name belongs to this key: join first.
    UnknownKey,
    /// The relay does not speak the home's version; the message says which to upgrade.
    Version,
    /// A reason of a newer relay. Never sent.
    #[serde(other)]
    Other,
}

/// A message of the control stream: [`FromHome`] or [`FromRelay`].
pub trait Message: Serialize + DeserializeOwned {
    /// The values of `type` that this program knows.
    const TYPES: &'static [&'static str];
}

impl Message for FromHome {
    const TYPES: &'static [&'static str] = &["hello", "join", "pinned", "reach"];
}

impl Message for FromRelay {
    const TYPES: &'static [&'static str] = &[
        "drain",
        "hostnames",
        "joined",
        "keys",
        "leg",
        "leg_ready",
        "other_instance",
        "refused",
        "welcome",
    ];
}

/// Reads one line; `None` when it is of a type that this program does not know and has to skip.
///
/// # Errors
///
/// [`DecodeError::Version`] when the peer says another version: a relay answers
/// [`Refusal::Version`], and both say which side to upgrade. Otherwise the line is no message at
/// all: answer [`Refusal::Malformed`] and close.
pub fn decode<T: Message>(line: &[u8]) -> Result<Option<T>, DecodeError> {
    let value: Value = serde_json::from_slice(line).map_err(DecodeError::Json)?;
    let Some(message_type) = value.get("type").and_then(Value::as_str) else {
        return Err(DecodeError::NoType);
    };
    if let Some(version) = value.get("version").and_then(Value::as_u64)
        && version != u64::from(VERSION)
    {
        return Err(DecodeError::Version { version });
    }
    let Some(message_type) = T::TYPES
        .iter()
        .copied()
        .find(|known| *known == message_type)
    else {
        return Ok(None);
    };
    match serde_json::from_value(value) {
        Ok(message) => Ok(Some(message)),
        Err(source) => Err(DecodeError::Fields {
            message_type,
            source,
        }),
    }
}

/// The peer sent a line that is no message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A known type whose fields are missing or wrong.
    #[error("the peer sent a \"{message_type}\" message with missing or wrong fields")]
    Fields {
        /// The message's type.
        message_type: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Not JSON.
    #[error("the peer sent a line on the control stream that is not JSON")]
    Json(#[source] serde_json::Error),
    /// JSON, but no object with a `type`.
    #[error("the peer sent a line on the control stream without a \"type\"")]
    NoType,
    /// A message of another version, whose fields may mean anything.
    #[error("the peer speaks version {version} of the tunnel protocol, not {VERSION}")]
    Version {
        /// The peer's version.
        version: u64,
    },
}

/// What relay and home say of versions that do not go together, in the same words on both sides.
pub fn skew(home: u64, relay: u64) -> String {
    let older = if home < relay { "home" } else { "relay" };
    format!(
        "the home speaks version {home} of the tunnel protocol and the relay version {relay}: \
         upgrade the {older}"
    )
}

#[cfg(test)]
mod tests;
