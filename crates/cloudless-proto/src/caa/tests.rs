use proptest::prelude::*;

use super::*;

const OURS: &str = "https://acme.example/acct/7";
const THEIRS: &str = "https://acme.example/acct/8";
const STAGING: &str = "https://acme-staging.example/acct/7";
const METHOD: &str = "tls-alpn-01";

fn hostname() -> Hostname {
    "m.home.example.org".parse().unwrap()
}

/// Records as `FLAGS TAG VALUE`, in which `OURS`, `THEIRS` and `STAGING` are accounts.
fn records(lines: &[&str]) -> Vec<Property> {
    let record = |line: &&str| {
        let mut words = line.splitn(3, ' ');
        let flags = words.next().unwrap().parse().unwrap();
        let tag = words.next().unwrap().to_owned();
        let value = words.next().unwrap_or_default();
        let value = value.replace("OURS", OURS).replace("THEIRS", THEIRS);
        let value = value.replace("STAGING", STAGING).into_bytes();
        Property { flags, tag, value }
    };
    lines.iter().map(record).collect()
}

fn wanted() -> Wanted {
    Wanted::Account {
        issuer: "ca.example".to_owned(),
        account_uri: OURS.to_owned(),
        method: METHOD.to_owned(),
    }
}

fn request(account_uri: &str) -> Request<'_> {
    Request {
        issuer: "ca.example",
        account_uri,
        method: METHOD,
        is_wildcard: false,
    }
}

/// The names of the faults, such as `AnyAccount`.
fn names(faults: &[Fault]) -> Vec<String> {
    let name = |fault: &Fault| {
        let text = format!("{fault:?}");
        let end = text.find([' ', '(']).unwrap_or(text.len());
        text[..end].to_owned()
    };
    faults.iter().map(name).collect()
}

fn secure(name: &str, lines: &[&str]) -> Answer<Property> {
    Answer::new(name, records(lines), Proof::Secure)
}

/// One line of the truth table: records, whether the CA lets us issue, whether it lets somebody
/// with another account, the same for a wildcard, and the faults.
type Case = (
    &'static [&'static str],
    bool,
    bool,
    bool,
    &'static [&'static str],
);

const GOOD: &str = "0 issue ca.example; accounturi=OURS; validationmethods=tls-alpn-01";
const NO_WILD: &str = "0 issuewild ;";

