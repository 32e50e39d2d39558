//! What to try once the demo is up.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::setup::Running;
use super::story::Story;
use crate::atomic_file;

/// What `device add --json` prints, as far as the demo needs it.
#[derive(Serialize, Deserialize)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// The line of `demo --json`.
#[derive(Serialize)]
pub(super) struct Output {
    public_url: String,
    local_url: String,
    user: String,
    password: String,
    ca_file: PathBuf,
    relay_addr: String,
    relay_pid: u32,
    home_pid: u32,
}

impl Output {
    pub(super) fn of(running: &Running, login: &Login) -> Self {
        Self {
            public_url: running.public_url(),
            local_url: running.local_url(),
            user: login.user.clone(),
            password: login.password.clone(),
            ca_file: running.ca_file(),
            relay_addr: running.relay_address.to_string(),
            relay_pid: running.relay.id(),
            home_pid: running.home.id(),
        }
    }
}

/// Prints lines to paste into another terminal. `changed` is the path of a card worth looking at.
pub(super) fn tell(
    running: &Running,
    login: &Login,
    changed: &str,
    story: &Story,
) -> anyhow::Result<()> {
    let Login { user, password } = login;
    let public_url = running.public_url();
    let ca_file = running.ca_file();
    let config_file = running.file("vdirsyncer.conf");
    let config = vdirsyncer_config(running, login);
    atomic_file::replace(&config_file, config.as_bytes())?;
    let (ca_file, config_file) = (ca_file.display(), config_file.display());
    let origin = public_url.trim_end_matches('/');

    story.heading("look at the card that was changed, through the relay");
    story.say(format_args!(
        "curl --cacert '{ca_file}' -u {user}:{password} \\\n      {origin}{changed}"
    ));
    story.heading("sync all of them into a folder");
    story.say(format_args!(
        "vdirsyncer -c '{config_file}' discover && vdirsyncer -c '{config_file}' sync"
    ));
    story.heading("with this in that file");
    for line in config.lines() {
        story.say(line);
    }
    story.heading("or point any CardDAV program at it");
    story.say(format_args!("URL         {public_url}"));
    story.say(format_args!("user        {user}"));
    story.say(format_args!("password    {password}"));
    story.say(format_args!(
        "CA file     {ca_file}, for the program to trust"
    ));
    story.say(format_args!(
        "past the relay, on this machine: {}",
        running.local_url()
    ));
    story.heading("what relay and home log");
    story.say(running.logs());
    story.title("Ctrl-C ends it");
    Ok(())
}

/// A config for vdirsyncer that keeps everything in the demo's own directory.
fn vdirsyncer_config(running: &Running, login: &Login) -> String {
    format!(
        "\
[general]
status_path = \"{status_path}\"

[pair demo]
a = \"phone\"
b = \"folder\"
collections = [\"from a\"]

[storage phone]
type = \"carddav\"
url = \"{public_url}\"
username = \"{user}\"
password = \"{password}\"
verify = \"{ca_file}\"

[storage folder]
type = \"filesystem\"
path = \"{path}\"
fileext = \".vcf\"
",
        status_path = running.file("vdirsyncer-status").display(),
        public_url = running.public_url(),
        user = login.user,
        password = login.password,
        ca_file = running.ca_file().display(),
        path = running.file("synced").display(),
    )
}
