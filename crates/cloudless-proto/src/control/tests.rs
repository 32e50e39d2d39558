use super::*;
use crate::lines;

fn hostname() -> Hostname {
    "home.example.test".parse().unwrap()
}

/// Encodes to exactly `json` and decodes from it.
fn check<T: Message + PartialEq + std::fmt::Debug>(message: T, json: &str) {
    let line = lines::encode(&message);
    assert_eq!(String::from_utf8_lossy(&line), format!("{json}\n"));
    assert!(line.len() <= MAX_LINE);
    assert_eq!(decode::<T>(&line).unwrap(), Some(message));
}

#[test]
fn wire_form_of_what_a_home_says() {
    check(
        FromHome::Hello {
            version: VERSION,
            software: "cloudless 0.1.0".into(),
            instance: Instance::new([0xab; 16]),
            epoch: u64::MAX,
            legs: false,
            probes: false,
        },
        r#"{"type":"hello","version":1,"software":"cloudless 0.1.0","instance":"abababababababababababababababab","epoch":18446744073709551615}"#,
    );
    check(
        FromHome::Hello {
            version: VERSION,
            software: "x".into(),
            instance: Instance::new([0xab; 16]),
            epoch: 1,
            legs: true,
            probes: true,
        },
        r#"{"type":"hello","version":1,"software":"x","instance":"abababababababababababababababab","epoch":1,"legs":true,"probes":true}"#,
    );
    check(
        FromHome::Pinned {
            key: PublicKey([1; 32]),
        },
        r#"{"type":"pinned","key":"ed25519:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}"#,
    );
    check(
        FromHome::Reach {
            hostname: hostname(),
            reach: Reach::Works,
            message: None,
        },
        r#"{"type":"reach","hostname":"home.example.test","reach":"works"}"#,
    );
    check(
        FromHome::Reach {
            hostname: hostname(),
            reach: Reach::Fails,
            message: Some("it leads elsewhere".into()),
        },
        r#"{"type":"reach","hostname":"home.example.test","reach":"fails","message":"it leads elsewhere"}"#,
    );
    check(
        FromHome::Join {
            version: VERSION,
            software: "cloudless 0.1.0".into(),
            hostname: hostname(),
            secret: JoinSecret::new([1; 16]),
        },
        r#"{"type":"join","version":1,"software":"cloudless 0.1.0","hostname":"home.example.test","secret":"01010101010101010101010101010101"}"#,
    );
}

#[test]
fn what_only_a_newer_home_can_tell_of_a_name_is_not_known() {
    let line = br#"{"type":"reach","hostname":"home.example.test","reach":"sideways","by":1}"#;
    let Some(FromHome::Reach { reach, .. }) = decode(line).unwrap() else {
        panic!("no reach");
    };
    assert_eq!(reach, Reach::Checking);
}