#[rustfmt::skip]
const TRUTH: &[Case] = &[
    // RFC 8659 §4.2: what `issue` says.
    (&[GOOD, NO_WILD], true, false, false, &[]),
    (&[], true, true, true, &["NoRecords"]),
    (&["0 issue ;", NO_WILD], false, false, false, &["NotOurs"]),
    (&["0 issue ", NO_WILD], false, false, false, &["NotOurs"]),
    (&["0 issue other.example", NO_WILD], false, false, false, &["OtherIssuer", "NotOurs"]),
    (&["0 issue ca.example", NO_WILD], true, true, false, &["AnyAccount", "AnyMethod"]),
    (&["0 issue ca.example;", NO_WILD], true, true, false, &["AnyAccount", "AnyMethod"]),
    (&["0 issue ;accounturi=OURS", NO_WILD], false, false, false, &["NotOurs"]),
    (&["0 issue ;", "0 issue ;", NO_WILD], false, false, false, &["NotOurs"]),
    // Records are alternatives: each lets issue on its own.
    (&[GOOD, "0 issue ca.example", NO_WILD], true, true, false, &["AnyAccount", "AnyMethod"]),
    (&["0 issue ;", GOOD, NO_WILD], true, false, false, &[]),
    (&[GOOD, "0 issue other.example; accounturi=THEIRS", NO_WILD], true, false, false, &["OtherIssuer"]),
    // A name below or above the CA's, or in other letters, is another name.
    (&["0 issue sub.ca.example", NO_WILD], false, false, false, &["OtherIssuer", "NotOurs"]),
    (&["0 issue CA.example", NO_WILD], false, false, false, &["OtherIssuer", "NotOurs"]),
    // Tags are matched without regard to case (§4.1), white space does not count (§4.2).
    (&["0 ISSUE \tca.example ;  accounturi = OURS\t;validationmethods=tls-alpn-01 ", "0 IssueWild ;"], true, false, false, &[]),
    // What breaks the grammar lets nobody issue, and hides nothing else.
    (&["0 issue ca.example accounturi=OURS", NO_WILD], false, false, false, &["Broken", "NotOurs"]),
    (&["0 issue ca.example; accounturi", NO_WILD], false, false, false, &["Broken", "NotOurs"]),
    (&["0 issue ca.example; accounturi=OURS;", NO_WILD], false, false, false, &["Broken", "NotOurs"]),
    (&["0 issue ca.example; =OURS", NO_WILD], false, false, false, &["Broken", "NotOurs"]),
    (&["0 issue ca.example; accounturi=a b", NO_WILD], false, false, false, &["Broken", "NotOurs"]),
    (&["0 issue -ca.example", NO_WILD], false, false, false, &["Broken", "NotOurs"]),
    (&["0 issue ca..example", NO_WILD], false, false, false, &["Broken", "NotOurs"]),
    (&["0 issue cä.example", NO_WILD], false, false, false, &["Broken", "NotOurs"]),
    (&[GOOD, "0 issue %%%%%", NO_WILD], true, false, false, &["Broken"]),
    // §4.3: `issuewild` takes the place of `issue` for wildcards only.
    (&[GOOD], true, false, true, &["NoIssueWild"]),
    (&[GOOD, "0 issuewild ca.example"], true, false, true, &["AnyAccount", "AnyMethod"]),
    (&[GOOD, "0 issuewild other.example"], true, false, false, &["OtherIssuer"]),
    (&[NO_WILD], true, true, false, &["NoIssue"]),
    (&["0 issuewild ca.example"], true, true, true, &["AnyAccount", "AnyMethod", "NoIssue"]),
    // §4.4 and §4.5: other tags restrict nothing, unless critical and unknown.
    (&["0 iodef mailto:me@home.example"], true, true, true, &["NoIssue"]),
    (&[GOOD, NO_WILD, "0 iodef mailto:me@home.example"], true, false, false, &[]),
    (&[GOOD, NO_WILD, "128 iodef mailto:me@home.example"], true, false, false, &[]),
    (&["128 issue ca.example; accounturi=OURS; validationmethods=tls-alpn-01", "128 issuewild ;"], true, false, false, &[]),
    (&[GOOD, NO_WILD, "0 tbs unknown"], true, false, false, &[]),
    (&[GOOD, NO_WILD, "128 tbs unknown"], false, false, false, &["Critical", "NotOurs"]),
    (&[GOOD, NO_WILD, "1 tbs unknown"], false, false, false, &["Critical", "NotOurs"]),
    (&[GOOD, NO_WILD, "64 tbs unknown"], true, false, false, &[]),
    (&["128 tbs unknown"], false, false, false, &["Critical", "NoIssue", "NotOurs"]),
    // RFC 9495: who may issue for mail addresses has no say here.
    (&[GOOD, NO_WILD, "0 issuemail other.example"], true, false, false, &[]),
    (&["0 issuemail ;"], true, true, true, &["NoIssue"]),
    // RFC 8657 §3: the account.
    (&["0 issue ca.example; accounturi=OURS", NO_WILD], true, false, false, &["AnyMethod"]),
    (&["0 issue ca.example; accounturi=THEIRS; validationmethods=tls-alpn-01", NO_WILD], false, true, false, &["OtherAccount", "NotOurs"]),
    (&["0 issue ca.example; accounturi=STAGING; validationmethods=tls-alpn-01", NO_WILD], false, false, false, &["StagingAccount", "NotOurs"]),
    (&["0 issue ca.example; accounturi=OURS0; validationmethods=tls-alpn-01", NO_WILD], false, false, false, &["OtherAccount", "NotOurs"]),
    (&["0 issue ca.example; accounturi=; validationmethods=tls-alpn-01", NO_WILD], false, false, false, &["OtherAccount", "NotOurs"]),
    (&["0 issue ca.example; accounturi=OURS; accounturi=THEIRS", NO_WILD], false, false, false, &["Repeated", "NotOurs"]),
    (&["0 issue ca.example; accounturi=OURS; accounturi=OURS", NO_WILD], false, false, false, &["Repeated", "NotOurs"]),
    (&[GOOD, "0 issue ca.example; accounturi=THEIRS; validationmethods=tls-alpn-01", NO_WILD], true, true, false, &["OtherAccount"]),
    // A CA passes over a parameter in other letters: the record then binds no account.
    (&["0 issue ca.example; AccountURI=OURS; validationmethods=tls-alpn-01", NO_WILD], true, true, false, &["UnknownParameter", "AnyAccount"]),
    (&["0 issue ca.example; accounturi=OURS; validationmethods=tls-alpn-01; policy=ev", NO_WILD], true, false, false, &["UnknownParameter"]),
    // RFC 8657 §4: the methods.
    (&["0 issue ca.example; validationmethods=tls-alpn-01; accounturi=OURS", NO_WILD], true, false, false, &[]),
    (&["0 issue ca.example; accounturi=OURS; validationmethods=dns-01,tls-alpn-01", NO_WILD], true, false, false, &[]),
    (&["0 issue ca.example; accounturi=OURS; validationmethods=ca-special,tls-alpn-01", NO_WILD], true, false, false, &[]),
    (&["0 issue ca.example; accounturi=OURS; validationmethods=dns-01", NO_WILD], false, false, false, &["OtherMethod", "NotOurs"]),
    (&["0 issue ca.example; accounturi=OURS; validationmethods=TLS-ALPN-01", NO_WILD], false, false, false, &["OtherMethod", "NotOurs"]),
    (&["0 issue ca.example; accounturi=OURS; validationmethods=", NO_WILD], false, false, false, &["OtherMethod", "NotOurs"]),
    (&["0 issue ca.example; accounturi=OURS; validationmethods=tls-alpn-01,", NO_WILD], false, false, false, &["OtherMethod", "NotOurs"]),
    (&["0 issue ca.example; accounturi=OURS; validationmethods=tls_alpn_01,tls-alpn-01", NO_WILD], false, false, false, &["OtherMethod", "NotOurs"]),
    (&["0 issue ca.example; accounturi=OURS; validationmethods=dns-01; validationmethods=tls-alpn-01", NO_WILD], false, false, false, &["Repeated", "NotOurs"]),
];

