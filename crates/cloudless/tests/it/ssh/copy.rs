//! Two homes with one key at an sshd, which knows nothing of homes.

use serde_json::Value;

use super::places::front;
use crate::binary;
use crate::ssh::home::Home;
use crate::ssh::sshd::{RECIPE, Sshd, free_address};

const CARD: &[u8] = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:one\r\nFN:One\r\nEND:VCARD\r\n";

fn public(home: &Home, wanted: &str) -> Value {
    let status = binary::until(home.state(), "home", |it| {
        it["public"][0]["state"] == wanted
    });
    status["public"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_home_takes_its_socket_once_and_the_first_one_says_so() {
    let Some(sshd) = Sshd::start("StreamLocalBindUnlink yes\n") else {
        return;
    };
    let path = sshd.path("home.sock");
    let mut home = Home::set_up(&sshd, &format!("unix:{}", path.display()), "");
    let front = front(path).await;
    home.probe_at(front);
    // It makes its certificate when it runs first.
    home.start();
    home.await_tunnel();
    home.stop();
    let mut copy = home.copy();
    home.start();
    home.await_tunnel();
    public(&home, "online");
    let phone = home.phone(front);
    let put = phone.connect().await.unwrap().put("one.vcf", CARD).await;
    assert!(put.unwrap().status.is_success());

    copy.start();
    copy.await_tunnel();
    // Who came last has the visitors.
    let got = phone.connect().await.unwrap().get("one.vcf").await.unwrap();
    assert_eq!(got.status, 404, "{got:?}");
    binary::on(home.state(), &["home", "status", "--check"]).expect(1);
    let row = public(&home, "unreachable");
    let said = row["message"].as_str().unwrap();
    assert!(said.contains("a second home with its names"), "{said}");
    public(&copy, "online");
    // They do not throw each other out.
    for one in [&home, &copy] {
        one.relay_until(|row| row["state"] == "connected");
    }
    let logins = sshd.log().matches("Accepted publickey").count();
    assert_eq!(logins, 3, "{}", sshd.log());

    // The first one is what it was once it is started anew.
    drop(copy);
    home.stop();
    home.start();
    home.await_tunnel();
    let got = phone.connect().await.unwrap().get("one.vcf").await.unwrap();
    assert_eq!(got.body, CARD);
    public(&home, "online");
}

#[test]
fn a_copy_of_a_home_does_not_get_its_port_while_it_lives() {
    let Some(sshd) = Sshd::start(RECIPE) else {
        return;
    };
    let forward = free_address();
    let mut home = Home::set_up(&sshd, &forward.to_string(), "");
    let mut copy = home.copy();
    home.start();
    home.await_tunnel();
    copy.start();
    let row = copy.relay_until(|row| row["state"] == "refused");
    let error = row["error"].as_str().unwrap();
    assert!(error.contains("an older session does"), "{error}");
    home.relay_until(|row| row["state"] == "connected");
    drop(home);
    copy.await_tunnel();
}
