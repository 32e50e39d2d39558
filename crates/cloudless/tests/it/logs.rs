//! What the logs of both roles never hold, at the most talkative level, and the files of the relay.

use std::fs;
use std::path::Path;

use data_encoding::BASE64;
use http::StatusCode;

use crate::cards;
use crate::pair::{HOSTNAME, Pair};

const CANARY: &str = "Canaria Serinus";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_hold_no_contact_and_no_password() {
    let mut pair = Pair::start();
    pair.restart_with_log("trace");
    let card =
        format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:canary-uid\r\nFN:{CANARY}\r\nEND:VCARD\r\n");
    for client in [pair.phone(), pair.local_program()] {
        let mut connection = client.connect().await.unwrap();
        let put = connection
            .put("canary-name.vcf", card.as_bytes())
            .await
            .unwrap();
        assert!(put.status.is_success());
        assert_eq!(connection.get("canary-name.vcf").await.unwrap().body, card);
        let refused = connection
            .put("canary-name.vcf", CANARY.as_bytes())
            .await
            .unwrap();
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    pair.kill_relay();
    pair.kill_home();

    let credentials = BASE64.encode(format!("me:{}", pair.password()).as_bytes());
    for role in ["relay", "home"] {
        let log = pair.log(role);
        // The logs are there, and would show it.
        assert!(log.contains(" TRACE "), "{role} logs nothing");
        for secret in [
            CANARY,
            "canary-uid",
            "canary-name",
            pair.password(),
            &credentials,
        ] {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{role} logs {secret:?}");
        }
        let loud = [" INFO ", " WARN ", " ERROR "];
        for line in log
            .lines()
            .filter(|line| loud.iter().any(|level| line.contains(level)))
        {
            for private in [HOSTNAME, "127.0.0.1"] {
                assert!(
                    !line.contains(private),
                    "{role} says {private} above DEBUG: {line}"
                );
            }
        }
    }
}

/// The same for everything that the relay keeps; home's files show that the search finds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relays_files_hold_no_contact_and_no_password() {
    const UID: &str = "canary-uid";
    let mut pair = Pair::start();
    let mut connection = pair.phone().connect().await.unwrap();
    let put = connection.put("one.vcf", &cards::small(UID)).await.unwrap();
    assert_eq!(put.status, StatusCode::CREATED);
    pair.kill_relay();
    pair.kill_home();

    assert!(is_below(&pair.folder("home"), UID));
    assert!(is_below(&pair.folder("relay"), HOSTNAME));
    for secret in [UID, pair.password()] {
        assert!(!is_below(&pair.folder("relay"), secret), "{secret}");
    }
    assert!(!is_below(&pair.folder("home"), pair.password()));
}

/// Whether a file in the directory or below holds the text.
fn is_below(directory: &Path, text: &str) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        let holds = |bytes: Vec<u8>| bytes.windows(text.len()).any(|it| it == text.as_bytes());
        if path.is_dir() {
            is_below(&path, text)
        } else {
            path.is_file() && holds(fs::read(&path).unwrap())
        }
    })
}