#[test]
fn wire_form_of_what_a_relay_says() {
    check(
        FromRelay::Drain {
            retry_after_ms: 500,
        },
        r#"{"type":"drain","retry_after_ms":500}"#,
    );
    check(
        FromRelay::Hostnames {
            hostnames: vec![hostname()],
        },
        r#"{"type":"hostnames","hostnames":["home.example.test"]}"#,
    );
    check(
        FromRelay::Joined {
            hostname: hostname(),
        },
        r#"{"type":"joined","hostname":"home.example.test"}"#,
    );
    check(
        FromRelay::Keys {
            keys: vec![PublicKey([2; 32]), PublicKey([1; 32])],
        },
        r#"{"type":"keys","keys":["ed25519:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI","ed25519:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"]}"#,
    );
    check(
        FromRelay::Leg {
            stream: 3,
            number: u64::MAX,
            token: Token::new([0xcd; 16]),
        },
        r#"{"type":"leg","stream":3,"number":18446744073709551615,"token":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}"#,
    );
    check(
        FromRelay::LegReady {
            stream: 3,
            number: 7,
        },
        r#"{"type":"leg_ready","stream":3,"number":7}"#,
    );
    check(FromRelay::OtherInstance, r#"{"type":"other_instance"}"#);
    check(
        FromRelay::Refused {
            reason: Refusal::OtherInstance,
            message: "two".into(),
            retry_after_ms: None,
        },
        r#"{"type":"refused","reason":"other_instance","message":"two"}"#,
    );
    check(
        FromRelay::Refused {
            reason: Refusal::RateLimited,
            message: "later".into(),
            retry_after_ms: Some(9),
        },
        r#"{"type":"refused","reason":"rate_limited","message":"later","retry_after_ms":9}"#,
    );
    check(
        FromRelay::Welcome {
            version: 1,
            software: "x".into(),
            hostnames: vec![],
            keys: vec![],
        },
        r#"{"type":"welcome","version":1,"software":"x","hostnames":[]}"#,
    );
    check(
        FromRelay::Welcome {
            version: 1,
            software: "x".into(),
            hostnames: vec![],
            keys: vec![PublicKey([1; 32])],
        },
        r#"{"type":"welcome","version":1,"software":"x","hostnames":[],"keys":["ed25519:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"]}"#,
    );
}

#[test]
fn a_newer_peer_is_understood_as_far_as_possible() {
    assert_eq!(
        decode::<FromRelay>(br#"{"type":"moon_phase","token":"x"}"#).unwrap(),
        None
    );
    assert_eq!(decode::<FromHome>(br#"{"type":"welcome"}"#).unwrap(), None);
    assert_eq!(
        decode(br#"{"type":"drain","retry_after_ms":1,"new":{"a":[]}}"#).unwrap(),
        Some(FromRelay::Drain { retry_after_ms: 1 })
    );
    let refused = decode(br#"{"type":"refused","reason":"moon_phase","message":"m"}"#).unwrap();
    let Some(FromRelay::Refused { reason, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(reason, Refusal::Other);
}

#[test]
fn another_version_is_seen_whatever_else_has_changed() {
    for line in [
        &br#"{"type":"hello","version":2}"#[..],
        br#"{"type":"greeting","version":2,"instance":7}"#,
        br#"{"type":"join","version":2,"secret":null}"#,
    ] {
        let version = decode::<FromHome>(line).unwrap_err();
        assert!(matches!(version, DecodeError::Version { version: 2 }));
    }
    let welcome = br#"{"type":"welcome","version":0,"names":{}}"#;
    let version = decode::<FromRelay>(welcome).unwrap_err();
    assert!(matches!(version, DecodeError::Version { version: 0 }));
    assert!(skew(1, 2).ends_with("upgrade the home"));
    assert!(skew(2, 1).ends_with("upgrade the relay"));
}

#[test]
fn what_is_no_message() {
    for line in [&b""[..], b"hello", b"{", b"\xff", b"{}{}"] {
        assert!(
            matches!(decode::<FromHome>(line), Err(DecodeError::Json(_))),
            "{line:?}"
        );
    }
    for line in [&b"{}"[..], b"[]", b"7", br#"{"type":1}"#, br#"["type"]"#] {
        assert!(
            matches!(decode::<FromHome>(line), Err(DecodeError::NoType)),
            "{line:?}"
        );
    }
    for line in [
        &br#"{"type":"hello"}"#[..],
        br#"{"type":"hello","version":1,"software":"","instance":"00","epoch":1}"#,
        br#"{"type":"join","version":1,"software":"","hostname":"192.0.2.1","secret":"01010101010101010101010101010101"}"#,
    ] {
        assert!(matches!(decode::<FromHome>(line), Err(DecodeError::Fields { .. })), "{line:?}");
    }
}

#[test]
fn a_secret_never_shows() {
    let join = FromHome::Join {
        version: 1,
        software: String::new(),
        hostname: hostname(),
        secret: JoinSecret::new([0x5a; 16]),
    };
    let shown = format!("{join:?}");
    assert!(
        !shown.contains("5a5a") && !shown.contains("90, 90"),
        "{shown}"
    );
    let line = br#"{"type":"join","version":1,"software":"","hostname":"a","secret":"5a5a5a5a"}"#;
    let mut error: &dyn std::error::Error = &decode::<FromHome>(line).unwrap_err();
    loop {
        assert!(!error.to_string().contains("5a5a"), "{error}");
        let Some(source) = error.source() else { break };
        error = source;
    }
}
