use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_home::admin::{ClientCertificate, Command, DeviceAdded, Reply};
use cloudless_home::certificate;
use cloudless_proto::Hostname;
use data_encoding::BASE64;

use crate::command::home;
use crate::config::home::HomeFile;
use crate::state::{self, HomeState};
use crate::terminal::{self, BOLD};

/// Make a password for one phone or program, and say where it connects
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless device add me phone
  cloudless device add me laptop --create-user --json
  cloudless device add me phone --client-certificate

The password is shown this once; only a hash of it is kept. A lost one is replaced:
  cloudless device revoke me phone && cloudless device add me phone

With --client-certificate the device has to prove a certificate as well, which keeps whoever imitates
this home's name from reading contacts. home.toml has to have a name for such devices; DAVx5,
Thunderbird and vdirsyncer can use one, iPhones and Evolution cannot.")]
pub(super) struct Add {
    #[command(flatten)]
    state: HomeState,
    /// Let the device see the contacts of USER
    #[arg(value_name = "USER")]
    user: String,
    /// Name the device so, to know it again in the list
    #[arg(value_name = "NAME")]
    name: String,
    /// Create USER first if there is none of that name
    #[arg(long)]
    create_user: bool,
    /// Make a client certificate too, without which the device is refused
    #[arg(long)]
    client_certificate: bool,
    /// Write the client certificate to FILE, in PKCS#12 [default: USER-NAME.p12]
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    output: Option<PathBuf>,
    /// Print one line of JSON with user, device, password and URLs, and no file
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

impl Add {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        state::create(&state)?;
        let is_to_file = self.client_certificate && !self.json;
        let file = is_to_file.then(|| self.output.clone().unwrap_or_else(|| self.default_file()));
        if let Some(file) = file.as_ref().filter(|file| file.exists()) {
            bail!(
                "{} is there already: remove it, or name another --output",
                file.display()
            );
        }
        let command = Command::DeviceAdd {
            user: self.user,
            name: self.name,
            create_user: self.create_user,
            client_certificate: self.client_certificate,
        };
        let Reply::DeviceAdded(added) = home::execute(&state, &command)? else {
            bail!("home answered something else than a new device");
        };
        if self.json {
            return terminal::json(&added);
        }
        if let (Some(file), Some(certificate)) = (&file, &added.client_certificate) {
            write(file, certificate).with_context(|| {
                let (user, device) = (&added.user, &added.device);
                format!(
                    "cannot write {}: the device was added, and is of no use without it; revoke it \
                     (cloudless device revoke {user} {device}) and add it again",
                    file.display()
                )
            })?;
        }
        tell(&added, file.as_deref(), &state)
    }

    /// A file in the working directory.
    fn default_file(&self) -> PathBuf {
        let plain = |c: char| if c.is_alphanumeric() { c } else { '-' };
        let name = format!("{}-{}", self.user, self.name);
        PathBuf::from(name.chars().map(plain).collect::<String>() + ".p12")
    }
}

/// Writes a new file that its owner alone may read.
fn write(file: &Path, certificate: &ClientCertificate) -> anyhow::Result<()> {
    let bytes = BASE64.decode(certificate.pkcs12_base64.expose().as_bytes());
    let bytes = bytes.context("home's answer is damaged")?;
    let mut new = OpenOptions::new();
    let mut new = new.write(true).create_new(true).mode(0o600).open(file)?;
    let written = new.write_all(&bytes).and_then(|()| new.sync_all());
    written.inspect_err(|_| {
        // Half of it is of no use.
        let _ = fs::remove_file(file);
    })?;
    Ok(())
}

fn tell(added: &DeviceAdded, file: Option<&Path>, state: &Path) -> anyhow::Result<()> {
    terminal::data(format_args!("user      {BOLD}{}{BOLD:#}", added.user))?;
    terminal::data(format_args!(
        "password  {BOLD}{}{BOLD:#}",
        added.password.expose()
    ))?;
    for url in &added.public_urls {
        terminal::data(format_args!("URL       {BOLD}{url}{BOLD:#}"))?;
    }
    for url in &added.local_urls {
        terminal::data(format_args!("local     {url}"))?;
    }
    if let (Some(file), Some(certificate)) = (file, &added.client_certificate) {
        let password = certificate.password.expose();
        terminal::data(format_args!("file      {BOLD}{}{BOLD:#}", file.display()))?;
        terminal::data(format_args!("its password  {BOLD}{password}{BOLD:#}"))?;
        terminal::note(
            "bring the file to the device, import it there with its password, choose it in the \
                 account's settings as client certificate, and delete the file",
        );
    }
    if added.public_urls.is_empty() {
        terminal::note(
            "no name leads here from outside yet: get a join code from a relay and run \
                 `cloudless home join CODE`",
        );
    }
    terminal::note("type them into the device now: the password cannot be shown again");
    let home = HomeFile::read_if_there(state)?;
    let files = home.map(|home| files_to_trust(&home, &added.public_urls, state));
    let files = files.unwrap_or_default();
    if !files.is_empty() {
        let files: Vec<_> = files.iter().map(|it| it.display().to_string()).collect();
        terminal::note(format_args!(
            "the device has to trust home's own certificate authority, which home makes when it \
                 first runs: {}",
            files.join(" and ")
        ));
    }
    Ok(())
}

/// What a device that connects to these URLs has to trust; a name that is not the only one has a file
/// of its own.
fn files_to_trust(home: &HomeFile, urls: &[String], state: &Path) -> Vec<PathBuf> {
    let names = home.names_to_trust();
    let is_used = |name: &&&Hostname| {
        let leads_to_name = |url: &String| {
            let rest = url.strip_prefix(&format!("https://{name}"));
            rest.is_some_and(|it| it.starts_with(['/', ':']))
        };
        urls.iter().any(leads_to_name)
    };
    let used = names.iter().filter(is_used);
    if names.len() == 1 {
        return used.map(|_| certificate::ca_file(state)).collect();
    }
    used.map(|name| certificate::ca_file_of(state, name))
        .collect()
}
