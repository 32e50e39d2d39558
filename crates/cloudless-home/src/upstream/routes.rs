//! Which server behind home gets a request.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cloudless_proto::Hostname;

use super::Upstream;
use super::path::UpstreamPath;
use super::server::Server;
use crate::status::UpstreamStatus;

/// Why the servers cannot be set up as they are configured.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Two servers have the same place.
    #[error("two servers are to get {0}")]
    Ambiguous(String),
    /// A server would get what home answers.
    #[error("a server at {path} would overlap with {own}, which home answers itself")]
    Overlap {
        /// The server's.
        path: UpstreamPath,
        /// Home's.
        own: &'static str,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS to {server}")]
    Tls {
        /// Where.
        server: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// All servers behind home.
pub(crate) struct Upstreams {
    servers: Vec<Arc<Server>>,
    /// For the names that have servers of their own; the longest path first.
    named: HashMap<Hostname, Vec<Arc<Server>>>,
    /// For the other names; the longest path first.
    others: Vec<Arc<Server>>,
}

/// Where a request goes.
pub(crate) enum Found<'a> {
    /// To home itself.
    Own,
    /// To this server.
    Server(&'a Arc<Server>),
    /// Nowhere: a slash is missing at the end of the path.
    NoSlash,
    /// Nowhere: servers may understand the path in different ways.
    DotSegment,
}

impl Upstreams {
    /// All of these, each as `server` makes it.
    pub(super) fn new(
        configured: Vec<Upstream>,
        server: impl FnMut(Upstream) -> Result<Arc<Server>, RouteError>,
    ) -> Result<Self, RouteError> {
        let roots: BTreeSet<_> = configured
            .iter()
            .filter(|it| it.path.is_root())
            .filter_map(|it| it.hostname.clone())
            .collect();
        let mut places = BTreeSet::new();
        for upstream in &configured {
            if !places.insert((upstream.hostname.clone(), upstream.path.clone())) {
                return Err(RouteError::Ambiguous(place(upstream)));
            }
            let is_elsewhere = upstream
                .hostname
                .as_ref()
                .is_some_and(|it| roots.contains(it));
            if let Some(own) = upstream.path.overlap().filter(|_| !is_elsewhere) {
                let path = upstream.path.clone();
                return Err(RouteError::Overlap { path, own });
            }
        }
        let servers = configured.into_iter().map(server);
        let servers: Vec<Arc<Server>> = servers.collect::<Result<_, _>>()?;
        let of = |hostname: Option<&Hostname>| {
            let is_root = hostname.is_some_and(|it| roots.contains(it));
            let mut mine: Vec<_> = servers
                .iter()
                .filter(|server| match server.hostname() {
                    Some(own) => Some(own) == hostname,
                    // Home itself does not answer on a name whose root is another's.
                    None => !is_root,
                })
                .cloned()
                .collect();
            // A name's own server wins over one for all names.
            mine.sort_by_key(|it| {
                (
                    std::cmp::Reverse(it.path().as_str().len()),
                    it.hostname().is_none(),
                )
            });
            mine
        };
        let names = servers.iter().filter_map(|it| it.hostname());
        let named = names.map(|name| (name.clone(), of(Some(name)))).collect();
        Ok(Self {
            others: of(None),
            named,
            servers,
        })
    }

    /// The server that is configured so.
    pub(super) fn find_same(&self, upstream: &Upstream) -> Option<Arc<Server>> {
        let same = self.servers.iter().find(|it| it.is(upstream));
        same.cloned()
    }

    pub(super) fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// Where a request for this path goes.
    pub(crate) fn find(&self, hostname: &Hostname, path: &str) -> Found<'_> {
        let servers = self.of(hostname);
        let Some(server) = servers
            .iter()
            .find(|it| path.starts_with(it.path().as_str()))
        else {
            let is_short = servers.iter().any(|it| it.path().prefix() == path);
            return if is_short { Found::NoSlash } else { Found::Own };
        };
        if super::path::has_dot_segment(path) {
            return Found::DotSegment;
        }
        Found::Server(server)
    }

    pub(crate) fn status(&self) -> Vec<UpstreamStatus> {
        self.servers.iter().map(|it| it.status()).collect()
    }

    fn of(&self, hostname: &Hostname) -> &[Arc<Server>] {
        self.named.get(hostname).unwrap_or(&self.others)
    }
}

fn place(upstream: &Upstream) -> String {
    let path = &upstream.path;
    match &upstream.hostname {
        Some(hostname) => format!("{path} of {hostname}"),
        None => path.to_string(),
    }
}

#[cfg(test)]
mod tests;
