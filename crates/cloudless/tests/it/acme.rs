//! Public certificates: Pebble validates through a relay and a home that run.

mod asleep;
pub(crate) mod caa;
mod failures;
pub(crate) mod front;
mod orders;
pub(crate) mod pebble;
mod redirect;
mod strangers;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::front::{Front, Tricks};
use self::pebble::{Pebble, Settings};
use self::redirect::Redirect;
use crate::binary;
use crate::client::Client;
use crate::pair::{HOSTNAME, Pair};

/// Long enough for a loaded machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A pair whose name has its certificate from Pebble.
pub(crate) struct Bed {
    // Home goes before those that it asks.
    pub(crate) pair: Pair,
    pub(crate) front: Front,
    pebble: Pebble,
    /// What has port 80, if it is not the relay.
    pub(crate) redirect: Option<Redirect>,
}

/// What a test wants to be otherwise than usual.
#[derive(Default)]
pub(crate) struct Wish {
    pub(crate) tricks: Tricks,
    pub(crate) nonces_refused: u32,
    pub(crate) external: Option<(&'static str, &'static str)>,
    /// How many seconds a certificate is good.
    pub(crate) validity_s: Option<u64>,
    /// Pebble looks for visitors' port elsewhere.
    pub(crate) is_astray: bool,
    /// All that comes to port 80 is sent on to https, as web servers are told to do and the relay does not.
    pub(crate) redirects: bool,
    /// In the place of `trust = "honest-relay"`.
    pub(crate) hostname: Option<&'static str>,
    /// Further lines of `[acme]`.
    pub(crate) acme: &'static str,
}

impl Bed {
    /// Both are set up; home has been told of the authority and is down.
    pub(crate) fn prepare(wish: Wish) -> Self {
        let mut pair = Pair::start();
        let https = match wish.is_astray {
            true => pebble::free_port().port(),
            false => pair.relay_port(),
        };
        let redirects = wish.redirects;
        let redirect = redirects.then(|| Redirect::before(pair.relay_address()));
        let http = redirect.as_ref().map(Redirect::port);
        let pebble = Pebble::start(&Settings {
            https,
            http: http.unwrap_or_else(|| pair.relay_http_port()),
            nonces_refused: wish.nonces_refused,
            external: wish.external,
            validity_s: wish.validity_s,
        });
        let front = Front::start(&pebble, wish.tricks);
        pair.kill_home();
        let file = pair.folder("home").join("home.toml");
        let text = fs::read_to_string(&file).unwrap();
        let text = format!(
            "{text}\n[hostname.\"{HOSTNAME}\"]\ncertificate = \"acme\"\n{}\n\
             [acme]\ndirectory = \"{}\"\nroot_ca_file = \"{}\"\n{}\n",
            wish.hostname.unwrap_or("trust = \"honest-relay\""),
            front.directory(),
            front.ca_file().display(),
            wish.acme,
        );
        fs::write(file, text).unwrap();
        Self {
            pair,
            front,
            pebble,
            redirect,
        }
    }

    /// The same, with home running.
    fn start(wish: Wish) -> Self {
        let mut bed = Self::prepare(wish);
        bed.pair.start_home();
        bed.pair.await_tunnel();
        bed
    }

    /// A phone that trusts the public authority and nobody else.
    pub(crate) fn phone(&self) -> Client {
        self.pair.phone_that_trusts(&self.root())
    }

    fn root(&self) -> PathBuf {
        let root = self.pair.folder("pebble").join("root.pem");
        self.pebble.write_root(&root);
        root
    }

    /// The only row of `certificate show --json`.
    fn row(&self) -> Value {
        let arguments = ["home", "certificate", "show", "--json"];
        let run = binary::on(&self.pair.folder("home"), &arguments).expect(0);
        run.json()[0].clone()
    }

    /// Waits until the row is as wanted.
    #[track_caller]
    fn await_row(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let row = self.row();
            if wanted(&row) {
                return row;
            }
            assert!(Instant::now() < end, "it stays at {row:#}");
        }
    }

    /// Waits until home has a certificate of the public authority.
    #[track_caller]
    pub(crate) fn await_certificate(&self) -> Value {
        self.await_row(|row| row["expires_at"].is_string() && row["acme"]["is_ordering"] == false)
    }

    /// `certificate renew`, which says why not on standard error.
    fn renew(&self) -> binary::Run {
        binary::on(&self.pair.folder("home"), &["home", "certificate", "renew"])
    }

    fn certificates(&self, name: &str) -> PathBuf {
        self.pair.folder("home").join("certificates").join(name)
    }
}
