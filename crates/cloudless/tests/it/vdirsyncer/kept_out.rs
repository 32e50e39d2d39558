//! What vdirsyncer does when it is not let in, or home is away: neither side loses anything.

use super::{Account, Folder, contains, program};
use crate::binary::on;
use crate::cards;
use crate::documented;
use crate::pair::Pair;

const COUNT: usize = 5;

impl Folder {
    /// Runs vdirsyncer, which must fail and say this; the folder stays as it was.
    fn fails(&self, command: &str, words: &str) {
        let before = self.read();
        let output = self.vdirsyncer(&[command]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{command}: {said}");
        assert!(said.contains(words), "{command}: {said}");
        assert_eq!(self.read(), before, "what was in the folder");
    }
}

fn filled(pair: &Pair, account: Account) -> Option<Folder> {
    let laptop = Folder::new(&program()?, pair.folder("laptop"), account);
    for (name, card) in cards::varied(COUNT) {
        laptop.write(&name, &card);
    }
    Some(laptop)
}

/// Home waits a few seconds before it refuses a login, and vdirsyncer asks in several places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_gets_nowhere() {
    let pair = Pair::start();
    let right = Account::at_home(&pair);
    let wrong = Account {
        password: format!("x{}", right.password),
        ..right
    };
    let Some(stranger) = filled(&pair, wrong) else {
        return;
    };
    stranger.fails("discover", "401");
    assert!(pair.local_program().names().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_device_loses_nothing_and_goes_on_with_a_new_password() {
    let pair = Pair::start();
    let right = Account::at_home(&pair);
    let Some(laptop) = filled(&pair, right.clone()) else {
        return;
    };
    laptop.discover();
    laptop.sync();
    assert_eq!(pair.local_program().names().await.len(), COUNT);

    // The device's password is taken away. What was done since stays in the folder.
    let home = pair.folder("home");
    let add = ["device", "add", "me", "laptop", "--json"];
    let added = on(&home, &add).expect(0).json();
    on(&home, &["device", "revoke", "me", "phone"]).expect(0);
    laptop.edit("card-1", "NOTE:edited after the revocation");
    laptop.remove("card-2");
    laptop.fails("sync", "401");

    // With a new one all of it goes up.
    let new = Account {
        password: added["password"].as_str().unwrap().to_owned(),
        ..right
    };
    let laptop = Folder::new(&laptop.program, laptop.directory, new.clone());
    laptop.discover();
    laptop.sync();
    let desktop = Folder::new(&laptop.program, pair.folder("desktop"), new);
    desktop.discover();
    desktop.sync();
    let cards = desktop.read();
    assert_eq!(cards.len(), COUNT - 1);
    let is_edited = |card: &&Vec<u8>| contains(card, "NOTE:edited after the revocation");
    assert_eq!(cards.values().filter(is_edited).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_made_while_home_is_away_meet_when_it_is_back() {
    let mut pair = Pair::start();
    let account = Account::at_home(&pair);
    let Some(laptop) = filled(&pair, account.clone()) else {
        return;
    };
    laptop.discover();
    laptop.sync();
    // Nobody waits long for a home that is away.
    let relay = pair.folder("relay");
    documented::set(&relay.join("relay.toml"), "hold = \"100ms\"\n");
    on(&relay, &["relay", "reload"]).expect(0);

    pair.kill_home();
    laptop.edit("card-1", "NOTE:edited while home was away");
    laptop.remove("card-2");
    laptop.fails("sync", "");

    pair.start_home();
    pair.await_tunnel();
    let mut phone = pair.phone().connect().await.unwrap();
    let put = phone.put("new.vcf", &cards::small("new")).await.unwrap();
    assert!(put.status.is_success(), "{put:?}");
    laptop.sync();
    assert_eq!(laptop.read().len(), COUNT);
    let desktop = Folder::new(&laptop.program, pair.folder("desktop"), account);
    desktop.discover();
    desktop.sync();
    let cards = desktop.read();
    assert_eq!(cards.len(), COUNT);
    let is_edited = |card: &&Vec<u8>| contains(card, "NOTE:edited while home was away");
    assert_eq!(cards.values().filter(is_edited).count(), 1);
}