#[test]
fn the_truth_table_of_rfc_8659_and_8657_holds() {
    for (lines, ours, theirs, wild, expected) in TRUTH {
        let records = records(lines);
        assert_eq!(
            authorizes(&records, &request(OURS)),
            *ours,
            "ours: {lines:?}"
        );
        assert_eq!(
            authorizes(&records, &request(THEIRS)),
            *theirs,
            "theirs: {lines:?}"
        );
        let wildcard = Request {
            is_wildcard: true,
            ..request(OURS)
        };
        assert_eq!(
            authorizes(&records, &wildcard),
            *wild,
            "wildcard: {lines:?}"
        );
        let answers = [secure("m.home.example.org", lines)];
        let found = faults(&answers, &wanted());
        assert_eq!(names(&found), *expected, "{lines:?}");
    }
}

#[test]
fn the_first_name_with_records_decides() {
    let names_asked: Vec<_> = climb(&hostname()).map(ToOwned::to_owned).collect();
    let expected = [
        "m.home.example.org",
        "home.example.org",
        "example.org",
        "org",
    ];
    assert_eq!(names_asked, expected);
    let none = |name| secure(name, &[]);
    let open = &["0 issue ca.example", NO_WILD][..];
    for (answers, owner, expected) in [
        // A parent's records hold for what has none of its own.
        (
            vec![
                none("m"),
                secure("home", &[GOOD, NO_WILD]),
                secure("example", open),
            ],
            Some("home"),
            &[][..],
        ),
        // Nearer ones hide those of the parent, whatever they are.
        (
            vec![
                secure("m", &["0 iodef x"]),
                secure("home", &[GOOD, NO_WILD]),
            ],
            Some("m"),
            &["NoIssue"],
        ),
        (
            vec![none("m"), none("home"), none("example"), none("org")],
            None,
            &["NoRecords"],
        ),
    ] {
        assert_eq!(relevant(&answers).unwrap().map(Answer::owner), owner);
        assert_eq!(names(&faults(&answers, &wanted())), expected);
    }
}

