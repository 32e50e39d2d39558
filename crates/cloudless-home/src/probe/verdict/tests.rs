use super::*;

const V4: &str = "203.0.113.5:443";
const V6: &str = "[2001:db8::5]:443";

fn verdict(attempts: &[(&str, Attempt)]) -> Verdict {
    let attempts: Vec<_> = attempts
        .iter()
        .map(|(address, attempt)| (address.parse().unwrap(), attempt.clone()))
        .collect();
    judge(&View {
        hostname: &"contacts.example.org".parse().unwrap(),
        relays: &[
            "203.0.113.5".parse().unwrap(),
            "2001:db8::5".parse().unwrap(),
        ],
        is_proxied: false,
        attempts: Ok(&attempts),
    })
}

#[track_caller]
fn says(verdict: &Verdict, state: Reachability, words: &[&str]) {
    assert_eq!(verdict.state, state, "{verdict:?}");
    let message = verdict.message.as_deref().unwrap_or_default();
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[test]
fn all_addresses_have_to_work() {
    let good = verdict(&[(V4, Attempt::Reached), (V6, Attempt::Reached)]);
    assert_eq!((good.state, good.message), (Reachability::Online, None));
    says(
        &verdict(&[(V4, Attempt::Reached), (V6, Attempt::NoAnswer)]),
        Reachability::Partly,
        &[
            "works over IPv4, not over IPv6",
            "2001:db8::5 does not answer",
            "AAAA record",
        ],
    );
    says(
        &verdict(&[
            (V4, Attempt::Reached),
            ("203.0.113.9:443", Attempt::Refused),
        ]),
        Reachability::Partly,
        &["some phones", "leads to 203.0.113.9", "change its A record"],
    );
}

#[test]
fn what_this_machine_cannot_test_is_no_failure_and_no_success() {
    let v4_only = verdict(&[(V6, Attempt::NoRoute), (V4, Attempt::Reached)]);
    says(&v4_only, Reachability::Online, &[]);
    assert_eq!(v4_only.addresses[0].state, Reachability::Untested);
    says(
        &verdict(&[(V6, Attempt::NoRoute)]),
        Reachability::Untested,
        &["no IPv6"],
    );
    says(
        &verdict(&[("192.168.1.5:443", Attempt::Refused)]),
        Reachability::Untested,
        &["split DNS", "192.168.1.5"],
    );
    // Through the local network, and home all the same.
    says(
        &verdict(&[("192.168.1.5:443", Attempt::Reached)]),
        Reachability::Online,
        &[],
    );
}

#[test]
fn every_failure_names_its_cause() {
    let foreign = Attempt::Foreign(vec!["www.example.org".to_owned()]);
    for (attempt, words) in [
        (
            Attempt::Refused,
            "nothing listens at 203.0.113.5 on port 443",
        ),
        (Attempt::NoAnswer, "firewall"),
        (Attempt::Closed, "cloudless relay homes"),
        (Attempt::Silent, "does nothing with them"),
        (Attempt::NoWayBack, "get no answer"),
        (Attempt::NoHandshake("expired".to_owned()), "(expired)"),
        (foreign.clone(), "certificate there is for www.example.org"),
        (Attempt::Foreign(Vec::new()), "another server answers there"),
        (
            Attempt::Foreign(vec!["contacts.example.org".to_owned()]),
            "a second home with its names",
        ),
    ] {
        says(
            &verdict(&[(V4, attempt)]),
            Reachability::Unreachable,
            &[words],
        );
    }
    says(
        &verdict(&[("203.0.113.9:443", foreign)]),
        Reachability::Unreachable,
        &[
            "www.example.org",
            "the relay is at 203.0.113.5 or 2001:db8::5",
            "A record",
        ],
    );
}

#[test]
fn a_name_without_an_address_is_to_lead_to_the_relay() {
    let hostname = "contacts.example.org".parse().unwrap();
    for attempts in [Ok(&[][..]), Err("no such host")] {
        let verdict = judge(&View {
            hostname: &hostname,
            relays: &["203.0.113.5".parse().unwrap()],
            is_proxied: false,
            attempts,
        });
        says(
            &verdict,
            Reachability::Unreachable,
            &["A or AAAA record", "203.0.113.5"],
        );
    }
}

#[test]
fn behind_a_proxy_only_what_came_to_home_counts() {
    let hostname = "contacts.example.org".parse().unwrap();
    let verdict = |attempts: Result<&[_], _>| {
        judge(&View {
            hostname: &hostname,
            relays: &[],
            is_proxied: true,
            attempts,
        })
    };
    let v4 = |attempt: Attempt| [(V4.parse().unwrap(), attempt)];
    for attempt in [
        Attempt::NoAnswer,
        Attempt::Refused,
        Attempt::Closed,
        Attempt::Foreign(Vec::new()),
    ] {
        says(
            &verdict(Ok(&v4(attempt))),
            Reachability::Untested,
            &["through a proxy", "203.0.113.5", "not tested"],
        );
    }
    says(&verdict(Err("no DNS")), Reachability::Untested, &["no DNS"]);
    let failed = Attempt::NoHandshake("expired".to_owned());
    says(
        &verdict(Ok(&v4(failed))),
        Reachability::Unreachable,
        &["(expired)"],
    );
    says(
        &verdict(Ok(&v4(Attempt::Reached))),
        Reachability::Online,
        &[],
    );
}
