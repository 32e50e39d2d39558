//! Config files: read and checked completely before any port is bound.

pub(crate) mod acme;
pub(crate) mod address;
pub(crate) mod carddav;
pub(crate) mod devices;
pub(crate) mod dns;
pub(crate) mod history;
pub(crate) mod home;
pub(crate) mod home_relay;
pub(crate) mod hostname;
pub(crate) mod limits;
pub(crate) mod metrics;
pub(crate) mod period;
pub(crate) mod probe;
pub(crate) mod proxy;
pub(crate) mod push;
pub(crate) mod relay;
pub(crate) mod servers;
pub(crate) mod sockets;
pub(crate) mod transparency;
pub(crate) mod upstream;

use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a config file, or a key file beside it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// There is no such file.
    #[error("{path} does not exist; {advice}", path = path.display())]
    Missing { path: PathBuf, advice: String },
    /// The file is there and cannot be read.
    #[error("cannot read {path}{advice}", path = path.display(), advice = permission_advice(source))]
    Unreadable { path: PathBuf, source: io::Error },
    /// The contents are wrong at one place.
    #[error("{path}:{fault}\nnothing was done; correct this line and run the command again",
        path = path.display())]
    Invalid { path: PathBuf, fault: Fault },
    /// The settings cannot be used together.
    #[error("{path}: {message}\nnothing was done", path = path.display())]
    Contradiction { path: PathBuf, message: String },
    /// A key file holds something else.
    #[error("{path} is not an Ed25519 private key in PEM (PKCS#8); put the copy from your backup \
        back: a new key would have to be made known to the other side again", path = path.display())]
    NotAKey { path: PathBuf },
}

/// What to do about a file that this user may not read.
fn permission_advice(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "; is it another user's? Run this as that user, or name another directory with --state"
    } else {
        ""
    }
}

/// One wrong place in a file, shown the way compilers do.
#[derive(Debug)]
pub(crate) struct Fault {
    line: usize,
    column: usize,
    message: String,
    excerpt: String,
}

impl Fault {
    fn new(text: &str, span: Option<Range<usize>>, message: String) -> Self {
        let mut start = span.map_or(0, |span| span.start.min(text.len()));
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message,
            excerpt: text[line_start..]
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            message,
            excerpt,
        } = self;
        let gutter = line.to_string().len();
        writeln!(f, "{line}:{column}: {}", message.replace('\n', ", "))?;
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{line} | {excerpt}")?;
        write!(f, "{:gutter$} | {:>column$}", "", "^")
    }
}

/// Reads and checks a config file. `advice` says what to do when there is none.
fn read<T: DeserializeOwned>(path: &Path, advice: &str) -> Result<T, ConfigError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ConfigError::Missing {
                path: path.to_owned(),
                advice: advice.to_owned(),
            });
        }
        Err(source) => {
            return Err(ConfigError::Unreadable {
                path: path.to_owned(),
                source,
            });
        }
    };
    parse(&bytes).map_err(|fault| ConfigError::Invalid {
        path: path.to_owned(),
        fault,
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(bytes);
        let at = error.valid_up_to();
        Fault::new(&valid, Some(at..at), "expected text in UTF-8".to_owned())
    })?;
    toml::from_str(text).map_err(|error| Fault::new(text, error.span(), error.message().to_owned()))
}