#[test]
fn an_answer_that_is_missing_or_forged_hides_what_is_above_it() {
    let good = || secure("home.example.org", &[GOOD, NO_WILD]);
    for (proof, expected) in [(Proof::Bogus, "Bogus"), (Proof::Missing, "NoAnswer")] {
        let broken = Answer::new("m.home.example.org", Vec::new(), proof);
        let answers = [broken.clone(), good()];
        assert_eq!(relevant(&answers), Err(&answers[0]));
        assert_eq!(names(&faults(&answers, &wanted())), [expected]);
        // Above the records it does not matter.
        let answers = [good(), broken];
        assert_eq!(faults(&answers, &wanted()), []);
    }
}

#[test]
fn an_alias_gives_its_target_the_say() {
    let mut alias = secure("home.example.org", &[GOOD, NO_WILD]);
    alias.alias = Some("relay.example.net".to_owned());
    let found = faults(&[alias.clone()], &wanted());
    assert_eq!(names(&found), ["Alias"]);
    assert!(
        found[0].to_string().contains("relay.example.net"),
        "{}",
        found[0]
    );
    // Also where the target has no records and a parent's count: it may get some at any time.
    alias.records.clear();
    let found = faults(&[alias, secure("example.org", &[GOOD, NO_WILD])], &wanted());
    assert_eq!(names(&found), ["Alias"]);
}

#[test]
fn an_unsigned_answer_counts_and_is_told() {
    let mut answers = [
        secure("m", &[]),
        secure("home", &[GOOD, NO_WILD]),
        secure("org", &[]),
    ];
    answers[2].proof = Proof::Insecure;
    assert_eq!(faults(&answers, &wanted()), []);
    for unsigned in [0, 1] {
        let mut answers = answers.clone();
        answers[unsigned].proof = Proof::Insecure;
        let found = faults(&answers, &wanted());
        assert_eq!(names(&found), ["Unsigned"]);
        assert!(found[0].is_advice());
    }
}

#[test]
fn a_pinned_name_is_for_no_authority() {
    for (lines, expected) in [
        (&["0 issue ;", NO_WILD][..], &[][..]),
        (&["0 issue ;"], &["NoIssueWild"]),
        (&[GOOD, NO_WILD], &["OtherIssuer"]),
        (&["0 issue ;", "0 issuewild ca.example"], &["OtherIssuer"]),
        (
            &["0 issue ;", "0 issue ca.example; accounturi"],
            &["Broken", "NoIssueWild"],
        ),
        (&[], &["NoRecords"]),
    ] {
        let found = faults(&[secure("home", lines)], &Wanted::Nobody);
        assert_eq!(names(&found), expected, "{lines:?}");
    }
}

#[test]
fn the_records_to_publish_are_without_fault() {
    let line = |wanted: &Wanted| wanted.records()[0].to_string();
    let expected =
        format!("0 issue \"ca.example; accounturi={OURS}; validationmethods=tls-alpn-01\"");
    assert_eq!(line(&wanted()), expected);
    assert_eq!(line(&Wanted::Nobody), "0 issue \";\"");
    for wanted in [wanted(), Wanted::Nobody] {
        let answer = Answer::new("home", wanted.records(), Proof::Secure);
        assert_eq!(faults(&[answer], &wanted), []);
    }
}

