//! `[[upstream]]` in `home.toml`: servers behind home.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cloudless_home::upstream::{Upstream, UpstreamPath, UpstreamServer, UpstreamTimeouts};
use cloudless_proto::Hostname;
use http::Uri;
use rustls_pki_types::ServerName;
use serde::{Deserialize, Deserializer, de};

use super::acme::certificates;
use super::period::Period;

/// More than anybody runs beside home.
const UPSTREAMS_MAX: usize = 64;

/// One server behind home.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamTable {
    /// The name whose requests it gets.
    pub(crate) hostname: Option<Hostname>,
    /// Where in the name's paths it begins; all of them if a name is given and no path.
    #[serde(default, deserialize_with = "path")]
    path: Option<UpstreamPath>,
    /// Where it is.
    server: ServerUrl,
    /// Whether it gets paths without `path`.
    #[serde(default)]
    strip_prefix: bool,
    /// Who may have signed its certificate, in place of those that the system trusts.
    ca_file: Option<PathBuf>,
    /// Whom its certificate has to be for, if that is not the host of `server`.
    server_name: Option<String>,
    connect_timeout: Option<Period>,
    first_byte_timeout: Option<Period>,
    idle_timeout: Option<Period>,
}

impl UpstreamTable {
    fn path(&self) -> UpstreamPath {
        self.path.clone().unwrap_or_else(UpstreamPath::root)
    }

    /// How it is called in messages.
    pub(crate) fn title(&self) -> String {
        match &self.hostname {
            Some(hostname) => format!("the [[upstream]] of {hostname} with path {}", self.path()),
            None => format!("the [[upstream]] with path {}", self.path()),
        }
    }

    /// What home is told of it. Reads the certificates of who may have signed the server's.
    pub(crate) fn upstream(&self, state: &Path) -> anyhow::Result<Upstream> {
        let times = UpstreamTimeouts::default();
        let time = |set: Option<Period>, usual| set.map_or(usual, |Period(time)| time);
        Ok(Upstream {
            hostname: self.hostname.clone(),
            path: self.path(),
            server: self.server(state).with_context(|| self.title())?,
            strip_prefix: self.strip_prefix,
            timeouts: UpstreamTimeouts {
                connect: time(self.connect_timeout, times.connect),
                first_byte: time(self.first_byte_timeout, times.first_byte),
                idle: time(self.idle_timeout, times.idle),
            },
        })
    }

    fn server(&self, state: &Path) -> anyhow::Result<UpstreamServer> {
        let (host, address) = match &self.server {
            ServerUrl::Unix(path) => return Ok(UpstreamServer::Unix(path.clone())),
            ServerUrl::Http { address } => return Ok(UpstreamServer::Http(address.clone())),
            ServerUrl::Https { host, address } => (host, address),
        };
        let roots = match &self.ca_file {
            Some(file) => certificates("ca_file", &state.join(file))?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        if roots.is_empty() {
            bail!(
                "this system has no certificates of authorities, so that no server is trusted: \
                 install ca-certificates, or name the server's own authority in ca_file"
            );
        }
        let name = self.server_name.as_ref().unwrap_or(host).clone();
        let server_name = ServerName::try_from(name.clone())
            .with_context(|| format!("`{name}` is no name that a certificate could be for"))?;
        Ok(UpstreamServer::Https {
            address: address.clone(),
            server_name,
            roots,
        })
    }

    fn contradiction(&self) -> Option<String> {
        let is_tls = matches!(self.server, ServerUrl::Https { .. });
        let path = self.path();
        let times = [
            self.connect_timeout,
            self.first_byte_timeout,
            self.idle_timeout,
        ];
        if self.hostname.is_none() && path.is_root() {
            Some(
                "needs a path, such as path = \"/radicale/\", or a hostname whose requests it gets all"
                    .to_owned(),
            )
        } else if !is_tls && (self.ca_file.is_some() || self.server_name.is_some()) {
            Some("has ca_file or server_name, which only a server at https:// can use".to_owned())
        } else if self.strip_prefix && path.is_root() {
            Some("has strip_prefix and no path that could be taken away; remove one".to_owned())
        } else if times.iter().flatten().any(|Period(time)| time.is_zero()) {
            Some("has a timeout of no time at all".to_owned())
        } else {
            None
        }
    }
}

/// Why these servers cannot be used together, or beside home, and what to do.
pub(crate) fn contradiction(
    tables: &[UpstreamTable],
    hostnames: &[Hostname],
    is_passed: impl Fn(&Hostname) -> bool,
) -> Option<String> {
    if tables.len() > UPSTREAMS_MAX {
        return Some(format!("there are more than {UPSTREAMS_MAX} [[upstream]]"));
    }
    let roots: BTreeSet<_> = tables
        .iter()
        .filter(|it| it.path().is_root())
        .filter_map(|it| it.hostname.as_ref())
        .collect();
    let mut places = BTreeSet::new();
    tables.iter().find_map(|table| {
        let title = table.title();
        if let Some(contradiction) = table.contradiction() {
            return Some(format!("{title} {contradiction}"));
        }
        let hostname = table.hostname.as_ref();
        if let Some(stray) = hostname.filter(|it| !hostnames.contains(it)) {
            return Some(format!(
                "{title}: {stray} is not among `hostnames`; join with it first (on the relay run \
                 `cloudless relay invite {stray}`, here `cloudless home join CODE`), or correct the \
                 name"
            ));
        }
        if hostname.is_some_and(&is_passed) {
            return Some(format!(
                "{title}: the name has `passthrough`, so that home sees none of its requests; remove \
                 one of them"
            ));
        }
        if !places.insert((table.hostname.clone(), table.path())) {
            return Some(format!("{title} is there twice; remove one"));
        }
        let is_elsewhere = hostname.is_some_and(|it| roots.contains(it));
        let own = table.path().overlap().filter(|_| !is_elsewhere)?;
        Some(format!(
            "{title} overlaps with {own}, which home answers itself; take another path, or give the \
             server a hostname of its own"
        ))
    })
}

/// `server`: where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ServerUrl {
    Http { address: String },
    Https { host: String, address: String },
    Unix(PathBuf),
}

