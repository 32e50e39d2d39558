use proptest::prelude::*;

use super::*;

fn code() -> JoinCode {
    JoinCode {
        addresses: vec!["relay.example.test:443".into(), "[2001:db8::1]:443".into()],
        server_name: "relay.example.test".parse().unwrap(),
        relay_key: PublicKey([7; 32]),
        hostname: "home.example.test".parse().unwrap(),
        secret: JoinSecret::new(*b"secret secret 16"),
        expires_at: 1_800_000_000,
    }
}

#[test]
fn one_line_without_anything_to_quote() {
    let text = code().to_string();
    assert!(text.starts_with("cloudless1-"));
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || b"-1234567".contains(&byte))
    );
    assert!(text.len() < 300, "{}", text.len());
    assert_eq!(text.parse(), Ok(code()));
}

#[test]
fn case_and_line_breaks_do_not_matter() {
    let text = code().to_string();
    assert_eq!(text.to_uppercase().parse(), Ok(code()));
    assert_eq!(format!("  {text}\r\n").parse(), Ok(code()));
    let wrapped: Vec<_> = text
        .as_bytes()
        .chunks(60)
        .map(String::from_utf8_lossy)
        .collect();
    assert_eq!(wrapped.join("\n").parse(), Ok(code()));
}

#[test]
fn every_cut_is_noticed() {
    let text = code().to_string();
    for length in 0..text.len() {
        let expected = if length < "cloudless1-".len() {
            JoinCodeError::NotAJoinCode
        } else {
            JoinCodeError::Checksum
        };
        assert_eq!(
            text[..length].parse::<JoinCode>(),
            Err(expected),
            "{length}"
        );
    }
}

#[test]
fn every_typo_is_noticed() {
    let text = code().to_string();
    for at in "cloudless1-".len()..text.len() {
        for typo in ["a", "z", "7", "0", "é"] {
            let wrong = format!("{}{typo}{}", &text[..at], &text[at + 1..]);
            if wrong != text {
                assert_eq!(
                    wrong.parse::<JoinCode>(),
                    Err(JoinCodeError::Checksum),
                    "{wrong}"
                );
            }
        }
        let doubled = format!("{}{}", &text[..=at], &text[at..]);
        assert_eq!(
            doubled.parse::<JoinCode>(),
            Err(JoinCodeError::Checksum),
            "{doubled}"
        );
    }
}

#[test]
fn another_version_says_so() {
    let text = code().to_string().replace("cloudless1-", "cloudless2-");
    assert_eq!(text.parse::<JoinCode>(), Err(JoinCodeError::Version(2)));
    for text in [
        "",
        "cloudless-abc",
        "cloudless999-abc",
        "ssh-ed25519 AAAA",
        "https://x",
    ] {
        assert_eq!(
            text.parse::<JoinCode>(),
            Err(JoinCodeError::NotAJoinCode),
            "{text}"
        );
    }
    let endless = "cloudless1-".to_owned() + &"a".repeat(1 << 20);
    assert_eq!(
        endless.parse::<JoinCode>(),
        Err(JoinCodeError::NotAJoinCode)
    );
}

#[test]
fn addresses_are_checked() {
    let with = |addresses: &[&str]| {
        let addresses = addresses
            .iter()
            .map(|&address| address.to_owned())
            .collect();
        JoinCode {
            addresses,
            ..code()
        }
        .to_string()
        .parse::<JoinCode>()
    };
    assert!(with(&["192.0.2.1:443"; 8]).is_ok());
    for addresses in [
        &[][..],
        &["192.0.2.1:443"; 9],
        &["a:1", "b"],
        &[""],
        &["a:1 b:2 c"],
    ] {
        assert_eq!(
            with(addresses),
            Err(JoinCodeError::Malformed),
            "{addresses:?}"
        );
    }
    for address in ["a:1", "relay.example:65535", "192.0.2.1:443", "[::1]:443"] {
        assert_eq!(check_address(address), Ok(()), "{address}");
    }
    for address in [
        "",
        "a",
        "a:",
        ":1",
        "a:0",
        "a:65536",
        "a:+1",
        "a:1:2",
        "::1:443",
        "192.0.2.1:0",
        "[::1]",
        "a_b:1",
    ] {
        assert!(check_address(address).is_err(), "{address}");
    }
}

#[test]
fn the_secret_never_shows() {
    let shown = format!("{:?}", code());
    assert!(
        !shown.contains("secret secret") && shown.contains("JoinSecret([redacted])"),
        "{shown}"
    );
}

#[test]
fn the_hash_is_sha_256() {
    // The digest of sixteen zero bytes.
    assert_eq!(
        data_encoding::HEXLOWER.encode(&JoinSecret::new([0; 16]).hash()),
        "374708fff7719dd5979ec875d56cd2286f6d3cf7ec317a3b25632aab28ec37bb"
    );
}

proptest! {
    #[test]
    fn round_trip(
        addresses in proptest::collection::vec("([a-z]{1,60}\\.){1,3}[a-z]{1,9}:[1-9][0-9]{0,3}", 1..=8),
        key: [u8; 32],
        secret: [u8; 16],
        expires_at: u64,
    ) {
        let code = JoinCode {
            addresses,
            relay_key: PublicKey(key),
            secret: JoinSecret::new(secret),
            expires_at,
            ..code()
        };
        prop_assert_eq!(code.to_string().parse(), Ok(code));
    }

    #[test]
    fn garbage_is_refused(text in "(cloudless1-)?\\PC{0,200}") {
        prop_assert!(text.parse::<JoinCode>().is_err());
    }
}
