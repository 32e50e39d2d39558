//! What to try once the demo is up.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::setup::Running;
use super::story::Story;

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

/// Prints lines to paste into another terminal.
pub(super) fn tell(running: &Running, login: &Login, story: &Story) {
    let Login { user, password } = login;
    let public_url = running.public_url();
    let ca_file = running.ca_file();
    let ca_file = ca_file.display();
    story.heading("try it, from another terminal, through the relay");
    story.say(format_args!(
        "curl --cacert '{ca_file}' -u {user}:{password} -X PROPFIND -H 'Depth: 1' \\\n      \
         {public_url}dav/addressbooks/{user}/contacts/"
    ));
    story.heading("or sync it into a folder, with this as ~/.config/vdirsyncer/config");
    for line in vdirsyncer_config(&public_url, user, password, &ca_file.to_string()).lines() {
        story.say(line);
    }
    story.heading("or point any CardDAV program at it");
    story.say(format_args!("URL               {public_url}"));
    story.say(format_args!(
        "on this machine   {}, without TLS and without the relay",
        running.local_url()
    ));
    story.say(format_args!("user              {user}"));
    story.say(format_args!("password          {password}"));
    story.say(format_args!(
        "CA file           {ca_file}, for the program to trust"
    ));
    story.say(format_args!("logs              {}", running.logs()));
    story.title("Ctrl-C ends it");
}

fn vdirsyncer_config(public_url: &str, user: &str, password: &str, ca_file: &str) -> String {
    format!(
        "\
[general]
status_path = \"~/.local/share/vdirsyncer/cloudless-demo/\"

[pair cloudless_demo]
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
path = \"~/cloudless-demo/\"
fileext = \".vcf\"
"
    )
}