impl<'de> Deserialize<'de> for ServerUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        url(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is not where a server is; expected \"http://127.0.0.1:5232\", \
                 \"https://nas.example.org\" or \"unix:/run/server.sock\", without a path"
            ))
        })
    }
}

fn url(text: &str) -> Option<ServerUrl> {
    if let Some(path) = text.strip_prefix("unix:") {
        let is_path = path.starts_with('/') && !path.contains('\0');
        return is_path.then(|| ServerUrl::Unix(path.into()));
    }
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let has_rest = uri.path() != "/" || uri.query().is_some() || text.contains('#');
    if has_rest || authority.as_str().contains('@') {
        return None;
    }
    let host = authority.host();
    let port = |usual| match authority.as_str().len() - host.len() {
        0 => Some(usual),
        _ => authority.port_u16().filter(|port| *port != 0),
    };
    let address = |usual| Some(format!("{host}:{}", port(usual)?));
    match uri.scheme_str()? {
        "http" => Some(ServerUrl::Http {
            address: address(80)?,
        }),
        "https" => Some(ServerUrl::Https {
            host: host.trim_matches(['[', ']']).to_owned(),
            address: address(443)?,
        }),
        _ => None,
    }
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UpstreamPath>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        upstream: Vec<UpstreamTable>,
    }

    fn read(text: &str) -> Result<Vec<UpstreamTable>, String> {
        let file: File = parse(text.as_bytes()).map_err(|fault| fault.to_string())?;
        Ok(file.upstream)
    }

    #[test]
    fn a_server_is_where_its_url_says() {
        let http = |address: &str| ServerUrl::Http {
            address: address.to_owned(),
        };
        let https = |host: &str, address: &str| ServerUrl::Https {
            host: host.to_owned(),
            address: address.to_owned(),
        };
        for (text, expected) in [
            ("http://127.0.0.1:5232", Some(http("127.0.0.1:5232"))),
            ("http://localhost", Some(http("localhost:80"))),
            ("http://[::1]:8080/", Some(http("[::1]:8080"))),
            ("https://nas.lan", Some(https("nas.lan", "nas.lan:443"))),
            (
                "https://[fd00::1]:8443",
                Some(https("fd00::1", "[fd00::1]:8443")),
            ),
            (
                "unix:/run/a.sock",
                Some(ServerUrl::Unix("/run/a.sock".into())),
            ),
            ("127.0.0.1:5232", None),
            ("http://127.0.0.1:5232/radicale/", None),
            ("http://127.0.0.1:5232?x", None),
            ("http://me:secret@127.0.0.1:5232", None),
            ("http://127.0.0.1:", None),
            ("http://127.0.0.1:0", None),
            ("http://127.0.0.1:70000", None),
            ("ftp://127.0.0.1", None),
            ("unix:run/a.sock", None),
            ("", None),
        ] {
            assert_eq!(url(text), expected, "{text}");
        }
    }

    #[test]
    fn all_of_a_table_gets_to_home() {
        let text = "[[upstream]]\npath = \"/radicale/\"\nserver = \"http://127.0.0.1:5232\"\n\
            strip_prefix = true\nfirst_byte_timeout = \"10m\"\n\
            [[upstream]]\nhostname = \"cloud.example.org\"\nserver = \"unix:/run/a.sock\"\n";
        let tables = read(text).unwrap();
        let [radicale, cloud] = &tables[..] else {
            panic!("{tables:?}");
        };
        let radicale = radicale.upstream(Path::new("/")).unwrap();
        assert_eq!(radicale.path.as_str(), "/radicale/");
        assert_eq!(radicale.server.to_string(), "http://127.0.0.1:5232");
        assert!(radicale.strip_prefix);
        assert_eq!(radicale.timeouts.first_byte.as_secs(), 600);
        assert_eq!(radicale.timeouts.idle, UpstreamTimeouts::default().idle);
        let cloud = cloud.upstream(Path::new("/")).unwrap();
        assert!(cloud.path.is_root());
        assert_eq!(cloud.hostname.unwrap().as_str(), "cloud.example.org");
    }

    #[test]
    fn a_mistake_is_shown_where_it_stands() {
        for (text, expected) in [
            (
                "path = \"radicale\"\nserver = \"http://[::1]\"",
                "begins and ends with a slash",
            ),
            (
                "path = \"/a/\"\nserver = \"http://[::1]/b\"",
                "is not where a server is",
            ),
            ("path = \"/a/\"", "missing field `server`"),
            (
                "path = \"/a/\"\nserver = \"http://[::1]\"\nstrip = true",
                "unknown field",
            ),
            ("hostname = \"a b\"\nserver = \"http://[::1]\"", ""),
            (
                "path = \"/a/\"\nserver = \"http://[::1]\"\nidle_timeout = \"5\"",
                "length of time",
            ),
        ] {
            let fault = read(&format!("[[upstream]]\n{text}\n")).unwrap_err();
            assert!(fault.contains(expected), "{fault}");
        }
    }

    #[test]
    fn what_cannot_be_used_together_says_what_to_do() {
        let hostnames = ["a.example.org", "passed.example.org"].map(|it| it.parse().unwrap());
        let check = |text: &str| {
            let tables = read(text).unwrap();
            contradiction(&tables, &hostnames, |it| it.as_str().starts_with("passed"))
        };
        let table = |lines: &str| format!("[[upstream]]\nserver = \"http://[::1]\"\n{lines}\n");
        for (text, expected) in [
            (table(""), "needs a path"),
            (table("path = \"/\""), "needs a path"),
            (
                table("path = \"/dav/\""),
                "overlaps with /dav/, which home answers itself",
            ),
            (
                table("path = \"/dav/x/\"\nhostname = \"a.example.org\""),
                "overlaps with /dav/",
            ),
            (
                table("path = \"/.well-known/\""),
                "overlaps with /.well-known/carddav/",
            ),
            (
                table("hostname = \"b.example.org\""),
                "b.example.org is not among `hostnames`",
            ),
            (
                table("hostname = \"passed.example.org\""),
                "has `passthrough`",
            ),
            (
                table("path = \"/a/\"\nca_file = \"ca.pem\""),
                "only a server at https:// can use",
            ),
            (
                table("path = \"/a/\"\nserver_name = \"x\""),
                "only a server at https:// can use",
            ),
            (
                table("hostname = \"a.example.org\"\nstrip_prefix = true"),
                "no path that could",
            ),
            (
                table("path = \"/a/\"\nidle_timeout = \"0s\""),
                "no time at all",
            ),
            (
                table("path = \"/a/\"") + &table("path = \"/a/\""),
                "is there twice",
            ),
        ] {
            let said = check(&text).unwrap_or_else(|| panic!("{text}"));
            assert!(said.contains(expected), "{said}");
        }
        // On a name that is another server's nothing is home's.
        let root = table("hostname = \"a.example.org\"");
        assert_eq!(
            check(&(root + &table("hostname = \"a.example.org\"\npath = \"/dav/\""))),
            None
        );
    }
}
