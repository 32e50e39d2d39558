//! A plain sshd as the relay.

mod acme;
mod bulk;
mod copy;
mod crowd;
mod doctor;
mod fronts;
mod gone;
mod held_ports;
mod home;
mod outages;
mod penalties;
mod places;
mod plain_http;
mod refusals;
mod scene;
pub(crate) mod sshd;
mod two_relays;
mod visitors;

use serde_json::json;

use crate::binary;
use home::Home;
use sshd::{RECIPE, Sshd, free_address};

#[tokio::test]
async fn a_phone_gets_through_an_sshd_that_knows_nothing_of_cloudless() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let (https, http) = (free_address(), free_address());
    let more = format!("forward_http = \"{http}\"\n");
    let mut home = Home::set_up(&sshd, &https.to_string(), &more);
    home.start();
    home.await_tunnel();

    let card = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:one\r\nFN:One\r\nEND:VCARD\r\n";
    for phone in [home.phone(https), home.phone(https).over_http2()] {
        let mut connection = phone.connect().await.unwrap();
        let put = connection.put("one.vcf", card).await.unwrap();
        assert!(put.status.is_success(), "{put:?}");
        assert_eq!(connection.get("one.vcf").await.unwrap().body, &card[..]);
    }

    let row = home.relay_until(|row| row["visitors_total"].as_u64() >= Some(2));
    assert_eq!(row["transport"], "ssh");
    assert_eq!(row["state"], "connected");
    assert_eq!(row["error"], json!(null));
    assert!(row["round_trip"]["last_us"].as_u64() > Some(0), "{row}");
    assert!(
        row["bytes_up"].as_u64() > Some(500) && row["bytes_down"].as_u64() > Some(500),
        "{row}"
    );
    assert_eq!(row["hostnames"], json!(["localhost"]));

    let doctor = binary::on(home.state(), &["home", "doctor", "--json"]).json();
    let checks = doctor[0]["checks"].as_array().unwrap();
    let is_ssh =
        |check: &&serde_json::Value| check["title"].as_str().unwrap().contains("SSH server");
    let check = checks.iter().find(is_ssh).unwrap();
    assert_eq!(check["state"], "good", "{check}");
}
