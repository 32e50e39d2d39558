use cloudless_proto::caa::{Fault, Wanted};
use cloudless_proto::trust::zone::{Check, RelaySite, Trap, examine};

use self::knot::{Keys, Knot, Signed, Zone, is_missing};
use super::*;

pub(crate) mod knot;

fn wanted() -> Wanted {
    Wanted::Account {
        issuer: "ca.example".to_owned(),
        account_uri: "https://ca.example/acct/7".to_owned(),
        method: "tls-alpn-01".to_owned(),
    }
}

/// Says that a zone lets anybody have a wildcard.
const OPEN: &str = "; open\n";

/// CAA records at a name, as they should be, and an address of the relay.
fn good(name: &str) -> String {
    let records = wanted().records();
    let caa: Vec<_> = records
        .iter()
        .map(|it| format!("{name}. 60 CAA {it}\n"))
        .collect();
    format!("{}{name}. 60 A 203.0.113.5\n", caa.concat())
}

fn relay() -> RelaySite {
    RelaySite {
        addresses: ["203.0.113.5".parse().unwrap()].into(),
        ..RelaySite::default()
    }
}

/// Zones below `test`: those with keys are delegated with a DS record.
struct World {
    keys: Keys,
}

impl World {
    fn new() -> Self {
        let keys = Keys::new(&[
            "test",
            "alice.test",
            "three.test",
            "broken.test",
            "other.test",
        ]);
        Self { keys }
    }

