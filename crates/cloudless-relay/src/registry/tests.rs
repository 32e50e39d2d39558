use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;

use rustls_pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;

use super::*;

const NOW: u64 = 1_800_000_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn a_code_binds_its_name_once() {
    let state = State::new();
    let code = state.invite("a.example", false).unwrap();
    assert_eq!(state.redeem(1, "a.example", 7, NOW).unwrap().replaced, None);
    assert!(matches!(
        state.redeem(2, "a.example", 7, NOW),
        Err(RedeemError::Rejected)
    ));
    assert_eq!(state.registry.key_of(&code.hostname), Some(key(1).into()));
    assert_eq!(state.registry.hostnames_of(&key(1).into()), [code.hostname]);
    // The answer to the first attempt may have been lost.
    assert_eq!(state.redeem(1, "a.example", 7, NOW).unwrap().replaced, None);
}

#[test]
fn a_wrong_late_or_foreign_secret_binds_nothing() {
    let state = State::new();
    state.invite("a.example", false).unwrap();
    let late = NOW + DAY.as_secs();
    for (hostname, secret, now) in [
        ("a.example", 8, NOW),
        ("b.example", 7, NOW),
        ("a.example", 7, late),
    ] {
        let outcome = state.redeem(1, hostname, secret, now);
        assert!(
            matches!(outcome, Err(RedeemError::Rejected)),
            "{hostname} {secret} {now}"
        );
    }
    assert!(state.registry.homes().is_empty());
    assert!(state.redeem(1, "a.example", 7, late - 1).is_ok());
}

#[test]
fn only_an_invite_that_says_so_moves_a_name() {
    let state = State::new();
    state.invite("a.example", false).unwrap();
    state.redeem(1, "a.example", 7, NOW).unwrap();
    assert!(matches!(
        state.invite("a.example", false),
        Err(InviteError::HostnameTaken { .. })
    ));
    state.invite("a.example", true).unwrap();
    assert_eq!(
        state.redeem(2, "a.example", 7, NOW).unwrap().replaced,
        Some(key(1).into())
    );
    assert_eq!(
        state.registry.key_of(&"a.example".parse().unwrap()),
        Some(key(2).into())
    );
}

#[test]
fn a_name_bound_by_hand_is_not_taken() {
    let state = State::new();
    state.invite("a.example", false).unwrap();
    let State {
        registry,
        directory,
        ..
    } = state;
    drop(registry);
    let line = "hostname = \"a.example\"\njoined = 2026-01-01T00:00:00Z";
    let homes = format!("[[home]]\n{line}\nkey = \"{}\"\n", key(1));
    fs::write(directory.path().join("homes.toml"), homes).unwrap();
    let state = State::open(directory);
    let outcome = state.redeem(2, "a.example", 7, NOW);
    assert!(matches!(outcome, Err(RedeemError::HostnameTaken)));
}

#[test]
fn a_new_invite_ends_the_old_one() {
    let state = State::new();
    state.invite("a.example", false).unwrap();
    state.invite_with("a.example", 9, DAY).unwrap();
    assert!(state.redeem(1, "a.example", 7, NOW).is_err());
    assert!(state.redeem(1, "a.example", 9, NOW).is_ok());
}

#[test]
fn racing_redemptions_have_one_winner() {
    for _ in 0..20 {
        let state = State::new();
        state.invite("a.example", false).unwrap();
        let barrier = Barrier::new(8);
        let n_winners = std::thread::scope(|scope| {
            let race = |number| {
                let (state, barrier) = (&state, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    state.redeem(number, "a.example", 7, NOW).is_ok()
                })
            };
            let racers: Vec<_> = (0..8).map(race).collect();
            racers
                .into_iter()
                .map(|it| it.join().unwrap())
                .filter(|won| *won)
                .count()
        });
        assert_eq!(n_winners, 1);
    }
}

#[test]
fn the_state_survives_and_holds_no_secret() {
    let state = State::new();
    state.invite("a.example", false).unwrap();
    state.redeem(1, "a.example", 7, NOW).unwrap();
    state.invite("b.example", false).unwrap();
    let homes = state.registry.homes();
    let State {
        registry,
        directory,
        ..
    } = state;
    drop(registry);
    for name in ["homes.toml", "invites.toml"] {
        let path = directory.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("07070707"), "{text}");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let homes_text = fs::read_to_string(directory.path().join("homes.toml")).unwrap();
    let expected = format!(
        "[[home]]\nhostname = \"a.example\"\nkey = \"{}\"\njoined = 2027-01-15T08:00:00Z\n",
        key(1)
    );
    assert_eq!(homes_text, expected);
    let state = State::open(directory);
    assert_eq!(state.registry.homes(), homes);
    assert!(state.redeem(2, "b.example", 7, NOW).is_ok());
}

