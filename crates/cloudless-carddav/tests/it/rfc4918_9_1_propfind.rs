//! PROPFIND, and what each resource says about itself.

use crate::harness::{BOOK, HOME_SET, PRINCIPAL, Server, card, propfind};

const OK: &str = "HTTP/1.1 200 OK";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found";

#[tokio::test]
async fn every_path_leads_to_the_home_set() {
    let server = Server::start();
    let asked = [
        "D:resourcetype",
        "D:current-user-principal",
        "D:principal-URL",
        "C:addressbook-home-set",
        "D:principal-collection-set",
    ];
    for (path, kind) in [
        ("/", "D:collection"),
        ("/dav/", "D:collection"),
        (PRINCIPAL, "D:principal"),
    ] {
        let answer = server.propfind(path, "0", &asked).await.multistatus();
        assert_eq!(answer.hrefs(), [path]);
        let row = answer.row(path);
        assert_eq!(row.inside("D:resourcetype"), [kind]);
        for (property, href) in [
            ("D:current-user-principal", PRINCIPAL),
            ("D:principal-URL", PRINCIPAL),
            ("C:addressbook-home-set", HOME_SET),
            ("D:principal-collection-set", "/dav/principals/"),
        ] {
            assert_eq!(row.inside(property), ["D:href"], "{path}");
            assert_eq!(row.text(property), href, "{path}");
        }
    }
}

#[tokio::test]
async fn the_principal_has_what_apple_asks_for() {
    let server = Server::start();
    let asked = [
        "C:addressbook-home-set",
        "C:directory-gateway",
        "D:displayname",
        "CS:email-address-set",
        "D:principal-collection-set",
        "D:principal-URL",
        "D:resource-id",
        "D:supported-report-set",
    ];
    let answer = server.propfind(PRINCIPAL, "0", &asked).await.multistatus();
    let row = answer.row(PRINCIPAL);
    assert_eq!(row.text("D:displayname"), "me");
    assert_eq!(row.text("CS:email-address-set"), "");
    assert_eq!(row.inside("D:supported-report-set"), [""; 0]);
    assert_eq!(
        row.names(NOT_FOUND),
        ["C:directory-gateway", "D:resource-id"]
    );
}

#[tokio::test]
async fn the_home_set_lists_the_address_books() {
    let server = Server::start();
    let asked = [
        "D:resourcetype",
        "D:displayname",
        "D:owner",
        "D:current-user-privilege-set",
    ];
    let alone = server.propfind(HOME_SET, "0", &asked).await.multistatus();
    assert_eq!(alone.hrefs(), [HOME_SET]);
    let answer = server.propfind(HOME_SET, "1", &asked).await.multistatus();
    assert_eq!(answer.hrefs(), [HOME_SET, BOOK]);
    let home_set = answer.row(HOME_SET);
    assert_eq!(home_set.inside("D:resourcetype"), ["D:collection"]);
    assert_eq!(home_set.text("D:owner"), PRINCIPAL);
    // DAVx5 offers to create address books here.
    assert!(
        home_set
            .inside("D:current-user-privilege-set")
            .contains(&"D:bind")
    );
    let book = answer.row(BOOK);
    assert_eq!(
        book.inside("D:resourcetype"),
        ["D:collection", "C:addressbook"]
    );
    assert_eq!(book.text("D:displayname"), "Contacts");
    assert_eq!(book.text("D:owner"), PRINCIPAL);
    let privileges = book.inside("D:current-user-privilege-set");
    for privilege in ["D:read", "D:write", "D:write-content", "D:bind", "D:unbind"] {
        assert!(
            privileges.contains(&privilege),
            "{privilege} in {privileges:?}"
        );
    }
}

#[tokio::test]
async fn an_address_book_tells_what_it_takes_and_its_state() {
    let server = Server::start();
    let asked = [
        "D:supported-report-set",
        "D:sync-token",
        "CS:getctag",
        "C:max-resource-size",
        "C:supported-address-data",
        "C:addressbook-description",
        "C:supported-collation-set",
    ];
    let before = server.propfind(BOOK, "0", &asked).await.multistatus();
    let row = before.row(BOOK);
    let reports: Vec<_> = row
        .inside("D:supported-report-set")
        .into_iter()
        .filter(|name| !["D:supported-report", "D:report"].contains(name))
        .collect();
    assert_eq!(
        reports,
        [
            "C:addressbook-multiget",
            "C:addressbook-query",
            "D:sync-collection"
        ]
    );
    assert_eq!(row.text("C:max-resource-size"), "10485760");
    assert_eq!(
        row.inside("C:supported-address-data"),
        ["C:address-data-type@content-type=text/vcard@version=3.0"]
    );
    assert_eq!(row.names(NOT_FOUND), ["C:addressbook-description"]);
    let token = row.text("D:sync-token");
    let expected = format!(
        "https://cloudless.invalid/sync/{}/0",
        server.book().incarnation
    );
    assert_eq!(token, expected);

    server.put("a.vcf", card("a", "Ann")).await;
    let after = server.propfind(BOOK, "0", &asked).await.multistatus();
    assert_ne!(after.row(BOOK).text("CS:getctag"), row.text("CS:getctag"));
    assert_ne!(after.row(BOOK).text("D:sync-token"), token);
    let again = server.propfind(BOOK, "0", &asked).await.multistatus();
    assert_eq!(
        after.row(BOOK).text("CS:getctag"),
        again.row(BOOK).text("CS:getctag")
    );
}

