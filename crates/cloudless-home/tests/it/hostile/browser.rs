//! Browsers, and pages of other sites in them.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tokio::net::TcpListener;

use super::{BOOK, Target};
use crate::fixture::HOST;
use crate::visitor::{http1, request};

/// Sends a request with the login, or with these headers in its place.
async fn send(
    target: &Target,
    method: &str,
    path: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> Response<Bytes> {
    let mut request = request(method, path, &target.home.authorization);
    let map = request.headers_mut();
    map.insert("host", HOST.parse().unwrap());
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    *request.body_mut() = Full::from(body.to_owned());
    http1(target.connect(b"http/1.1").await, request).await
}

#[tokio::test]
async fn every_answer_keeps_browsers_from_making_a_page_of_it() {
    let target = Target::start(|_| {}).await;
    let photo = "PHOTO;ENCODING=b;TYPE=image/svg+xml:PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIi8+";
    let card = format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:x\r\nFN:<script>alert(1)</script>\r\n{photo}\r\nEND:VCARD\r\n"
    );
    let path = format!("{BOOK}x.html");
    let vcard = [("content-type", "text/vcard")];
    let put = send(&target, "PUT", &path, &vcard, &card).await;
    assert_eq!(put.status(), 201);
    let get = send(
        &target,
        "GET",
        &path,
        &[("accept", "text/html,image/svg+xml,*/*")],
        "",
    )
    .await;
    let kind = get.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("text/vcard; charset=utf-8"), "{kind}");
    assert_eq!(get.body(), &card);
    let stranger = [("authorization", "Basic eDp5")];
    let elsewhere = [("host", "other.example.org")];
    let answers = [
        (201, put),
        (200, get),
        (207, send(&target, "PROPFIND", BOOK, &[], "").await),
        (401, send(&target, "GET", "/", &stranger, "").await),
        (404, send(&target, "GET", "/%3Cscript%3E", &[], "").await),
        (421, send(&target, "GET", "/", &elsewhere, "").await),
        (
            301,
            send(&target, "GET", "/.well-known/carddav", &[], "").await,
        ),
    ];
    for (status, answer) in answers {
        assert_eq!(answer.status(), status);
        let headers = answer.headers();
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'; sandbox",
            ),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(headers[name], value, "{status} {headers:?}");
        }
        for absent in ["set-cookie", "access-control-allow-origin", "server"] {
            assert!(!headers.contains_key(absent), "{status} {headers:?}");
        }
        let kind = headers.get("content-type").map(|it| it.to_str().unwrap());
        let kind = kind.unwrap_or_default();
        assert!(!kind.contains("html") && !kind.contains("svg"), "{kind}");
    }
}

#[tokio::test]
async fn a_cookie_is_no_login() {
    let target = Target::start(|_| {}).await;
    let login = target.home.authorization.clone();
    for cookie in [
        login.clone(),
        format!("authorization={login}"),
        "session=me".to_owned(),
    ] {
        let headers = [("cookie", cookie.as_str()), ("authorization", "")];
        let answer = send(&target, "PROPFIND", "/dav/", &headers, "").await;
        assert_eq!(answer.status(), 401, "{cookie}");
        assert!(!answer.headers().contains_key("set-cookie"));
    }
}

/// Photos and other parts of a card may be URLs, which home gives to nobody and asks for nothing.
#[tokio::test]
async fn no_url_in_a_card_is_fetched() {
    let target = Target::start(|_| {}).await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", server.local_addr().unwrap());
    for version in ["3.0", "4.0"] {
        let card = format!(
            "BEGIN:VCARD\r\nVERSION:{version}\r\nUID:{version}\r\nFN:A\r\nN:A;;;;\r\n\
             PHOTO;VALUE=uri:{url}\r\nLOGO;VALUE=uri:{url}\r\nKEY;VALUE=uri:{url}\r\n\
             SOUND;VALUE=uri:{url}\r\nURL:{url}\r\nSOURCE:{url}\r\nFBURL:{url}\r\nEND:VCARD\r\n"
        );
        let path = format!("{BOOK}{version}.vcf");
        let vcard = [("content-type", "text/vcard")];
        let put = send(&target, "PUT", &path, &vcard, &card).await;
        assert_eq!(put.status(), 201);
        for accepted in ["3.0", "4.0"] {
            let accept = format!("text/vcard; version={accepted}");
            let got = send(&target, "GET", &path, &[("accept", &accept)], "").await;
            assert_eq!(got.status(), 200);
        }
    }
    let report = r#"<C:addressbook-query xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><prop>
        <C:address-data content-type="text/vcard" version="4.0"/></prop><C:filter/></C:addressbook-query>"#;
    let xml = [("content-type", "application/xml"), ("depth", "1")];
    let answer = send(&target, "REPORT", BOOK, &xml, report).await;
    assert_eq!(answer.status(), 207);
    target.home.status().await;
    let nobody =
        std::future::poll_fn(|context| std::task::Poll::Ready(server.poll_accept(context)));
    assert!(nobody.await.is_pending(), "home asked for a URL of a card");
}
