use std::time::SystemTime;

use super::super::{Current, UpstreamServer, UpstreamTimeouts};
use super::*;
use crate::config::Clock;

fn upstream(hostname: Option<&str>, path: &str) -> Upstream {
    Upstream {
        hostname: hostname.map(|it| it.parse().unwrap()),
        path: path.parse().unwrap(),
        // The test tells servers apart by it.
        server: UpstreamServer::Unix(format!("/{}{path}", hostname.unwrap_or("any")).into()),
        strip_prefix: false,
        timeouts: UpstreamTimeouts::default(),
    }
}

fn upstreams(configured: &[(Option<&str>, &str)]) -> Result<Arc<Upstreams>, RouteError> {
    let configured = configured.iter().map(|(name, path)| upstream(*name, path));
    let clock: Clock = Arc::new(SystemTime::now);
    let current = Current::new(configured.collect(), &clock)?;
    Ok(current.get())
}

fn found(upstreams: &Upstreams, hostname: &str, path: &str) -> String {
    match upstreams.find(&hostname.parse().unwrap(), path) {
        Found::Own => "own".to_owned(),
        Found::Server(server) => server.status().server,
        Found::NoSlash => "slash".to_owned(),
        Found::DotSegment => "dots".to_owned(),
    }
}

#[tokio::test]
async fn the_longest_path_wins_and_home_has_the_rest() {
    let upstreams = upstreams(&[
        (None, "/a/"),
        (None, "/a/b/"),
        (Some("cloud.example.org"), "/"),
        (Some("cloud.example.org"), "/office/"),
        (Some("home.example.org"), "/a/"),
        (Some("home.example.org"), "/c/"),
    ])
    .unwrap();
    for (hostname, path, expected) in [
        ("other.example.org", "/", "own"),
        ("other.example.org", "/dav/", "own"),
        ("other.example.org", "/a/x", "unix:/any/a/"),
        ("other.example.org", "/a", "slash"),
        ("other.example.org", "/a/b/x", "unix:/any/a/b/"),
        ("other.example.org", "/a/b", "unix:/any/a/"),
        ("other.example.org", "/ab/", "own"),
        ("other.example.org", "/%61/", "own"),
        ("other.example.org", "/A/", "own"),
        ("other.example.org", "/c/", "own"),
        ("other.example.org", "/a/../dav/", "dots"),
        ("other.example.org", "/dav/../a/", "own"),
        // Its own server beside those for all.
        ("home.example.org", "/a/", "unix:/home.example.org/a/"),
        ("home.example.org", "/a/b/", "unix:/any/a/b/"),
        ("home.example.org", "/c/", "unix:/home.example.org/c/"),
        ("home.example.org", "/dav/", "own"),
        // Nothing there is home's, nor any other server's.
        ("cloud.example.org", "/", "unix:/cloud.example.org/"),
        ("cloud.example.org", "/dav/", "unix:/cloud.example.org/"),
        ("cloud.example.org", "/a/", "unix:/cloud.example.org/"),
        (
            "cloud.example.org",
            "/office/1",
            "unix:/cloud.example.org/office/",
        ),
        ("cloud.example.org", "/%2e%2e/", "dots"),
    ] {
        assert_eq!(
            found(&upstreams, hostname, path),
            expected,
            "{hostname} {path}"
        );
    }
}

#[tokio::test]
async fn what_would_be_two_servers_paths_or_homes_is_refused() {
    for (configured, expected) in [
        (
            vec![(None, "/a/"), (None, "/a/")],
            "two servers are to get /a/",
        ),
        (vec![(None, "/")], "overlap with /dav/"),
        (vec![(None, "/dav/")], "overlap with /dav/"),
        (
            vec![(Some("a.example.org"), "/.well-known/")],
            "/.well-known/carddav/",
        ),
        (
            vec![
                (Some("a.example.org"), "/"),
                (Some("b.example.org"), "/dav/"),
            ],
            "overlap with /dav/",
        ),
    ] {
        let Err(error) = upstreams(&configured) else {
            panic!("{configured:?}");
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
    // A name whose root is a server's has nothing of home.
    assert!(
        upstreams(&[
            (Some("a.example.org"), "/"),
            (Some("a.example.org"), "/dav/")
        ])
        .is_ok()
    );
    assert!(upstreams(&[(Some("a.example.org"), "/a/"), (None, "/a/")]).is_ok());
}