#[tokio::test]
async fn a_card_tells_its_etag_size_type_and_time() {
    let server = Server::start();
    let etag = server.put("a.vcf", card("a", "Ann")).await;
    server.put("b.vcf", card("b", "Bob")).await;
    let asked = [
        "D:getetag",
        "D:getcontenttype",
        "D:getcontentlength",
        "D:getlastmodified",
        "D:resourcetype",
        "D:owner",
        "D:displayname",
        "CS:getctag",
        "C:address-data",
    ];
    let href = format!("{BOOK}a.vcf");
    for (path, depth) in [(BOOK, "1"), (&href, "0"), (&href, "1"), (&href, "infinity")] {
        let answer = server.propfind(path, depth, &asked).await.multistatus();
        let row = answer.row(&href);
        assert_eq!(row.text("D:getetag"), etag);
        assert_eq!(row.text("D:getcontenttype"), "text/vcard; charset=utf-8");
        assert_eq!(
            row.text("D:getcontentlength"),
            card("a", "Ann").len().to_string()
        );
        assert_eq!(
            row.text("D:getlastmodified"),
            "Sat, 01 Aug 2026 12:00:00 GMT"
        );
        assert_eq!(row.inside("D:resourcetype"), [""; 0]);
        assert_eq!(row.text("D:owner"), PRINCIPAL);
        assert_eq!(
            row.names(NOT_FOUND),
            ["D:displayname", "CS:getctag", "C:address-data"]
        );
    }
    let listed = server
        .propfind(BOOK, "1", &["D:getetag"])
        .await
        .multistatus();
    assert_eq!(
        listed.hrefs(),
        [BOOK, href.as_str(), &format!("{BOOK}b.vcf")]
    );
}

/// Thunderbird looks at the first status of a row only.
#[tokio::test]
async fn what_was_found_comes_before_what_was_not() {
    let server = Server::start();
    let asked = [
        "X:color",
        "D:displayname",
        "D:quota-used-bytes",
        "D:resourcetype",
    ];
    let answer = server.propfind(BOOK, "0", &asked).await.multistatus();
    let row = answer.row(BOOK);
    let statuses: Vec<_> = row.propstats.iter().map(|it| it.status.as_str()).collect();
    assert_eq!(statuses, [OK, NOT_FOUND]);
    assert_eq!(row.names(OK), ["D:displayname", "D:resourcetype"]);
    assert_eq!(row.names(NOT_FOUND), ["X:color", "D:quota-used-bytes"]);
    let nothing = server.propfind(BOOK, "0", &["X:color"]).await.multistatus();
    assert_eq!(nothing.row(BOOK).names(NOT_FOUND), ["X:color"]);
    assert_eq!(nothing.row(BOOK).propstats.len(), 1);
}

/// RFC 8144 §2.1.
#[tokio::test]
async fn a_client_can_do_without_the_names_of_what_was_not_found() {
    let server = Server::start();
    let body = propfind(&["X:color", "D:displayname"]);
    for prefer in ["return=minimal", "respond-async, Return=\"minimal\"; x=y"] {
        let headers = [("depth", "0"), ("prefer", prefer)];
        let answer = server.send("PROPFIND", BOOK, &headers, body.clone()).await;
        assert_eq!(answer.header("preference-applied"), "return=minimal");
        let answer = answer.multistatus();
        assert_eq!(answer.row(BOOK).propstats.len(), 1);
        assert_eq!(answer.row(BOOK).text("D:displayname"), "Contacts");
    }
    let headers = [("depth", "0"), ("prefer", "return=representation, minimal")];
    let answer = server.send("PROPFIND", BOOK, &headers, body).await;
    assert_eq!(answer.header("preference-applied"), "");
    assert_eq!(answer.multistatus().row(BOOK).propstats.len(), 2);
}

