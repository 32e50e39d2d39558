use super::*;
use crate::dns::Proof;

fn wanted() -> Wanted {
    Wanted::Account {
        issuer: "ca.example".to_owned(),
        account_uri: "https://ca.example/acct/7".to_owned(),
        method: "tls-alpn-01".to_owned(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn resolver(number: u8) -> Source {
    Source::Resolver(SocketAddr::new(ip(&format!("192.0.2.{number}")), 53))
}

fn name_server() -> Source {
    Source::NameServer {
        name: "ns.dns.example".to_owned(),
        address: ip("198.51.100.53"),
    }
}

fn view(source: Source) -> View {
    let proof = match source {
        Source::NameServer { .. } => Proof::Unchecked,
        Source::Resolver(_) => Proof::Secure,
    };
    View {
        source,
        caa: vec![Answer::new("home.alice.de", wanted().records(), proof)],
        above: vec![Answer::new(
            "alice.de",
            vec![Property::new("issuewild", ";")],
            proof,
        )],
        addresses: Some([ip("203.0.113.5")].into()),
    }
}

/// A name about which nothing is wrong.
fn good() -> Observation {
    Observation {
        views: vec![
            view(name_server()),
            view(resolver(1)),
            view(resolver(2)),
            view(resolver(3)),
        ],
        name_servers: vec![NameServer {
            name: "ns.dns.example".to_owned(),
            addresses: vec![ip("198.51.100.53")],
        }],
        delegations: BTreeSet::new(),
        delegations_above: BTreeSet::new(),
        clock_skew: Some(2),
    }
}

fn relay() -> RelaySite {
    RelaySite {
        addresses: [ip("203.0.113.5"), ip("2001:db8:1:2::5")].into(),
        names: ["static.5.clients.hosting.example".to_owned()].into(),
        ..RelaySite::default()
    }
}

fn check(change: impl FnOnce(&mut Observation), expected: &[Trap]) {
    let mut observation = good();
    change(&mut observation);
    assert_eq!(examine(&observation, &wanted(), &relay()), expected);
}

fn caa(fault: Fault, seen_by: &[Source]) -> Trap {
    Trap::Caa {
        fault,
        seen_by: seen_by.to_vec(),
    }
}

#[test]
fn a_good_name_has_no_trap() {
    check(|_| {}, &[]);
}

#[test]
fn a_clock_that_is_wrong_is_told_either_way() {
    check(|it| it.clock_skew = Some(-90_000), &[Trap::Clock(-90_000)]);
    check(|it| it.clock_skew = Some(90_000), &[Trap::Clock(90_000)]);
    check(|it| it.clock_skew = None, &[]);
}

#[test]
fn a_fault_that_all_see_is_told_once() {
    let all = [name_server(), resolver(1), resolver(2), resolver(3)];
    check(
        |it| {
            it.views
                .iter_mut()
                .for_each(|view| view.caa[0].records.clear())
        },
        &[caa(Fault::NoRecords, &all)],
    );
}

#[test]
fn a_resolver_that_sees_something_else_is_named() {
    check(
        |it| it.views[2].caa[0].records.clear(),
        &[
            Trap::Disagrees(resolver(2)),
            caa(Fault::NoRecords, &[resolver(2)]),
        ],
    );
    // Also where what it sees is without fault by itself: a second name server, say.
    check(
        |it| {
            it.views[3].caa[0].records.pop();
        },
        &[
            Trap::Disagrees(resolver(3)),
            caa(Fault::NoIssueWild, &[resolver(3)]),
        ],
    );
    // Their order does not matter.
    check(|it| it.views[1].caa[0].records.reverse(), &[]);
}

fn silent(view: &mut View) {
    view.caa[0] = Answer::new("home.alice.de", Vec::new(), Proof::Missing);
    view.addresses = None;
}

fn name_server_at(name: &str, address: &str) -> Source {
    Source::NameServer {
        name: name.to_owned(),
        address: ip(address),
    }
}

/// A line with one family of IP reaches no address of the other.
#[test]
fn a_server_that_answers_at_one_of_its_addresses_answers() {
    check(
        |it| {
            let mut other = view(name_server_at("ns.dns.example", "2001:db8::53"));
            silent(&mut other);
            it.views.insert(1, other);
        },
        &[],
    );
}

#[test]
fn most_resolvers_have_to_answer_and_agree() {
    check(|it| silent(&mut it.views[1]), &[Trap::Missed(resolver(1))]);
    check(
        |it| it.views[1..3].iter_mut().for_each(silent),
        &[1, 2].map(|it| Trap::Silent(resolver(it))),
    );
    // Of two, one is not most.
    check(
        |it| {
            it.views.pop();
            silent(&mut it.views[1]);
        },
        &[Trap::Silent(resolver(1))],
    );
    // Silence of one does not cover that another sees something else.
    check(
        |it| {
            silent(&mut it.views[1]);
            it.views[2].caa[0].records.clear();
        },
        &[
            Trap::Silent(resolver(1)),
            Trap::Disagrees(resolver(2)),
            caa(Fault::NoRecords, &[resolver(2)]),
        ],
    );
}

#[test]
fn a_dead_name_server_is_advice_while_enough_others_answer() {
    for (servers, dead, is_enough) in [
        (1, 1, false),
        (2, 1, true),
        (2, 2, false),
        (3, 1, true),
        (3, 2, false),
        (4, 2, true),
        (4, 3, false),
    ] {
        let mut observation = good();
        observation.views.remove(0);
        for number in 0..servers {
            let name = format!("ns{number}.dns.example");
            let mut seen = view(name_server_at(&name, "198.51.100.53"));
            if number < dead {
                silent(&mut seen);
            }
            observation.views.push(seen);
        }
        let traps = examine(&observation, &wanted(), &relay());
        let told = traps.iter().filter(|it| match it {
            Trap::Missed(_) => is_enough,
            Trap::Silent(_) => !is_enough,
            _ => false,
        });
        assert!(told.count() >= dead, "{servers} {dead}: {traps:?}");
        let is_refused = traps.iter().any(|it| !it.is_advice());
        assert_eq!(is_refused, !is_enough, "{servers} {dead}: {traps:?}");
        // One that has other records is never outvoted.
        let last = observation.views.last_mut().unwrap();
        last.caa[0].records.clear();
        let traps = examine(&observation, &wanted(), &relay());
        assert!(traps.iter().any(|it| !it.is_advice()), "{servers} {dead}");
    }
}

#[test]
fn while_the_account_changes_the_records_of_both_protect_and_no_others() {
    let account = |number: u32, method: &str| Wanted::Account {
        issuer: "ca.example".to_owned(),
        account_uri: format!("https://ca.example/acct/{number}"),
        method: method.to_owned(),
    };
    let old = wanted();
    for new in [account(8, "tls-alpn-01"), account(7, "http-01")] {
        let third = account(666, "tls-alpn-01").records();
        let both = [old.records(), new.records()].concat();
        for (records, verdict) in [
            (old.records(), Verdict::Protected),
            (new.records(), Verdict::Protected),
            (both.clone(), Verdict::Protected),
            (third.clone(), Verdict::Open),
            ([both, third].concat(), Verdict::Open),
            (Vec::new(), Verdict::Open),
        ] {
            // At all servers, or at one that the change has reached first.
            for changed in [0..4, 0..1, 2..3] {
                let mut observation = good();
                let views = observation.views[changed].iter_mut();
                views.for_each(|view| view.caa[0].records = records.clone());
                let judged = judge_change(&observation, &old, &new, &relay());
                assert_eq!(judged, verdict, "{records:?}");
            }
        }
        let mut unseen = good();
        unseen.views.iter_mut().for_each(silent);
        let judged = judge_change(&unseen, &old, &new, &relay());
        assert_eq!(judged, Verdict::Unseen);
    }
}

#[test]
fn what_does_not_answer_is_no_agreement() {
    check(|it| drop(it.views.remove(0)), &[Trap::NoNameServer]);
    // Nobody answers at all: that says nothing of the zone.
    let nobody = [1, 2, 3].map(|it| Trap::Silent(resolver(it)));
    check(
        |it| {
            it.views.remove(0);
            it.views.iter_mut().for_each(silent);
        },
        &nobody,
    );
    // It gives addresses and no CAA answer: an attack, or a broken server.
    let fault = Fault::NoAnswer("home.alice.de".to_owned());
    check(
        |it| it.views[1].caa[0].proof = Proof::Missing,
        &[caa(fault, &[resolver(1)])],
    );
}

#[test]
fn dnssec_has_a_check_of_its_own() {
    let fault = |fault: Fault| {
        let trap = caa(fault, &[resolver(1)]);
        assert_eq!(trap.check(), Check::Dnssec);
        trap
    };
    let name = || "home.alice.de".to_owned();
    check(
        |it| it.views[1].caa[0].proof = Proof::Bogus,
        &[fault(Fault::Bogus(name()))],
    );
    check(
        |it| it.views[1].caa[0].proof = Proof::Insecure,
        &[fault(Fault::Unsigned(name()))],
    );
}

#[test]
fn a_challenge_name_of_somebody_else_is_a_trap() {
    let delegation = Delegation {
        name: "_acme-challenge.home.alice.de".to_owned(),
        to: "relay.example".to_owned(),
    };
    let Delegation { name, to } = delegation.clone();
    check(
        |it| {
            it.delegations.insert(delegation);
        },
        &[Trap::Delegated { name, to }],
    );
}

/// Who can prove the domain above gets `*.alice.de`, unless CAA records there forbid it.
#[test]
fn a_wildcard_of_the_domain_above_is_advice_and_red_where_its_challenge_name_was_given_away() {
    let delegation = Delegation {
        name: "_acme-challenge.alice.de".to_owned(),
        to: "relay.example".to_owned(),
    };
    let Delegation { name, to } = delegation.clone();
    let advice = Trap::WildcardAbove("alice.de".to_owned());
    assert!(advice.is_advice() && !advice.is_open());
    let open = |it: &mut Observation| it.views[2].above[0].records.clear();
    check(open, std::slice::from_ref(&advice));
    let given = |it: &mut Observation| {
        it.delegations_above.insert(delegation.clone());
    };
    check(given, &[]);
    let red = Trap::DelegatedAbove { name, to };
    let both = |it: &mut Observation| {
        open(it);
        given(it);
    };
    check(both, &[red, advice]);
    let mut observation = good();
    both(&mut observation);
    let traps = examine(&observation, &wanted(), &relay());
    assert_eq!(judge(&observation, &traps), Verdict::Open);
    // The name is the top of its zone, or nobody answered about the domain above.
    check(
        |it| it.views.iter_mut().for_each(|it| it.above.clear()),
        &[],
    );
    check(|it| it.views[1].above[0].proof = Proof::Missing, &[]);
}

#[test]
fn an_old_address_and_none_are_traps() {
    let old = ip("203.0.113.77");
    check(
        |it| {
            it.views[2].addresses.as_mut().unwrap().insert(old);
        },
        &[Trap::ForeignAddress(old)],
    );
    check(
        |it| {
            it.views
                .iter_mut()
                .for_each(|view| view.addresses = Some(BTreeSet::new()))
        },
        &[Trap::NoAddress],
    );
}

#[test]
fn name_servers_at_the_relays_company_are_recognized() {
    for (name, address, found) in [
        ("ns.dns.example", "203.0.113.200", true),
        ("ns.dns.example", "203.0.114.5", false),
        ("ns.dns.example", "2001:db8:1:ffff::1", true),
        ("ns.dns.example", "2001:db8:2::1", false),
        ("ns1.hosting.example", "198.51.100.1", true),
        ("ns1.myhosting.example", "198.51.100.1", false),
        ("hosting.example", "198.51.100.1", true),
        ("example", "198.51.100.1", false),
    ] {
        let mut observation = good();
        observation.name_servers[0] = NameServer {
            name: name.to_owned(),
            addresses: vec![ip(address)],
        };
        let traps = examine(&observation, &wanted(), &relay());
        let is_found = traps.iter().any(|it| it.check() == Check::NameServers);
        assert_eq!(is_found, found, "{name} {address}");
    }
}

#[test]
fn silence_never_protects() {
    let judged = |change: &dyn Fn(&mut Observation)| {
        let mut observation = good();
        change(&mut observation);
        let traps = examine(&observation, &wanted(), &relay());
        judge(&observation, &traps)
    };
    assert_eq!(judged(&|_| {}), Verdict::Protected);
    // Each set of servers that do not answer: the zone and a resolver have to be heard.
    for mask in 0..16_u8 {
        let verdict = judged(&|it| {
            let hit = it.views.iter_mut().enumerate();
            hit.filter(|(bit, _)| mask & 1 << bit != 0)
                .for_each(|(_, view)| silent(view));
        });
        let is_enough = mask & 1 == 0 && mask & 0b1110 != 0b1110;
        let expected = if is_enough {
            Verdict::Protected
        } else {
            Verdict::Unseen
        };
        assert_eq!(verdict, expected, "{mask:b}");
    }
    assert_eq!(judged(&|it| it.views.clear()), Verdict::Unseen);
    assert_eq!(judged(&|it| it.views.truncate(1)), Verdict::Unseen);
    assert_eq!(
        judged(&|it| it.views.iter_mut().for_each(|it| it.caa.clear())),
        Verdict::Unseen
    );
    // One that sees no records is heard above all silence.
    let verdict = judged(&|it| {
        it.views[1].caa[0].records.clear();
        silent(&mut it.views[2]);
    });
    assert_eq!(verdict, Verdict::Open);
    // A network that answers in the place of all is no owner who took the records away.
    let verdict = judged(&|it| {
        it.views.iter_mut().skip(1).for_each(|view| {
            view.caa[0] = Answer::new("home.alice.de", Vec::new(), Proof::Bogus);
        });
    });
    assert_eq!(verdict, Verdict::Unseen);
    // No CAA answer beside addresses says nothing either way.
    let verdict = judged(&|it| it.views[1].caa[0].proof = Proof::Missing);
    assert_eq!(verdict, Verdict::Unseen);
}

#[test]
fn a_pinned_name_needs_records_that_let_nobody_issue() {
    let traps = examine(&good(), &Wanted::Nobody, &relay());
    assert!(traps.iter().any(|it| it.check() == Check::Caa), "{traps:?}");
    let mut pinned = good();
    pinned
        .views
        .iter_mut()
        .for_each(|view| view.caa[0].records = Wanted::Nobody.records());
    assert_eq!(examine(&pinned, &Wanted::Nobody, &relay()), []);
}

#[test]
fn while_a_relay_is_nowhere_to_be_found_nothing_is_said_of_where_it_is() {
    let nowhere = RelaySite {
        unknown: ["relay.example:443".to_owned()].into(),
        ..RelaySite::default()
    };
    let one_of_two = RelaySite {
        unknown: nowhere.unknown.clone(),
        ..relay()
    };
    // The address may be that relay's.
    let mut other = good();
    other.views[0].addresses = Some([ip("198.51.100.9")].into());
    for site in [nowhere, one_of_two] {
        for observation in [good(), other.clone()] {
            let traps = examine(&observation, &wanted(), &site);
            let expected = Trap::UnknownRelay("relay.example:443".to_owned());
            assert_eq!(traps, [expected]);
            assert_eq!(judge(&observation, &traps), Verdict::Unseen);
        }
        // What is seen to be open is.
        let mut open = good();
        open.views
            .iter_mut()
            .for_each(|it| it.caa[0].records.clear());
        let traps = examine(&open, &wanted(), &site);
        assert_eq!(judge(&open, &traps), Verdict::Open);
    }
}
