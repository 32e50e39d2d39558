use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use cloudless_proto::{Hostname, UpstreamAddress};

use cloudless_relay::KEY_FILE;

use super::INIT_ADVICE;
use crate::config::address::{Address, HTTPS_PORT, Host};
use crate::config::limits::LimitsTable;
use crate::config::relay::{self, DEFAULT_SERVER_NAME, FILE, Listen, RelayFile};
use crate::config::servers::{RoutesTable, ServersTable};
use crate::config::sockets::{self, SocketAddresses};
use crate::exit::Usage;
use crate::state::{self, RelayState};
use crate::terminal::{self, BOLD};
use crate::{atomic_file, identity};

/// Make the relay's key and its config file, once
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless relay init
  cloudless relay init --address relay.example.org
  cloudless relay init --address 203.0.113.5 --address '[2001:db8::5]'
  cloudless relay init --listen 0.0.0.0:8443 --address relay.example.org:443 --no-http

What exists is never changed: to change a setting later, edit relay.toml.")]
pub(super) struct Init {
    #[command(flatten)]
    state: RelayState,
    /// Reach this relay at HOST from outside, a name or an IP address; may be repeated [default: a
    /// guess from this machine's route to the internet]
    #[arg(long = "address", value_name = "HOST[:PORT]")]
    addresses: Vec<Address>,
    /// Call the relay itself NAME, which no home may use [default: the first address if it is a
    /// name, else relay.cloudless.internal]
    #[arg(long, value_name = "NAME")]
    server_name: Option<Hostname>,
    /// Accept visitors and homes on ADDRESS; may be repeated [default: [::]:443, IPv4 too]
    #[arg(long = "listen", value_name = "ADDRESS:PORT", value_parser = sockets::parse)]
    https: Vec<SocketAddr>,
    /// Redirect plain HTTP to https on ADDRESS; may be repeated [default: [::]:80, IPv4 too]
    #[arg(long = "http-listen", value_name = "ADDRESS:PORT", value_parser = sockets::parse)]
    http: Vec<SocketAddr>,
    /// Do not listen for plain HTTP at all
    #[arg(long, conflicts_with = "http")]
    no_http: bool,
    /// Pass TLS connections that are for no home to the web server at ADDRESS
    #[arg(long, value_name = "ADDRESS:PORT")]
    fallback_https: Option<UpstreamAddress>,
    /// Pass plain HTTP that is for no home to the web server at ADDRESS
    #[arg(long, value_name = "ADDRESS:PORT")]
    fallback_http: Option<UpstreamAddress>,
}

impl Init {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let file_is_there = state.join(FILE).exists();
        // A guess that fails must not leave half a state behind.
        let file = if file_is_there {
            RelayFile::read(&state)?
        } else {
            self.file()?
        };
        state::create(&state)?;
        let (key_is_new, file_is_new) = state::as_owner(&state, || {
            let key_is_new = identity::create(&state.join(KEY_FILE))?;
            let file_is_new = atomic_file::create(&state.join(FILE), file.render().as_bytes())?;
            Ok((key_is_new, file_is_new))
        })?;
        if !key_is_new && !file_is_new {
            terminal::note(format_args!(
                "nothing changed: {} has a key and a config already; edit {FILE} to change a setting",
                state.display()
            ));
            return Ok(());
        }
        tell(&state, &file, &self.state.flag())
    }

    /// The config file that the flags ask for.
    fn file(&self) -> anyhow::Result<RelayFile> {
        let or_default = |given: &[SocketAddr], default: SocketAddresses| match given {
            [] => default,
            given => SocketAddresses(given.to_owned()),
        };
        let listen = Listen {
            https: or_default(&self.https, relay::everywhere(HTTPS_PORT)),
            http: if self.no_http {
                SocketAddresses(Vec::new())
            } else {
                or_default(&self.http, relay::everywhere(80))
            },
            ssh: SocketAddresses(Vec::new()),
            proxy_protocol_from: Vec::new(),
        };
        let port = listen.https.0.first().map_or(HTTPS_PORT, SocketAddr::port);
        let given = if self.addresses.is_empty() {
            vec![guess()?]
        } else {
            self.addresses.clone()
        };
        let addresses: Vec<_> = given.iter().map(|it| it.with_default_port(port)).collect();
        let first_name = addresses.first().and_then(|address| match &address.host {
            Host::Name(name) => Some(name.clone()),
            Host::Ip(_) => None,
        });
        let server_name = match self.server_name.clone().or(first_name) {
            Some(name) => name,
            None => DEFAULT_SERVER_NAME
                .parse()
                .context("the default server name")?,
        };
        Ok(RelayFile {
            server_name,
            addresses,
            hold: relay::default_hold(),
            legs: true,
            sandbox: true,
            metrics: None,
            listen,
            fallback: ServersTable {
                https: self.fallback_https.clone(),
                http: self.fallback_http.clone(),
                proxy_protocol: None,
            },
            routes: RoutesTable::default(),
            limits: LimitsTable::default(),
        })
    }
}

