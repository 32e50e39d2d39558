//! Somebody between home and relay orders a certificate for home's name, and tries all that may lead
//! an authority to them: TLS-ALPN-01, HTTP-01, a redirect from port 80, and legs, which they answer.

use std::time::Duration;

use instant_acme::ChallengeType;
use tokio::time::timeout;

use super::between::{Between, Ruse, sync};
use super::certificate::Stranger;
use crate::acme::{Bed, Wish, pebble};
use crate::cards;
use crate::pair::HOSTNAME;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sits_between_home_and_relay_proves_home_s_name_to_no_authority() {
    if !pebble::is_installed() {
        return;
    }
    for redirects in [false, true] {
        let mut bed = Bed::prepare(Wish {
            redirects,
            ..Wish::default()
        });
        let between = Between::before(bed.pair.relay_address()).await;
        between.turn_to(Ruse::Answer);
        bed.pair.lead_home_over(between.address);
        bed.pair.start_home();
        bed.pair.await_tunnel();
        // Home's own order goes by them.
        bed.await_certificate();
        let stranger = Stranger::register(&bed.front).await;
        for kind in [ChallengeType::TlsAlpn01, ChallengeType::Http01] {
            let is_http = kind == ChallengeType::Http01;
            let ordered = stranger.order(HOSTNAME, kind, |_| {}).await;
            let said = ordered.err().expect("no certificate for a stranger");
            // The relay has answered, or home, which asks who is there: never they.
            let expected = if redirects {
                "returned 401"
            } else {
                "returned 404"
            };
            assert_eq!(said.contains(expected), is_http, "{said}");
        }
        assert_eq!(between.legs(), 0, "an authority was led past the tunnel");
        if let Some(redirect) = &bed.redirect {
            assert_ne!(
                redirect.followed(),
                0,
                "void: the authority was not redirected"
            );
        }
        // They would have answered one.
        let mut phone = bed.phone().connect().await.unwrap();
        let made = async {
            while between.legs() == 0 {
                assert!(sync(&mut phone, &cards::large(1)).await.is_some());
            }
        };
        timeout(PATIENCE, made)
            .await
            .expect("void: there are no legs");
    }
}