#[test]
fn one_process_has_the_state() {
    let state = State::new();
    let second = Registry::open(state.directory.path());
    assert!(matches!(second, Err(RegistryError::InUse { .. })));
}

#[test]
fn a_command_that_looks_at_it_does_not_keep_a_relay_from_starting() {
    let directory = TempDir::new().unwrap();
    for _ in 0..20 {
        let looking = Registry::open(directory.path()).unwrap();
        let both = Barrier::new(2);
        std::thread::scope(|scope| {
            let starting = scope.spawn(|| {
                both.wait();
                Registry::open_within(directory.path(), Duration::from_secs(60)).map(drop)
            });
            both.wait();
            drop(looking);
            starting.join().unwrap().unwrap();
        });
    }
}

#[test]
fn a_damaged_file_is_reported_with_its_line() {
    let directory = TempDir::new().unwrap();
    fs::write(
        directory.path().join("homes.toml"),
        "[[home]]\nhostname = \"a b\"\n",
    )
    .unwrap();
    let error = Registry::open(directory.path()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("line 2"), "{source}");

    let line = format!(
        "[[home]]\nhostname = \"a\"\nkey = \"{}\"\njoined = 2026-01-01T00:00:00Z\n",
        key(1)
    );
    fs::write(directory.path().join("homes.toml"), line.repeat(2)).unwrap();
    let error = Registry::open(directory.path()).unwrap_err();
    assert!(matches!(error, RegistryError::Duplicate { .. }));
}

#[test]
fn a_revoked_name_is_free_and_its_invite_gone() {
    let state = State::new();
    let hostname: Hostname = "a.example".parse().unwrap();
    assert!(matches!(
        state.registry.revoke(&hostname),
        Err(RevokeError::NoSuchHome { .. })
    ));
    state.invite("a.example", false).unwrap();
    assert_eq!(state.registry.revoke(&hostname).unwrap(), None);
    assert!(state.redeem(1, "a.example", 7, NOW).is_err());
    state.invite("a.example", false).unwrap();
    state.redeem(1, "a.example", 7, NOW).unwrap();
    assert_eq!(
        state.registry.revoke(&hostname).unwrap(),
        Some(key(1).into())
    );
    assert_eq!(state.registry.key_of(&hostname), None);
}

#[test]
fn terms_that_cannot_be_met_make_no_code() {
    let state = State::new();
    for ttl in [Duration::ZERO, DAY * 31] {
        assert!(matches!(
            state.invite_with("a.example", 7, ttl),
            Err(InviteError::Ttl)
        ));
    }
    assert!(matches!(
        state.invite("relay.example", false),
        Err(InviteError::OwnName { .. })
    ));
}

#[test]
fn what_cannot_be_written_is_not_in_force() {
    let state = State::new();
    state.invite("a.example", false).unwrap();
    // A directory in the way of the new file fails the write, for root too.
    fs::create_dir(state.directory.path().join("homes.toml.new")).unwrap();
    assert!(matches!(
        state.redeem(1, "a.example", 7, NOW),
        Err(RedeemError::Write(_))
    ));
    assert!(state.registry.homes().is_empty());
}

/// A write that fails leaves the folder as a kill at that moment would.
#[test]
fn a_code_lets_one_key_in_whatever_was_written_when_the_relay_ended() {
    for is_taken in [false, true] {
        for blocked in ["homes.toml.new", "invites.toml.new"] {
            let state = State::new();
            if is_taken {
                state.invite("a.example", false).unwrap();
                state.redeem(1, "a.example", 7, NOW).unwrap();
            }
            state.invite("a.example", is_taken).unwrap();
            let block = state.directory.path().join(blocked);
            fs::create_dir(&block).unwrap();
            let outcome = state.redeem(2, "a.example", 7, NOW);
            let is_in = blocked == "invites.toml.new";
            assert_eq!(outcome.is_ok(), is_in, "{blocked}: {outcome:?}");

            let copy = state.copy();
            assert_eq!(copy.registry.homes(), state.registry.homes(), "{blocked}");
            fs::remove_dir(&block).unwrap();
            for state in [copy, state] {
                if is_in {
                    assert_eq!(state.owner("a.example"), Some(key(2).into()));
                    assert!(state.redeem(3, "a.example", 7, NOW).is_err(), "{is_taken}");
                }
                let again = state.redeem(2, "a.example", 7, NOW);
                assert!(again.is_ok(), "{is_taken} {blocked}: {again:?}");
                assert!(matches!(
                    state.redeem(3, "a.example", 7, NOW),
                    Err(RedeemError::Rejected)
                ));
                assert_eq!(state.copy().owner("a.example"), Some(key(2).into()));
                assert!(!state.text("invites.toml").contains("a.example"));
            }
        }
    }
}

