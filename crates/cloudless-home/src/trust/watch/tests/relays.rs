use cloudless_proto::PublicKey;

use super::*;
use crate::config::Relay;
use crate::status::RelayState;

const TITLES: [&str; 2] = [
    "the name servers are not where the relay is",
    "the name leads to the relay and nowhere else",
];

/// How the checks end that need the relay's addresses.
fn states(trust: &Trust) -> [CheckState; 2] {
    let report = trust.reports().remove(0);
    TITLES.map(|title| {
        let check = report.checks.iter().find(|it| it.title == title);
        check.unwrap().state
    })
}

fn board() -> Board {
    let relay = Relay {
        addresses: Vec::new(),
        server_name: "relay.example".parse().unwrap(),
        key: PublicKey([1; 32]),
    };
    Board::new(&[relay], &[], Arc::new(SystemTime::now))
}

#[tokio::test]
async fn a_relay_that_cannot_be_looked_up_is_where_its_session_goes_or_nothing_is_ordered() {
    if is_missing() {
        return;
    }
    let keys = Keys::new(&["test", "de", "alice.de"]);
    let logs = LogServer::start().await;
    let state = tempfile::tempdir().unwrap();
    let name: Hostname = NAME.parse().unwrap();
    let zone = |address: &str| serve(&keys, &format!("{}{address}", caa()));
    let lost = |dns: &Knot| Trust {
        // Without a port it leads nowhere, whatever the DNS says.
        relays: Relays::at(&["relay.example"]),
        ..home(&keys, dns, &logs, state.path(), Level::Public)
    };
    let dns = zone(ADDRESS);
    let trust = lost(&dns);
    let refused = trust.decide(&name, account()).await.unwrap_err();
    assert!(
        refused.contains("where the relay relay.example is could not be looked up")
            && refused.contains("write the relay's address"),
        "{refused}"
    );
    assert!(!trust.is_served(&name));
    assert_eq!(states(&trust), [CheckState::Unknown; 2]);

    // The tunnel is up, on an address that was remembered.
    let board = board();
    trust.follow(board.clone());
    board.reached(0, Some("203.0.113.5:443".parse().unwrap()));
    assert_eq!(trust.decide(&name, account()).await, Ok(()));
    assert!(trust.is_served(&name));
    assert_eq!(states(&trust), [CheckState::Good; 2]);

    // It is lost: what was known before holds, and a renewal does not fail by it.
    board.set(0, RelayState::Dialing, None);
    assert_eq!(trust.decide(&name, account()).await, Ok(()));
    assert!(trust.is_served(&name));
    assert_eq!(states(&trust), [CheckState::Unknown; 2]);

    // The name leads elsewhere.
    drop((trust, dns));
    let dns = zone("home.alice.de. 60 A 198.51.100.9\n");
    let trust = lost(&dns);
    trust.follow(board.clone());
    board.reached(0, Some("203.0.113.5:443".parse().unwrap()));
    let refused = trust.decide(&name, account()).await.unwrap_err();
    assert!(refused.contains("198.51.100.9"), "{refused}");
}
