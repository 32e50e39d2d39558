//! What home is told about an SSH server that is its relay.

use std::path::PathBuf;

use cloudless_proto::proxy_protocol::Version;

use super::forward::Forward;
use super::key::SshKey;
use super::known_hosts;
use super::visit::Kind;

/// A plain sshd in a relay's place: it listens for visitors, and passes their bytes to home. Nothing
/// of cloudless runs there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshRelay {
    /// A DNS name or an IP address.
    pub host: String,
    /// sshd's port.
    pub port: u16,
    /// Who home is there.
    pub user: String,
    /// Home's key.
    pub key: SshKey,
    /// Where the server's key has to be, in OpenSSH's format: read for each dial, and need not exist.
    pub known_hosts: PathBuf,
    /// Another such file and what was in it.
    pub other_known_hosts: Option<(PathBuf, String)>,
    /// Where the server listens for visitors' TLS.
    pub forward: Forward,
    /// Where it listens for their plain HTTP, if it does.
    pub forward_http: Option<Forward>,
    /// What a proxy in front of `forward` puts before each connection.
    pub proxy_protocol: Option<Version>,
}

impl SshRelay {
    /// The name of the server in messages and in `known_hosts`.
    pub fn name(&self) -> String {
        known_hosts::name(&self.host, self.port)
    }

    /// `host:port`, to be resolved and connected to.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The line for `authorized_keys` that lets home's key do what is needed and nothing else.
    pub fn authorized_key(&self) -> String {
        let forwards = std::iter::once(&self.forward).chain(&self.forward_http);
        let mut options = vec!["restrict".to_owned(), "port-forwarding".to_owned()];
        options.extend(forwards.filter_map(Forward::permission));
        format!("{} {}", options.join(","), self.key.public())
    }

    /// The port that visitors use, as far as it is seen from here.
    pub fn public_port(&self) -> Option<u16> {
        match &self.forward {
            Forward::Tcp { port, .. } if !self.forward.is_local() => Some(*port),
            _ => None,
        }
    }

    /// What comes through a port that the server listens on.
    pub(super) fn kind_of_port(&self, port: u16) -> Option<Kind> {
        self.kind(|forward| matches!(forward, Forward::Tcp { port: it, .. } if *it == port))
    }

    /// What comes through a socket that the server listens on.
    pub(super) fn kind_of_path(&self, path: &str) -> Option<Kind> {
        self.kind(|forward| matches!(forward, Forward::Unix(it) if it == path))
    }

    fn kind(&self, is_it: impl Fn(&Forward) -> bool) -> Option<Kind> {
        if is_it(&self.forward) {
            Some(Kind::Tls)
        } else {
            let http = self.forward_http.as_ref();
            http.filter(|it| is_it(it)).map(|_| Kind::Http)
        }
    }
}
