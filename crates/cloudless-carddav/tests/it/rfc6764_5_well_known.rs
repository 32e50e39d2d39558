//! RFC 6764 §5: `/.well-known/carddav`.

use crate::harness::{PASSWORD, Server, basic};

#[tokio::test]
async fn the_well_known_path_redirects_any_method_without_a_login() {
    let server = Server::start();
    let right = basic("me", PASSWORD);
    for login in [None, Some("Basic nonsense"), Some(right.as_str())] {
        for method in [
            "GET", "HEAD", "PROPFIND", "OPTIONS", "REPORT", "PUT", "BREW",
        ] {
            for path in ["/.well-known/carddav", "/.well-known/carddav/"] {
                let answer = server
                    .send_as(login, method, path, &[("depth", "0")], "x")
                    .await;
                assert_eq!(answer.status, 301, "{method} {path}");
                assert_eq!(answer.header("location"), "/dav/", "{method} {path}");
            }
        }
    }
    for path in [
        "/.well-known/caldav",
        "/.well-known/",
        "/.well-known/carddav/x",
    ] {
        assert_eq!(
            server.send_as(None, "PROPFIND", path, &[], "").await.status,
            401,
            "{path}"
        );
        assert_eq!(
            server
                .send("PROPFIND", path, &[("depth", "0")], "")
                .await
                .status,
            404,
            "{path}"
        );
    }
}
