//! Many sessions that come back at once to an sshd that was started anew.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::binary;
use crate::ssh::home::Home;
use crate::ssh::sshd::{Sshd, user};

/// Of more connections that have not logged in sshd closes some (MaxStartups: of ten on nearly a third, of
/// a hundred on each).
const N_SESSIONS: usize = 60;
/// What is asked of a thousand homes of a relay.
const ALL_MAX: Duration = Duration::from_secs(15);

#[tokio::test]
async fn sixty_sessions_come_back_to_an_sshd_as_it_comes() {
    let settings = "StreamLocalBindUnlink yes\n";
    let Some(mut sshd) = Sshd::start(settings) else {
        return;
    };
    let path = |number: usize| sshd.path(&format!("{number}.sock")).display().to_string();
    let mut more = String::new();
    for number in 1..N_SESSIONS {
        let _ = write!(
            more,
            "[[relay]]\ntransport = \"ssh\"\nhost = \"{}\"\nport = {}\nuser = \"{}\"\n\
             forward = \"unix:{}\"\n",
            sshd.address().ip(),
            sshd.address().port(),
            user(),
            path(number),
        );
    }
    let mut home = Home::set_up(&sshd, &format!("unix:{}", path(0)), &more);
    home.start();
    let until = |n_connected: usize| {
        binary::until(home.state(), "home", |status| {
            let relays = status["relays"].as_array().unwrap();
            let connected = relays.iter().filter(|row| row["state"] == "connected");
            connected.count() == n_connected
        });
    };
    until(N_SESSIONS);
    sshd.kill();
    until(0);
    let before = sshd.log().matches("Connection from ").count();
    sshd.restart();
    let begun = Instant::now();
    until(N_SESSIONS);
    let took = begun.elapsed();
    let log = sshd.log();
    let n_dials = log.matches("Connection from ").count() - before;
    let n_dropped = log.matches("drop connection").count();
    println!(
        "MEASURED {N_SESSIONS} sessions with an sshd: {took:.1?}, {n_dials} taken, {n_dropped} dropped"
    );
    assert!(took <= ALL_MAX, "{took:?}");
}
