//! What is too much, refused at once.

use std::time::{Duration, Instant};

use super::*;

const MULTIGET: &str =
    "<m:addressbook-multiget xmlns:m='urn:ietf:params:xml:ns:carddav' xmlns='DAV:'>";

#[track_caller]
fn check_quick(start: Instant) {
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "took {:?}",
        start.elapsed()
    );
}

#[test]
fn depth() {
    let start = Instant::now();
    let bomb = "<a>".repeat(1_000_000);
    check_refused_inside!(&bomb, RequestError::TooDeep);
    check_quick(start);
    let deepest = DEPTH_MAX - 2;
    let [propfind, _] = around(&("<a>".repeat(deepest) + &"</a>".repeat(deepest)));
    assert!(parse_propfind(propfind.as_bytes()).is_ok());
}

#[test]
fn properties() {
    let start = Instant::now();
    let distinct: String = (0..100_000)
        .map(|number| format!("<p:a{number}/>"))
        .collect();
    check_refused_inside!(&distinct, RequestError::TooManyProperties);
    check_refused_inside!(
        &"<getetag/>".repeat(100_000),
        RequestError::TooManyProperties
    );
    check_quick(start);
    let many = |tag: &str, count| {
        let body = format!(
            "{MULTIGET}<prop><m:address-data>{}</m:address-data></prop>\
             </m:addressbook-multiget>",
            format!("<m:{tag} name='FN'/>").repeat(count)
        );
        parse_report(body.as_bytes())
    };
    assert!(matches!(
        many("prop", 257),
        Err(RequestError::TooManyProperties)
    ));
    assert!(many("prop", 256).is_ok());
}

#[test]
fn hrefs() {
    let start = Instant::now();
    let multiget = |href: &str, count| {
        let hrefs = format!("<href>{href}</href>").repeat(count);
        parse_report(format!("{MULTIGET}{hrefs}</m:addressbook-multiget>").as_bytes())
    };
    assert!(matches!(
        multiget("/a", 1_000_000),
        Err(RequestError::TooManyHrefs)
    ));
    assert!(matches!(
        multiget("/a", HREFS_MAX),
        Ok(Report::AddressbookMultiget { hrefs, .. }) if hrefs.len() == HREFS_MAX
    ));
    let long = "a".repeat(HREF_LEN_MAX + 1);
    assert!(matches!(multiget(&long, 1), Err(RequestError::HrefTooLong)));
    assert!(multiget(&format!("\n {} ", &long[1..]), 1).is_ok());
    check_quick(start);
}

#[test]
fn sync_token() {
    let token = "a".repeat(SYNC_TOKEN_LEN_MAX + 1);
    let body =
        format!("<sync-collection xmlns='DAV:'><sync-token>{token}</sync-token></sync-collection>");
    assert!(matches!(
        parse_report(body.as_bytes()),
        Err(RequestError::SyncTokenTooLong)
    ));
}

#[test]
fn names() {
    let start = Instant::now();
    check_refused_inside!(
        &format!("<{}/>", "a".repeat(257)),
        RequestError::InvalidName
    );
    let long = format!("<a xmlns='{}'/>", "a".repeat(513));
    check_refused_inside!(&long, RequestError::InvalidName);
    let declarations: String = (0..100_000)
        .map(|number| format!(" xmlns:n{number}='urn:n'"))
        .collect();
    check_refused_inside!(
        &format!("<a{declarations}/>"),
        RequestError::TooManyNamespaces
    );
    check_quick(start);
}

/// What is skipped counts too, and much less than the cap takes no time.
#[test]
fn nodes() {
    let start = Instant::now();
    let attributes = |count| -> String { (0..count).map(|it| format!(" a{it}=''")).collect() };
    for much in [
        "<p:x/>".repeat(NODES_MAX),
        "&amp;".repeat(NODES_MAX),
        "<!---->".repeat(NODES_MAX),
        format!("<p:a{}/>", attributes(NODES_MAX)),
    ] {
        let skipped = format!("<p:b>{much}</p:b>");
        check_refused_inside!(&skipped, RequestError::TooManyNodes);
    }
    let elements = "<p:x/>".repeat(NODES_MAX / 8);
    let [propfind, report] = around(&format!(
        "<p:a{}/><p:b>{elements}&amp;{elements}</p:b>",
        attributes(NODES_MAX / 3)
    ));
    assert!(parse_propfind(propfind.as_bytes()).is_ok());
    assert!(parse_report(report.as_bytes()).is_ok());
    check_quick(start);
}

/// As many hrefs as may be, each on a line of its own.
#[test]
fn nodes_leave_room_for_hrefs() {
    let hrefs = "  <href>/a&amp;b</href>\n".repeat(HREFS_MAX);
    let body = format!("{MULTIGET}{hrefs}</m:addressbook-multiget>");
    assert!(parse_report(body.as_bytes()).is_ok());
}
