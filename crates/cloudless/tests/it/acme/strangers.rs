//! Somebody who is not on the way orders a certificate for home's name: the authority comes to the
//! honest relay, and home answers for its own orders alone.

use instant_acme::ChallengeType;

use super::{Bed, Tricks, Wish, pebble};
use crate::cheating::certificate::Stranger;
use crate::pair::HOSTNAME;

/// Tries both methods, with nothing to answer. Returns what the authority says against each.
async fn refused(stranger: &Stranger) -> [String; 2] {
    let mut said = Vec::new();
    for kind in [ChallengeType::TlsAlpn01, ChallengeType::Http01] {
        let ordered = stranger.order(HOSTNAME, kind, |_| {}).await;
        said.push(ordered.err().expect("no certificate for a stranger"));
    }
    said.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_proves_home_s_name_through_home_or_through_the_relay_s_port_80() {
    if !pebble::is_installed() {
        return;
    }
    for challenge in ["tls-alpn-01", "http-01"] {
        let acme = match challenge {
            "http-01" => "challenge = \"http-01\"",
            _ => "",
        };
        let bed = Bed::start(Wish {
            acme,
            tricks: Tricks {
                holds: true,
                ..Tricks::default()
            },
            ..Wish::default()
        });
        let stranger = Stranger::register(&bed.front).await;
        // Home's own order is under way, and home would answer for it.
        bed.front.await_held().await;
        bed.front.hold_no_other();
        let [by_tls, by_http] = refused(&stranger).await;
        if challenge == "http-01" {
            // Another path than that of home's order: a 404, and no way to anywhere else.
            assert!(by_http.contains("404"), "{by_http}");
            assert!(!by_tls.is_empty());
        } else {
            // Home shows what it has for its own order, which proves nothing for another account.
            assert!(by_tls.contains("acmeValidation"), "{by_tls}");
            assert!(by_http.contains("404"), "{by_http}");
        }
        bed.front.go_on();
        let row = bed.await_certificate();
        assert_eq!(row["acme"]["failures"], 0, "{row}");
        // And when none is under way.
        let [by_tls, by_http] = refused(&stranger).await;
        assert!(by_http.contains("404"), "{by_http}");
        assert!(!by_tls.contains("acmeValidation"), "{by_tls}");
        assert_eq!(bed.row()["sha256"], row["sha256"]);
        bed.phone().names().await;
    }
}