#[test]
fn a_home_that_redeems_a_code_for_its_own_name_uses_it_up_or_is_told_so() {
    let state = State::new();
    state.invite("a.example", false).unwrap();
    state.redeem(1, "a.example", 7, NOW).unwrap();
    state.invite("a.example", true).unwrap();
    let block = state.directory.path().join("invites.toml.new");
    fs::create_dir(&block).unwrap();
    let outcome = state.redeem(1, "a.example", 7, NOW);
    assert!(matches!(outcome, Err(RedeemError::Write(_))), "{outcome:?}");
    fs::remove_dir(&block).unwrap();
    assert_eq!(state.redeem(1, "a.example", 7, NOW).unwrap().replaced, None);
    for state in [state.copy(), state] {
        let outcome = state.redeem(3, "a.example", 7, NOW);
        assert!(matches!(outcome, Err(RedeemError::Rejected)));
    }
}

#[test]
fn a_code_takes_a_name_from_the_home_that_had_it_and_from_no_other() {
    let state = State::new();
    state.invite("a.example", false).unwrap();
    state.redeem(1, "a.example", 7, NOW).unwrap();
    state.invite("a.example", true).unwrap();
    let (homes, invites) = (state.text("homes.toml"), state.text("invites.toml"));
    let replaces = format!("replaces = \"{}\"", key(1));
    assert!(invites.contains(&replaces), "{invites}");
    let moved = homes.replace(&key(1).to_string(), &key(4).to_string());
    // As it was written before: it does not say from whom.
    let earlier = invites.replace(&replaces, "replace = true");
    for (homes, invites) in [(&moved, &invites), (&homes, &earlier)] {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("homes.toml"), homes).unwrap();
        fs::write(directory.path().join("invites.toml"), invites).unwrap();
        let outcome = State::open(directory).redeem(2, "a.example", 7, NOW);
        assert!(matches!(outcome, Err(RedeemError::HostnameTaken)));
    }
}

struct State {
    registry: Registry,
    config: Config,
    directory: TempDir,
}

impl State {
    fn new() -> Self {
        Self::open(TempDir::new().unwrap())
    }

    fn open(directory: TempDir) -> Self {
        // RFC 8410 section 7: an Ed25519 private key is this prefix and 32 bytes.
        let mut identity = data_encoding::HEXLOWER
            .decode(b"302e020100300506032b657004220420")
            .unwrap();
        identity.extend([1; 32]);
        let identity = PrivatePkcs8KeyDer::from(identity);
        let addresses = vec!["relay.example:443".to_owned()];
        Self {
            registry: Registry::open(directory.path()).unwrap(),
            config: Config::new("relay.example".parse().unwrap(), identity, addresses),
            directory,
        }
    }

    /// The same files, opened by another relay.
    fn copy(&self) -> Self {
        let directory = TempDir::new().unwrap();
        for name in ["homes.toml", "invites.toml"] {
            let from = self.directory.path().join(name);
            if from.exists() {
                fs::copy(from, directory.path().join(name)).unwrap();
            }
        }
        Self::open(directory)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    fn owner(&self, hostname: &str) -> Option<HomeKey> {
        self.registry.key_of(&hostname.parse().unwrap())
    }

    fn invite(&self, hostname: &str, replace: bool) -> Result<JoinCode, InviteError> {
        let hostname = hostname.parse().unwrap();
        let terms = InviteTerms {
            hostname,
            ttl: DAY,
            replace,
        };
        self.registry
            .invite(&self.config, key(9), terms, JoinSecret::new([7; 16]), NOW)
    }

    fn invite_with(
        &self,
        hostname: &str,
        secret: u8,
        ttl: Duration,
    ) -> Result<JoinCode, InviteError> {
        let terms = InviteTerms {
            hostname: hostname.parse().unwrap(),
            ttl,
            replace: false,
        };
        self.registry.invite(
            &self.config,
            key(9),
            terms,
            JoinSecret::new([secret; 16]),
            NOW,
        )
    }

    fn redeem(
        &self,
        number: u8,
        hostname: &str,
        secret: u8,
        now: u64,
    ) -> Result<Redeemed, RedeemError> {
        let secret = JoinSecret::new([secret; 16]);
        let (hostname, routes) = (hostname.parse().unwrap(), &self.config.routes);
        self.registry
            .redeem(key(number), &hostname, &secret, routes, now)
    }
}

fn key(number: u8) -> PublicKey {
    PublicKey([number; 32])
}