#[test]
fn who_may_have_a_wildcard_is_what_issuewild_says_and_issue_without_one() {
    for (lines, expected) in [
        (&[GOOD, NO_WILD][..], false),
        (&[NO_WILD], false),
        (&["0 issue other.example", NO_WILD], false),
        (&["0 issue ;"], false),
        (&[GOOD], false),
        (
            &["0 issue ca.example; accounturi=OURS; validationmethods=dns-01"],
            false,
        ),
        (&["0 issue ca.example; accounturi=OURS"], false),
        (&["128 tbs unknown"], false),
        (&["0 issue ca.example"], true),
        (&["0 issue ca.example; accounturi=THEIRS"], true),
        (&["0 issue other.example"], true),
        (&[GOOD, "0 issuewild ca.example"], true),
        (&[NO_WILD, "0 issuewild other.example"], true),
        (&["0 iodef mailto:me@home.example"], true),
        (&[], true),
    ] {
        let answers = [secure("example.org", lines), secure("org", &[])];
        let found = lets_others_have_a_wildcard(&answers, &wanted());
        assert_eq!(found, expected, "{lines:?}");
    }
    // What counts comes from further up, and silence is no leave.
    let above = [secure("example.org", &[]), secure("org", &[NO_WILD])];
    assert!(!lets_others_have_a_wildcard(&above, &wanted()));
    let silent = [Answer::new("example.org", Vec::new(), Proof::Missing)];
    assert!(!lets_others_have_a_wildcard(&silent, &wanted()));
    assert!(!lets_others_have_a_wildcard(&[], &wanted()));
    let pinned = [secure("example.org", &[GOOD])];
    assert!(lets_others_have_a_wildcard(&pinned, &Wanted::Nobody));
}

fn piece() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "ca.example",
        "other.example",
        ";",
        "; ",
        "accounturi",
        "=",
        "validationmethods",
        OURS,
        THEIRS,
        METHOD,
        "dns-01",
        ",",
        " ",
        "\t",
        "-",
        "\u{e4}",
        "\0",
        "AccountURI",
    ];
    prop::collection::vec(prop::sample::select(PIECES), 0..10).prop_map(|it| it.concat())
}

fn property() -> impl Strategy<Value = Property> {
    const TAGS: &[&str] = &["issue", "Issue", "issuewild", "iodef", "tbs"];
    let flags = prop::sample::select(vec![0, 1, 128, 255]);
    (flags, prop::sample::select(TAGS), piece()).prop_map(|(flags, tag, value)| Property {
        flags,
        tag: tag.to_owned(),
        value: value.into_bytes(),
    })
}

proptest! {
    /// The promise behind the whole: records without a fault let one account issue and no other,
    /// at no CA, by no method, for no wildcard.
    #[test]
    fn without_a_fault_nobody_else_gets_a_certificate(
        mut records in prop::collection::vec(property(), 0..5),
        good in any::<bool>(),
    ) {
        if good {
            records.extend(wanted().records());
        }
        let answers = [Answer::new("home", records.clone(), Proof::Secure)];
        if !lets_others_have_a_wildcard(&answers, &wanted()) {
            for issuer in ["ca.example", "other.example"] {
                let request = Request { issuer, is_wildcard: true, ..request(THEIRS) };
                prop_assert!(!authorizes(&records, &request), "{:?}", request);
            }
        }
        let found = faults(&answers, &wanted());
        if found.iter().all(Fault::is_advice) {
            prop_assert!(authorizes(&records, &request(OURS)));
            for issuer in ["ca.example", "other.example"] {
                for method in [METHOD, "dns-01", "http-01"] {
                    for is_wildcard in [false, true] {
                        let request = Request { issuer, account_uri: THEIRS, method, is_wildcard };
                        prop_assert!(!authorizes(&records, &request), "{:?}", request);
                    }
                }
            }
        }
        if faults(&answers, &Wanted::Nobody).iter().all(Fault::is_advice) {
            prop_assert!(!authorizes(&records, &request(OURS)));
            prop_assert!(!authorizes(&records, &request(THEIRS)));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Issue::parse(&value);
        let record = Property::new("issue", value);
        let answers = [Answer::new("home", vec![record], Proof::Secure)];
        for fault in faults(&answers, &wanted()) {
            prop_assert!(fault.to_string().bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        }
    }
}
