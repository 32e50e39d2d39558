//! What the relay knows after it has passed the phone's bytes on: its own report.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use cloudless_relay::HomeStatus;
use cloudless_relay::admin::{Command, Reply};

use super::HOSTNAME;
use super::story::Story;
use crate::admin_socket;

/// How long the relay may take to notice that the phone has gone.
const GONE_DEADLINE: Duration = Duration::from_secs(5);
const GONE_INTERVAL: Duration = Duration::from_millis(10);

/// Tells what the relay counted, after the phone has gone.
pub(super) async fn tell(relay_state: &Path, story: &Story) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut home = report(relay_state).await?;
    while home.visitors_now > 0 && started.elapsed() < GONE_DEADLINE {
        tokio::time::sleep(GONE_INTERVAL).await;
        home = report(relay_state).await?;
    }
    let server_name = home
        .last_server_name
        .as_ref()
        .context("the relay has seen no visitor")?;
    ensure!(
        server_name.as_str() == HOSTNAME,
        "the relay saw {server_name}, not {HOSTNAME}"
    );
    ensure!(
        home.bytes_up > 0 && home.bytes_down > 0,
        "no byte went through the relay"
    );
    story.say(format_args!(
        "the server name   {server_name}, which every TLS client sends in clear"
    ));
    story.say(format_args!(
        "ciphertext        {} bytes to home, {} bytes from home, {} connection{}",
        home.bytes_up,
        home.bytes_down,
        home.visitors_total,
        if home.visitors_total == 1 { "" } else { "s" },
    ));
    story.say("and that is all   no contact, no user, no password: TLS ends at home");
    Ok(())
}

async fn report(relay_state: &Path) -> anyhow::Result<HomeStatus> {
    let relay_state = relay_state.to_owned();
    let status = tokio::task::spawn_blocking(move || {
        admin_socket::ask(&relay_state, admin_socket::RELAY, &Command::Status)
    });
    let Some(Reply::Status(status)) = status.await?? else {
        bail!("the relay answered something else than its status");
    };
    let home = status
        .homes
        .into_iter()
        .find(|home| home.hostname.as_str() == HOSTNAME);
    home.context("the relay does not know the demo's home")
}
