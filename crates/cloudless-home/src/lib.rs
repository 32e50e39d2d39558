//! Home: the owned machine's side of cloudless.
//!
//! [`run`] keeps one tunnel to each relay, ends the TLS of every visitor that comes through it with
//! a certificate of its own, and answers with the CardDAV service, publicly through the tunnel and
//! on loopback listeners for local programs. [`join`] redeems a relay's one-time join code.
//! [`admin`] is what the command line asks of a home, running or not.
//!
//! Configuration, listeners, clock and the end of the run are arguments: this crate reads neither
//! files of settings nor the environment.

pub mod admin;
pub mod certificate;
mod client_certificate;
mod config;
mod http;
mod https_client;
mod index;
mod local;
mod passthrough;
mod probe;
mod proxy;
mod push;
mod reach;
mod relay_keys;
mod reload;
mod retention;
mod retry_after;
mod run;
mod silence;
pub mod status;
mod surroundings;
mod termination;
pub mod trust;
mod tunnel;
pub mod upstream;
mod validation;
mod visitor;

pub use client_certificate::ClientCertificateError;
pub use cloudless_carddav::Settings as CardDavSettings;
pub use config::{BootClock, Clock, Config, Listeners, Passthrough, Relay, Timings};
pub use probe::{ProbeConfig, Resolver};
pub use proxy::{Proxy, ProxyError, ProxyParseError};
pub use push::{PushConfig, PushKeyError, PushTimings};
pub use relay_keys::{FILE as RELAY_KEYS_FILE, RelayKeys, RelayKeysError};
pub use reload::{Reread, Source};
pub use run::{RunError, run};
pub use silence::SilentDevice;
pub use tunnel::join::{JoinError, join};
pub use tunnel::ssh;
pub use tunnel::{ConnectionError, ControlError, DialError, IdentityError};
pub use visitor::VisitorRefusal;