    /// A server of `test` and of these zones.
    fn serve(&self, zones: &[Zone<'_>]) -> Knot {
        let mut top = "ns.test. 60 A ADDRESS\n".to_owned();
        for (zone, _, _) in zones {
            // A zone in a zone.
            if zone.starts_with('_') {
                continue;
            }
            top.push_str(&format!("{zone}. 60 NS ns.test.\n"));
            let ds = match *zone {
                "plain.test" => continue,
                // The DS of another key.
                "broken.test" => self.keys.ds("other.test").replace("other.test", zone),
                zone => self.keys.ds(zone),
            };
            top.push_str(&ds.replacen(" DS", " 60 DS", 1));
            top.push('\n');
        }
        let mut zones = zones.to_vec();
        for (zone, records, _) in &mut zones {
            let at_top = format!("{zone}. 60 CAA");
            let has_caa = records.lines().any(|line| line.starts_with(&at_top));
            if !has_caa && !records.contains(OPEN) {
                records.push_str(&format!("{zone}. 60 CAA 0 issuewild \";\"\n"));
            }
        }
        zones.push(("test", top, Signed::Nsec));
        Knot::start(&self.keys, &zones)
    }

    /// Asks name servers of `truth`, and it and these as resolvers.
    fn dns(&self, truth: &Knot, others: &[SocketAddr]) -> Dns {
        let mut resolvers = vec![truth.address];
        resolvers.extend(others);
        let config = DnsConfig {
            resolvers: resolvers.into_iter().map(|it| vec![it]).collect(),
            trust_anchor: Some(self.keys.dnskey("test")),
            name_server_port: truth.address.port(),
            // A machine that builds something else takes its time.
            timeout: Duration::from_secs(5),
        };
        Dns::new(&config).unwrap()
    }
}

async fn traps(dns: &Dns, name: &str) -> Vec<Trap> {
    let observation = dns.observe(&name.parse().unwrap()).await;
    examine(&observation, &wanted(), &relay())
}

fn checks(traps: &[Trap]) -> Vec<Check> {
    let mut checks: Vec<_> = traps.iter().map(Trap::check).collect();
    checks.dedup();
    checks
}

#[tokio::test]
async fn a_signed_name_is_secure_from_the_anchor_down() {
    if is_missing() {
        return;
    }
    let world = World::new();
    let zones = |signed| {
        (
            if signed == Signed::Nsec {
                "alice.test"
            } else {
                "three.test"
            },
            signed,
        )
    };
    for (zone, signed) in [Signed::Nsec, Signed::Nsec3].map(zones) {
        // At the name itself, and at the zone, from where it holds for all below.
        for (owner, name) in [("home", "home"), ("", "a.b")] {
            let owner = if owner.is_empty() {
                zone.to_owned()
            } else {
                format!("{owner}.{zone}")
            };
            let name = format!("{name}.{zone}");
            let extra = if owner == name {
                String::new()
            } else {
                format!("{name}. 60 A 203.0.113.5\n")
            };
            let server = world.serve(&[(zone, good(&owner) + &extra, signed)]);
            let dns = world.dns(&server, &[server.address]);
            let observation = dns.observe(&name.parse().unwrap()).await;
            assert_eq!(observation.views.len(), 3, "{observation:?}");
            for view in &observation.views[1..] {
                let proofs: Vec<_> = view.caa.iter().map(|it| it.proof).collect();
                assert!(
                    proofs.iter().all(|it| *it == Proof::Secure),
                    "{name}: {view:?}"
                );
            }
            assert_eq!(observation.name_servers[0].name, "ns.test");
            assert_eq!(examine(&observation, &wanted(), &relay()), [], "{name}");
        }
    }
}

#[tokio::test]
async fn an_unsigned_zone_is_told_and_a_broken_one_is_bogus() {
    if is_missing() {
        return;
    }
    let world = World::new();
    let server = world.serve(&[
        ("plain.test", good("home.plain.test"), Signed::No),
        ("broken.test", good("home.broken.test"), Signed::Nsec),
    ]);
    let dns = world.dns(&server, &[]);
    let found = traps(&dns, "home.plain.test").await;
    let unsigned = Fault::Unsigned("home.plain.test".to_owned());
    let seen_by = vec![Source::Resolver(server.address)];
    assert_eq!(
        found,
        [Trap::Caa {
            fault: unsigned,
            seen_by: seen_by.clone()
        }]
    );
    let found = traps(&dns, "home.broken.test").await;
    let bogus = Fault::Bogus("home.broken.test".to_owned());
    assert!(
        found.contains(&Trap::Caa {
            fault: bogus,
            seen_by
        }),
        "{found:?}"
    );
    // The absence of records can be as bogus as records are.
    let found = traps(&dns, "none.broken.test").await;
    let bogus = Fault::Bogus("none.broken.test".to_owned());
    assert!(
        found
            .iter()
            .any(|it| matches!(it, Trap::Caa { fault, .. } if *fault == bogus)),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_resolver_cannot_make_up_what_the_zone_did_not_sign() {
    if is_missing() {
        return;
    }
    let world = World::new();
    let truth = world.serve(&[("alice.test", good("home.alice.test"), Signed::Nsec)]);
    let theirs = good("home.alice.test").replace("acct/7", "acct/666");
    for lie in [theirs, "home.alice.test. 60 A 203.0.113.5\n".to_owned()] {
        let liar = world.serve(&[("alice.test", lie, Signed::No)]);
        let found = traps(&world.dns(&truth, &[liar.address]), "home.alice.test").await;
        let bogus = Trap::Caa {
            fault: Fault::Bogus("home.alice.test".to_owned()),
            seen_by: vec![Source::Resolver(liar.address)],
        };
        assert_eq!(found, [bogus]);
    }
}

#[tokio::test]
async fn a_resolver_that_has_an_older_zone_disagrees() {
    if is_missing() {
        return;
    }
    let world = World::new();
    let truth = world.serve(&[("alice.test", good("home.alice.test"), Signed::Nsec)]);
    let old = "home.alice.test. 60 A 203.0.113.77\n".to_owned();
    let old = world.serve(&[("alice.test", old, Signed::Nsec)]);
    let found = traps(&world.dns(&truth, &[old.address]), "home.alice.test").await;
    assert_eq!(
        checks(&found),
        [Check::Views, Check::Caa, Check::Addresses],
        "{found:?}"
    );
    assert!(found.contains(&Trap::Disagrees(Source::Resolver(old.address))));
    assert!(found.contains(&Trap::ForeignAddress("203.0.113.77".parse().unwrap())));
}

#[tokio::test]
async fn a_resolver_that_is_not_there_is_told() {
    if is_missing() {
        return;
    }
    let world = World::new();
    let truth = world.serve(&[("alice.test", good("home.alice.test"), Signed::Nsec)]);
    let gone = world.serve(&[]);
    let address = gone.address;
    drop(gone);
    let found = traps(&world.dns(&truth, &[address]), "home.alice.test").await;
    assert_eq!(found, [Trap::Silent(Source::Resolver(address))]);
}

#[tokio::test]
async fn aliases_and_names_given_away_are_found() {
    if is_missing() {
        return;
    }
    let world = World::new();
    let records = [
        "home.alice.test. 60 CNAME relay.alice.test.\n",
        "relay.alice.test. 60 A 203.0.113.5\n",
        &good("good.alice.test"),
        "_acme-challenge.good.alice.test. 60 CNAME x.relay.alice.test.\n",
        "_validation-persist.good.alice.test. 60 NS ns.test.\n",
    ];
    let server = world.serve(&[
        ("alice.test", records.concat(), Signed::Nsec),
        (
            "_validation-persist.good.alice.test",
            String::new(),
            Signed::No,
        ),
    ]);
    let dns = world.dns(&server, &[]);
    let found = traps(&dns, "home.alice.test").await;
    let is_alias = |trap: &Trap| {
        matches!(trap, Trap::Caa { fault: Fault::Alias { to, .. }, seen_by }
            if to == "relay.alice.test" && seen_by.len() == 2)
    };
    assert!(found.iter().any(is_alias), "{found:?}");
    let found = traps(&dns, "good.alice.test").await;
    let given = |name: &str, to: &str| Trap::Delegated {
        name: format!("{name}.good.alice.test"),
        to: to.to_owned(),
    };
    let expected = [
        given("_acme-challenge", "x.relay.alice.test"),
        given("_validation-persist", "ns.test"),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_domain_above_is_asked_for_its_wildcards_and_challenge_names() {
    if is_missing() {
        return;
    }
    let world = World::new();
    let given = "_acme-challenge.alice.test. 60 CNAME x.relay.alice.test.\n";
    let open = good("home.alice.test") + OPEN;
    let advice = Trap::WildcardAbove("alice.test".to_owned());
    let red = Trap::DelegatedAbove {
        name: "_acme-challenge.alice.test".to_owned(),
        to: "x.relay.alice.test".to_owned(),
    };
    for (name, records, expected) in [
        ("home.alice.test", open.clone(), vec![advice.clone()]),
        ("home.alice.test", open + given, vec![red, advice]),
        // Forbidden, who has the name gets nothing that covers home's.
        ("home.alice.test", good("home.alice.test") + given, vec![]),
        // Above the top of a zone is somebody else's.
        ("alice.test", good("alice.test"), vec![]),
    ] {
        let server = world.serve(&[("alice.test", records, Signed::Nsec)]);
        let found = traps(&world.dns(&server, &[]), name).await;
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_trust_anchor_that_is_none_is_refused() {
    let config = DnsConfig {
        trust_anchor: Some("alice.test. 60 IN A 192.0.2.1".to_owned()),
        ..DnsConfig::default()
    };
    assert!(matches!(
        Dns::new(&config),
        Err(DnsConfigError::TrustAnchor(_))
    ));
    assert!(Dns::new(&DnsConfig::default()).is_ok());
}