/// Says what was made and what comes next.
fn tell(state: &Path, file: &RelayFile, flag: &str) -> anyhow::Result<()> {
    let identity = identity::read(&state.join(KEY_FILE), INIT_ADVICE)?;
    let key = cloudless_relay::public_key(&identity)?;
    let list = |addresses: &[SocketAddr]| {
        addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let addresses: Vec<_> = file.addresses.iter().map(ToString::to_string).collect();
    terminal::note(format_args!("made a relay in {}", state.display()));
    terminal::note(format_args!("  its key      {key}"));
    terminal::note(format_args!("  reached at   {}", addresses.join(", ")));
    terminal::note(format_args!(
        "  listens on   {}",
        list(&file.listen.https.0)
    ));
    if !file.listen.http.0.is_empty() {
        terminal::note(format_args!(
            "  redirects    {} to https",
            list(&file.listen.http.0)
        ));
    }
    terminal::note(format_args!(
        "  settings     {}",
        state.join(FILE).display()
    ));
    terminal::note("next, with the name that your phone will use (its DNS leads to this machine):");
    terminal::note(format_args!(
        "  {BOLD}cloudless relay invite contacts.example.org{flag}{BOLD:#}"
    ));
    terminal::note(format_args!("  {BOLD}cloudless relay run{flag}{BOLD:#}"));
    Ok(())
}

/// The address that this machine uses towards the internet.
fn guess() -> anyhow::Result<Address> {
    let Some(ip) = source_address() else {
        let message = "this machine has no route to the internet to guess its address from; \
            say how it is reached: --address HOST";
        return Err(Usage(message.to_owned()).into());
    };
    if is_private(ip) {
        terminal::warning(format_args!(
            "{ip} is this machine's address, but a private one: phones outside cannot reach it\n  \
             if a router or a provider maps a public address to it, say which: --address HOST"
        ));
    } else {
        terminal::note(format_args!(
            "{ip} is this machine's address; if homes should use another, say --address HOST"
        ));
    }
    Ok(Address {
        host: Host::Ip(ip),
        port: None,
    })
}

/// What the kernel would put as source on a packet to the internet. Connecting a UDP socket sends
/// nothing. The destinations are addresses for documentation (RFC 5737, RFC 3849).
fn source_address() -> Option<IpAddr> {
    let towards = |local: IpAddr, destination: IpAddr| {
        let socket = UdpSocket::bind((local, 0)).ok()?;
        socket.connect((destination, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    towards(
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv4Addr::new(203, 0, 113, 1).into(),
    )
    .or_else(|| {
        let documentation = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        towards(Ipv6Addr::UNSPECIFIED.into(), documentation.into())
    })
}

/// Whether an address means nothing outside its own network.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_carrier_nat = first == 100 && (64..128).contains(&second);
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_carrier_nat
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_known() {
        for ip in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "127.0.0.1",
            "::1",
            "fd00::1",
        ] {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["203.0.113.5", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
    }
}