#[tokio::test]
async fn allprop_and_propname() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let path = format!("{BOOK}a.vcf");
    let ask = async |path: &str, inside: &str| {
        let body = format!(r#"<propfind xmlns="DAV:">{inside}</propfind>"#);
        server
            .send("PROPFIND", path, &[("depth", "0")], body)
            .await
            .multistatus()
    };
    let base = [
        "D:getcontentlength",
        "D:getcontenttype",
        "D:getetag",
        "D:getlastmodified",
        "D:resourcetype",
    ];
    assert_eq!(ask(&path, "<allprop/>").await.row(&path).names(OK), base);
    let empty = server
        .send("PROPFIND", &path, &[("depth", "0")], "")
        .await
        .multistatus();
    assert_eq!(empty.row(&path).names(OK), base);
    let included = ask(&path, "<allprop/><include><owner/><getetag/><x/></include>").await;
    assert_eq!(
        included.row(&path).names(OK),
        [&base[..], &["D:owner"]].concat()
    );
    assert_eq!(included.row(&path).names(NOT_FOUND), ["D:x"]);

    let names = ask(BOOK, "<propname/>").await;
    let row = names.row(BOOK);
    assert!(
        row.propstats[0]
            .properties
            .iter()
            .all(|it| it.text.is_empty() && it.inside.is_empty())
    );
    let names = row.names(OK);
    for name in [
        "D:displayname",
        "D:sync-token",
        "CS:getctag",
        "C:supported-address-data",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(!names.contains(&"D:getetag"), "{names:?}");
    // Each name that propname lists is found when asked for.
    let asked = server.propfind(BOOK, "0", &names).await.multistatus();
    assert_eq!(asked.row(BOOK).names(OK), names);
}

#[tokio::test]
async fn infinite_depth_is_refused_on_collections() {
    let server = Server::start();
    for path in ["/", PRINCIPAL, HOME_SET, BOOK] {
        for headers in [&[("depth", "infinity")][..], &[("depth", "Infinity")], &[]] {
            let answer = server.send("PROPFIND", path, headers, "").await;
            answer.assert_condition(403, "DAV:", "propfind-finite-depth");
        }
    }
    for depth in ["2", "-1", "", "0,1"] {
        let answer = server.send("PROPFIND", BOOK, &[("depth", depth)], "").await;
        assert_eq!(answer.status, 400, "{depth:?}");
    }
}

/// A file manager can walk from the root to a card.
#[tokio::test]
async fn the_whole_tree_is_linked() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let mut open = vec!["/".to_owned()];
    let mut seen = Vec::new();
    while let Some(path) = open.pop() {
        let answer = server
            .propfind(&path, "1", &["D:resourcetype"])
            .await
            .multistatus();
        assert_eq!(answer.rows[0].href, path);
        open.extend(answer.hrefs().into_iter().skip(1).map(str::to_owned));
        seen.push(path);
    }
    seen.sort();
    let expected = [
        "/",
        "/dav/",
        "/dav/addressbooks/",
        HOME_SET,
        BOOK,
        &format!("{BOOK}a.vcf"),
        "/dav/files/",
        "/dav/files/me/",
        "/dav/principals/",
        PRINCIPAL,
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_collection_is_found_without_its_slash_and_called_with_it() {
    let server = Server::start();
    for path in [
        "/dav",
        "/dav/principals/me",
        "/dav/addressbooks/me",
        "/dav/addressbooks/me/contacts",
    ] {
        let answer = server
            .propfind(path, "0", &["D:resourcetype"])
            .await
            .multistatus();
        assert_eq!(answer.hrefs(), [format!("{path}/")]);
    }
    let other_spelling = "/%64av/addressbooks/me/cont%61cts/";
    let answer = server
        .propfind(other_spelling, "0", &["D:resourcetype"])
        .await
        .multistatus();
    assert_eq!(answer.hrefs(), [BOOK]);
}

#[tokio::test]
async fn what_does_not_exist_is_404() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    for path in [
        "/nothing",
        "/dav/nothing/",
        "/dav/addressbooks/me/other/",
        "/dav/addressbooks/me/contacts/b.vcf",
        "/dav/addressbooks/me/contacts/a.vcf/",
        "/dav/addressbooks/me/contacts/a.vcf/x",
        "/dav/addressbooks/me/contacts/%2e%2e/contacts/",
        "/dav/addressbooks/me/contacts/%zz",
        "/dav/addressbooks/me/contacts/%ff",
    ] {
        let answer = server.send("PROPFIND", path, &[("depth", "0")], "").await;
        assert_eq!(answer.status, 404, "{path}");
    }
}
