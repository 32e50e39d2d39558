use std::collections::BTreeSet;
use std::net::IpAddr;

use cloudless_proto::caa::Property;
use cloudless_proto::dns::{Answer, Proof};
use cloudless_proto::trust::zone::{Delegation, NameServer, Source, View};
use cloudless_store::{Device, Store, Timestamp};

use super::*;
use crate::trust::transparency::{self, Monitor};

const NAME: &str = "home.alice.de";
const URI: &str = "https://ca.example/acct/7";

fn account() -> Account {
    Account {
        issuer: "ca.example".to_owned(),
        uri: URI.to_owned(),
        method: "tls-alpn-01".to_owned(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn relay() -> RelaySite {
    RelaySite {
        addresses: [ip("203.0.113.5")].into(),
        names: ["static.5.hosting.example".to_owned()].into(),
        ..RelaySite::default()
    }
}

fn view(source: Source, proof: Proof) -> View {
    let wanted = wanted(Level::Public, Some(&account())).unwrap();
    View {
        source,
        caa: vec![Answer::new(NAME, wanted.records(), proof)],
        above: vec![Answer::new(
            "alice.de",
            vec![Property::new("issuewild", ";")],
            proof,
        )],
        addresses: Some([ip("203.0.113.5")].into()),
    }
}

/// A name in a signed zone, with everything as it should be.
fn good() -> Observation {
    let name_server = Source::NameServer {
        name: "ns.dns.example".to_owned(),
        address: ip("198.51.100.53"),
    };
    let resolver = Source::Resolver("192.0.2.1:53".parse().unwrap());
    Observation {
        views: vec![
            view(name_server, Proof::Unchecked),
            view(resolver, Proof::Secure),
        ],
        name_servers: vec![NameServer {
            name: "ns.dns.example".to_owned(),
            addresses: vec![ip("198.51.100.53")],
        }],
        delegations: BTreeSet::new(),
        delegations_above: BTreeSet::new(),
        clock_skew: Some(0),
    }
}

fn judged(level: Level, demands: bool, observation: &Observation) -> NameReport {
    judged_with(level, demands, observation, Vec::new())
}

fn judged_with(
    level: Level,
    demands: bool,
    observation: &Observation,
    unknown: Vec<Issuance>,
) -> NameReport {
    let account = account();
    let watched = Watched {
        checked_at: Some(1),
        unknown,
        ..Watched::default()
    };
    let relay = relay();
    let wanted = wanted(level, Some(&account));
    let traps = wanted.map_or(Vec::new(), |it| examine(observation, &it, &relay));
    let findings = Findings {
        account: Some(&account),
        before: None,
        is_protected: zone::judge(observation, &traps) == zone::Verdict::Protected,
        observation: Some(observation),
        relay: &relay,
        demands,
        trusted_alone: false,
        watched: Some(&watched),
        asked: Monitor::ALL.to_vec(),
        unheard: Duration::ZERO,
        now: 2,
    };
    report(&NAME.parse().unwrap(), level, &findings)
}

fn records(observation: &mut Observation, change: impl Fn(&mut Vec<Property>)) {
    let views = observation.views.iter_mut();
    views.for_each(|view| change(&mut view.caa[0].records));
}

fn add(observation: &mut Observation, tag: &str, value: &str) {
    records(observation, |it| it.push(Property::new(tag, value)));
}

fn replace(observation: &mut Observation, value: &str) {
    records(observation, |it| it[0] = Property::new("issue", value));
}

#[test]
fn a_good_name_is_green_and_in_force() {
    let report = judged(Level::Public, false, &good());
    assert!(
        report.checks.iter().all(|it| it.state == CheckState::Good),
        "{report:#?}"
    );
    assert!(report.is_served && report.in_force == Level::Public && report.is_signed);
}

fn wildcards_of_others(observation: &mut Observation) {
    let views = observation.views.iter_mut();
    views.for_each(|view| view.above[0].records.clear());
}

/// One way in which a name's protection is lost.
type Trapped = fn(&mut Observation);

/// What an owner can do wrong, and somebody else to them. Each has a red check that says what to do,
/// and all that open the name take it offline.
#[test]
fn every_trap_is_a_red_check_with_what_to_do() {
    let traps: [(&str, bool, Trapped); 19] = [
        ("the name is a CNAME to the relay", true, |it| {
            let views = it.views.iter_mut();
            views.for_each(|view| view.caa[0].alias = Some("static.5.hosting.example".to_owned()));
        }),
        ("_acme-challenge was given to the relay", true, |it| {
            it.delegations.insert(Delegation {
                name: format!("_acme-challenge.{NAME}"),
                to: "static.5.hosting.example".to_owned(),
            });
        }),
        ("_validation-persist was given to the relay", true, |it| {
            it.delegations.insert(Delegation {
                name: format!("_validation-persist.{NAME}"),
                to: "static.5.hosting.example".to_owned(),
            });
        }),
        (
            "the relay can get a wildcard that covers the name",
            true,
            |it| {
                wildcards_of_others(it);
                it.delegations_above.insert(Delegation {
                    name: "_acme-challenge.alice.de".to_owned(),
                    to: "static.5.hosting.example".to_owned(),
                });
            },
        ),
        ("the zone is on a name server of the relay's", true, |it| {
            it.name_servers[0].addresses = vec![ip("203.0.113.5")];
        }),
        ("the zone is at the relay's company", true, |it| {
            it.name_servers[0].name = "ns1.hosting.example".to_owned();
        }),
        ("there are no records", true, |it| records(it, Vec::clear)),
        ("there is nothing but `iodef`", true, |it| {
            records(it, |it| {
                *it = vec![Property::new("iodef", "mailto:me@alice.de")]
            });
        }),
        ("a second record binds no account", true, |it| {
            add(it, "issue", "ca.example");
        }),
        ("a second record lets another CA issue", true, |it| {
            add(
                it,
                "issue",
                "other.example; accounturi=https://ca.example/acct/7",
            );
        }),
        ("a wildcard may be issued", true, |it| {
            add(it, "issuewild", "ca.example");
        }),
        ("the account stands there twice", true, |it| {
            let uri = "accounturi=https://ca.example/acct/7";
            replace(
                it,
                &format!("ca.example; {uri}; {uri}; validationmethods=tls-alpn-01"),
            );
        }),
        ("the account is of the CA's staging system", true, |it| {
            let uri = "https://ca-staging.example/acct/7";
            replace(
                it,
                &format!("ca.example; accounturi={uri}; validationmethods=tls-alpn-01"),
            );
        }),
        ("the account is another one", true, |it| {
            let uri = "https://ca.example/acct/8";
            replace(
                it,
                &format!("ca.example; accounturi={uri}; validationmethods=tls-alpn-01"),
            );
        }),
        ("the method is another one", true, |it| {
            replace(
                it,
                &format!("ca.example; accounturi={URI}; validationmethods=http-01"),
            );
        }),
        ("DNSSEC is broken", true, |it| {
            it.views[1].caa[0].proof = Proof::Bogus
        }),
        ("an old address of the relay is left", false, |it| {
            it.views[0].addresses = Some([ip("203.0.113.5"), ip("203.0.114.77")].into());
        }),
        ("a resolver sees something else", false, |it| {
            records(it, |it| it.truncate(1));
            add(it, "issuewild", ";");
            it.views[1].caa[0].records.pop();
        }),
        ("the clock is wrong by a day", false, |it| {
            it.clock_skew = Some(86_400)
        }),
    ];
    for (title, opens, change) in traps {
        let mut observation = good();
        change(&mut observation);
        let report = judged(Level::Public, false, &observation);
        let bad = report
            .checks
            .iter()
            .filter(|it| it.state == CheckState::Bad);
        let problems: Vec<_> = bad.flat_map(|it| &it.problems).collect();
        assert!(!problems.is_empty(), "{title}: {report:#?}");
        for problem in problems {
            assert!(
                !problem.message.is_empty() && !problem.remedy.is_empty(),
                "{title}"
            );
        }
        assert_eq!(report.is_served, !opens, "{title}");
        if opens {
            assert_eq!(report.in_force, Level::HonestRelay, "{title}");
            let relay = report
                .holdings
                .iter()
                .find(|it| it.attacker == Attacker::ActiveRelay);
            assert!(relay.unwrap().book > Outcome::Safe, "{title}");
        }
    }
}

/// What could be better and leaves the level in force.
#[test]
fn advice_is_not_red() {
    let advised: [(&str, Trapped); 4] = [
        (
            "a wildcard of the domain above is not forbidden",
            wildcards_of_others,
        ),
        ("there is no issuewild", |it| {
            records(it, |it| it.truncate(1))
        }),
        ("no method is bound", |it| {
            replace(it, &format!("ca.example; accounturi={URI}"));
        }),
        ("the zone is not signed", |it| {
            it.views[1].caa[0].proof = Proof::Insecure
        }),
    ];
    for (title, change) in advised {
        let mut observation = good();
        change(&mut observation);
        let report = judged(Level::Public, false, &observation);
        let worst = report.checks.iter().map(|it| it.state).max();
        assert_eq!(worst, Some(CheckState::Advice), "{title}: {report:#?}");
        assert_eq!(report.in_force, Level::Public, "{title}");
    }
}

#[test]
fn client_certificates_are_in_force_where_they_are_demanded() {
    let book = |report: &NameReport, attacker| {
        let mut all = report.holdings.iter();
        all.find(|it| it.attacker == attacker).unwrap().book
    };
    let level = Level::ClientCertificates;
    let report = judged(level, true, &good());
    assert_eq!((report.in_force, report.is_served), (level, true));
    assert_eq!(book(&report, Attacker::DnsProvider), Outcome::Safe);
    // Nothing is said to hold that is not there.
    let report = judged(level, false, &good());
    assert_eq!(report.in_force, Level::Public);
    assert_eq!(book(&report, Attacker::DnsProvider), Outcome::Noticed);
    // What is demanded holds at each level.
    let report = judged(Level::HonestRelay, true, &good());
    assert_eq!(report.in_force, Level::HonestRelay);
    assert_eq!(book(&report, Attacker::ActiveRelay), Outcome::Safe);
    assert!(
        report.steps.iter().any(|it| it.contains("acme")),
        "{report:?}"
    );
}

#[test]
fn a_name_is_for_the_devices_that_get_in_under_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.create_user("me", Timestamp(1)).unwrap();
    for (number, name, certificate) in [
        (1, "phone", Some([1; 32])),
        (2, "laptop", None),
        (3, "lost", None),
    ] {
        let added =
            store.add_device_with_certificate("me", name, [number; 32], certificate, Timestamp(1));
        added.unwrap();
    }
    store.revoke_device("me", "lost", Timestamp(2)).unwrap();
    let assigned = |devices: &[Device]| {
        let mut reports = [true, false].map(|demands| {
            let level = if demands {
                Level::ClientCertificates
            } else {
                Level::Public
            };
            judged(level, demands, &good())
        });
        assign(&mut reports, devices);
        reports
    };
    let reports = assigned(&store.devices(None).unwrap());
    let named = reports.each_ref().map(|report| {
        let names = report.devices.iter().map(|it| it.name.as_str());
        names.collect::<Vec<_>>()
    });
    assert_eq!(named, [vec!["phone"], vec!["laptop"]]);
    // A name that nobody can use is told.
    let [demanding, open] = assigned(&[]);
    let states = |report: &NameReport| report.checks.iter().map(|it| it.state).max();
    assert_eq!(states(&demanding), Some(CheckState::Advice));
    assert_eq!(states(&open), Some(CheckState::Good));
}

#[test]
fn each_level_says_how_to_get_to_the_next() {
    for level in [Level::HonestRelay, Level::Public, Level::ClientCertificates] {
        let demands = level == Level::ClientCertificates;
        let report = judged(level, demands, &good());
        assert!(report.steps.len() >= 2, "{level}: {:?}", report.steps);
        assert!(report.next.is_some(), "{level}");
    }
    let steps = judged(Level::Public, false, &good()).steps.join("\n");
    for part in [
        "relay invite m.home.alice.de",
        "client_certificates = true",
        "--client-certificate",
    ] {
        assert!(steps.contains(part), "{part}: {steps}");
    }
}

#[test]
fn nothing_holds_while_somebody_else_has_a_certificate() {
    let unknown = || {
        vec![Issuance {
            key: "ab".repeat(32),
            issuer: "CA".to_owned(),
            not_before: 0,
            not_after: i64::MAX,
            has_ended: false,
            monitor: Monitor::CertSpotter,
            id: "1".to_owned(),
        }]
    };
    let of_relay = |report: &NameReport| {
        let mut all = report.holdings.iter();
        all.find(|it| it.attacker == Attacker::ActiveRelay)
            .unwrap()
            .exchange
    };
    let report = judged_with(Level::Public, false, &good(), unknown());
    // It is told, and up to the owner what to do: a CA or a log could err.
    assert!(report.is_served, "{report:#?}");
    assert_eq!(report.in_force, Level::HonestRelay);
    assert_eq!(of_relay(&report), Outcome::Noticed);
    let bad = report.checks.iter().find(|it| it.state == CheckState::Bad);
    let remedy = &bad.unwrap().problems[0].remedy;
    assert!(
        remedy.contains(&format!("--accept {}", "ab".repeat(32))),
        "{remedy}"
    );
    // Devices that were told of home's own authority may trust the public ones besides; those that
    // trust this very certificate take no other.
    let mut pinned = good();
    records(&mut pinned, |it| *it = Wanted::Nobody.records());
    let report = judged_with(Level::Pinned, false, &pinned, unknown());
    assert_eq!(
        (report.in_force, of_relay(&report), report.is_served),
        (Level::HonestRelay, Outcome::Noticed, true)
    );
    let watched = Watched {
        checked_at: Some(1),
        unknown: unknown(),
        ..Watched::default()
    };
    let relay = relay();
    let findings = Findings {
        before: None,
        account: None,
        is_protected: true,
        observation: Some(&pinned),
        relay: &relay,
        demands: false,
        trusted_alone: true,
        watched: Some(&watched),
        asked: Monitor::ALL.to_vec(),
        unheard: Duration::ZERO,
        now: 2,
    };
    let report = super::report(&NAME.parse().unwrap(), Level::Pinned, &findings);
    assert_eq!(
        (report.in_force, of_relay(&report)),
        (Level::Pinned, Outcome::Safe)
    );
}

/// What somebody could do with it is over, and its owner has to know all the same.
#[test]
fn a_certificate_that_has_ended_is_told_and_lowers_nothing() {
    let ended = Issuance {
        key: "ab".repeat(32),
        issuer: "CA".to_owned(),
        not_before: 0,
        not_after: 1,
        has_ended: true,
        monitor: Monitor::CrtSh,
        id: "1".to_owned(),
    };
    let report = judged_with(Level::Public, false, &good(), vec![ended]);
    assert_eq!(report.in_force, Level::Public);
    assert_eq!(report.unknown_certificates.len(), 1);
    let mut checks = report
        .checks
        .iter()
        .filter(|it| it.state != CheckState::Good);
    let problem = &checks.next().unwrap().problems[0];
    assert!(problem.message.contains("has ended"), "{problem:?}");
    assert!(problem.remedy.contains("--accept"), "{problem:?}");
    assert_eq!(checks.next(), None);
}

#[test]
fn a_source_that_fails_for_days_is_told_beside_one_that_does_not() {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let observation = good();
    let (account, relay) = (account(), relay());
    let judged = |days: i64, failures: u32, asked: Vec<Monitor>| {
        let source = transparency::Source {
            failing_since: Some((10 - days) * DAY),
            failures,
            error: Some("crt.sh is asleep".to_owned()),
            ..transparency::Source::default()
        };
        let watched = Watched {
            checked_at: Some(10 * DAY),
            sources: [(Monitor::CrtSh, source)].into(),
            ..Watched::default()
        };
        let findings = Findings {
            before: None,
            account: Some(&account),
            is_protected: true,
            observation: Some(&observation),
            relay: &relay,
            demands: false,
            trusted_alone: false,
            watched: Some(&watched),
            asked,
            unheard: Duration::ZERO,
            now: 10 * DAY,
        };
        report(&NAME.parse().unwrap(), Level::Public, &findings)
    };
    let report = judged(3, 8, Monitor::ALL.to_vec());
    let [silent] = &report.silent_sources[..] else {
        panic!("{report:#?}");
    };
    assert_eq!((silent.monitor, silent.since), (Monitor::CrtSh, 7 * DAY));
    assert_eq!(report.logs, LogWatch::Heard);
    let check = report.checks.last().unwrap();
    assert_eq!(check.state, CheckState::Advice);
    let problem = &check.problems[0].message;
    assert!(problem.contains("crt.sh is asleep"), "{problem}");
    // It was off for the days, it is not asked any more, or it is only for now.
    for (days, failures, asked) in [
        (3, 7, Monitor::ALL.to_vec()),
        (3, 8, vec![Monitor::CertSpotter]),
        (2, 80, Monitor::ALL.to_vec()),
    ] {
        assert_eq!(judged(days, failures, asked).silent_sources, []);
    }
}

#[test]
fn who_has_heard_nothing_for_a_day_is_not_said_to_watch() {
    const HOUR: i64 = 60 * 60 * 1000;
    let observation = good();
    let (account, relay) = (account(), relay());
    let judged = |checked_at: Option<i64>, is_on: bool, unheard_hours: u64| {
        let watched = Watched {
            checked_at,
            ..Watched::default()
        };
        let findings = Findings {
            before: None,
            account: Some(&account),
            is_protected: true,
            observation: Some(&observation),
            relay: &relay,
            demands: false,
            trusted_alone: false,
            watched: is_on.then_some(&watched),
            asked: Monitor::ALL.to_vec(),
            unheard: Duration::from_secs(unheard_hours * 60 * 60),
            now: 100 * HOUR,
        };
        report(&NAME.parse().unwrap(), Level::Public, &findings)
    };
    for (checked_at, is_on, unheard_hours, expected) in [
        (Some(77), true, 23, LogWatch::Heard),
        (None, true, 1, LogWatch::Waiting),
        // It was off, or asleep, and has not tried for long.
        (Some(75), true, 1, LogWatch::Waiting),
        (None, true, 3, LogWatch::Silent),
        (Some(75), true, 25, LogWatch::Silent),
        // The clock was two days ahead when that was noted.
        (Some(148), true, 3, LogWatch::Silent),
        (Some(99), false, 0, LogWatch::Off),
    ] {
        let report = judged(checked_at.map(|it| it * HOUR), is_on, unheard_hours);
        assert_eq!(report.logs, expected, "{checked_at:?} {unheard_hours}");
        let mut problems = report.checks.iter().flat_map(|it| &it.problems);
        let is_nobodys =
            |it: &Problem| (it.message.clone() + &it.remedy).contains("nobody watches");
        assert_eq!(problems.any(is_nobodys), expected.is_nobodys());
        let provider = report
            .holdings
            .iter()
            .find(|it| it.attacker == Attacker::DnsProvider);
        let outcome = match expected {
            LogWatch::Heard => Outcome::Noticed,
            _ => Outcome::Exposed,
        };
        assert_eq!(provider.unwrap().book, outcome, "{expected:?}");
    }
}
