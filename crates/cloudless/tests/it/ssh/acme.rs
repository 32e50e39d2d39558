//! A public certificate through an sshd, by either method.

use crate::acme::front::{Front, Tricks};
use crate::acme::pebble::{self, Pebble, Settings};
use crate::binary;
use crate::ssh::home::Home;
use crate::ssh::sshd::{RECIPE, Sshd, free_address};

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_validates_inside_tls_through_an_sshd() {
    order_a_certificate("tls-alpn-01").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_validates_over_plain_http_through_an_sshd() {
    order_a_certificate("http-01").await;
}

async fn order_a_certificate(method: &str) {
    if !pebble::is_installed() {
        return;
    }
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let (https, http) = (free_address(), free_address());
    let pebble = Pebble::start(&Settings {
        https: https.port(),
        http: http.port(),
        nonces_refused: 0,
        external: None,
        validity_s: None,
    });
    let front = Front::start(&pebble, Tricks::default());
    let more = format!(
        "forward_http = \"{http}\"\n\
         [hostname.\"localhost\"]\ncertificate = \"acme\"\ntrust = \"honest-relay\"\n\
         [acme]\ndirectory = \"{}\"\nroot_ca_file = \"{}\"\nchallenge = \"{method}\"\n",
        front.directory(),
        front.ca_file().display(),
    );
    let mut home = Home::set_up(&sshd, &https.to_string(), &more);
    home.start();
    home.await_tunnel();
    let begun = std::time::Instant::now();
    loop {
        let arguments = ["home", "certificate", "show", "--json"];
        let row = binary::on(home.state(), &arguments).expect(0).json()[0].clone();
        if row["expires_at"].is_string() {
            assert_eq!(row["acme"]["method"], method, "{row}");
            break;
        }
        assert!(begun.elapsed().as_secs() < 60, "no certificate: {row}");
    }
    let root = home.state().join("root.pem");
    pebble.write_root(&root);
    let phone = home.phone_that_trusts(https, &root);
    assert_eq!(phone.names().await, Vec::<String>::new());
}
