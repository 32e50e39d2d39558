//! REPORT addressbook-multiget, and what holds for every REPORT.

use crate::harness::{BOOK, HOME_SET, PRINCIPAL, Server, card, multiget};

#[tokio::test]
async fn every_href_gets_a_row_in_its_turn() {
    let server = Server::start();
    let a = server.put("a.vcf", card("a", "Ann")).await;
    server.put("b.vcf", card("b", "Bob & <Co>")).await;
    server.put("gone.vcf", card("gone", "Gone")).await;
    server
        .send("DELETE", &format!("{BOOK}gone.vcf"), &[], "")
        .await;
    let hrefs = [
        &format!("{BOOK}b.vcf"),
        &format!("{BOOK}gone.vcf"),
        "/dav/addressbooks/you/contacts/a.vcf",
        "/dav/addressbooks/me/other/a.vcf",
        BOOK,
        "a.vcf",
        "%zz nonsense",
        &format!("{BOOK}a.vcf"),
        &format!("{BOOK}a.vcf"),
        "",
    ];
    let body = multiget(&["D:getetag", "C:address-data", "X:color"], &hrefs);
    // Evolution sends no Depth, DAVx5 0, Thunderbird 1.
    for depth in [
        &[][..],
        &[("depth", "0")],
        &[("depth", "1")],
        &[("depth", "infinity")],
    ] {
        let answer = server
            .send("REPORT", BOOK, depth, body.clone())
            .await
            .multistatus();
        assert_eq!(answer.hrefs(), hrefs);
        for (index, row) in answer.rows.iter().enumerate() {
            match index {
                0 => {
                    assert_eq!(row.text("C:address-data"), card("b", "Bob & <Co>"));
                    assert_eq!(row.names("HTTP/1.1 404 Not Found"), ["X:color"]);
                }
                7 | 8 => {
                    assert_eq!(row.text("C:address-data"), card("a", "Ann"));
                    assert_eq!(row.text("D:getetag"), a);
                }
                _ => assert_eq!(
                    row.status.as_deref(),
                    Some("HTTP/1.1 404 Not Found"),
                    "{row:?}"
                ),
            }
        }
        assert_eq!(answer.sync_token, None);
    }
}

/// Thunderbird takes the href of a card that it made from here and compares it, as text, with what
/// sync-collection says.
#[tokio::test]
async fn a_card_is_called_by_one_name_however_it_was_asked_for() {
    let server = Server::start();
    server.put("a@b.vcf", card("a", "Ann")).await;
    let canonical = format!("{BOOK}a%40b.vcf");
    for spelling in [
        "/dav/addressbooks/me/contacts/a@b.vcf",
        "/dav/addressbooks/me/contacts/%61%40b.vcf",
        "https://contacts.example.org/dav/addressbooks/me/contacts/a%40b.vcf",
    ] {
        let body = multiget(&["D:getetag"], &[spelling]);
        let answer = server.send("REPORT", BOOK, &[], body).await.multistatus();
        assert_eq!(answer.hrefs(), [canonical.as_str()], "{spelling}");
        assert!(answer.rows[0].found("D:getetag").is_some());
    }
}

#[tokio::test]
async fn a_report_without_address_data_gives_none() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let href = format!("{BOOK}a.vcf");
    let body = multiget(&["D:getetag", "D:getcontenttype"], &[&href]);
    let answer = server.send("REPORT", BOOK, &[], body).await.multistatus();
    assert_eq!(
        answer.row(&href).names("HTTP/1.1 200 OK"),
        ["D:getetag", "D:getcontenttype"]
    );
}

#[tokio::test]
async fn other_reports_and_bad_bodies_are_refused() {
    let server = Server::start();
    let report = async |path: &str, headers: &[(&str, &str)], body: &str| {
        server.send("REPORT", path, headers, body.to_owned()).await
    };
    report(BOOK, &[], "<D:expand-property xmlns:D='DAV:'/>")
        .await
        .assert_condition(403, "DAV:", "supported-report");
    for body in ["", "nonsense", "<x"] {
        assert_eq!(report(BOOK, &[], body).await.status, 400, "{body:?}");
    }
    let good = multiget(&["D:getetag"], &[]);
    assert_eq!(report(BOOK, &[], &good).await.multistatus().rows.len(), 0);
    assert_eq!(report(BOOK, &[("depth", "2")], &good).await.status, 400);
    assert_eq!(
        report(BOOK, &[("content-encoding", "gzip")], &good)
            .await
            .status,
        415
    );
    assert_eq!(
        report("/dav/addressbooks/me/other/", &[], &good)
            .await
            .status,
        404
    );
    let many = vec!["/x"; 50_001];
    assert_eq!(
        report(BOOK, &[], &multiget(&["D:getetag"], &many))
            .await
            .status,
        413
    );
    for path in ["/", PRINCIPAL] {
        assert_eq!(report(path, &[], &good).await.status, 405, "{path}");
    }
    report(HOME_SET, &[], &good)
        .await
        .assert_condition(403, "DAV:", "supported-report");
}

/// KDE decodes the paths that it was given and sends them like that. The answer has our spelling.
#[tokio::test]
async fn an_href_that_was_not_encoded_is_understood() {
    let server = Server::start();
    for (number, [encoded, decoded]) in [
        ["100%25%20sure.vcf", "100% sure.vcf"],
        ["a%2541.vcf", "a%41.vcf"],
        ["why%3F%23%2B%26%C3%A9.vcf", "why?#+&amp;é.vcf"],
    ]
    .into_iter()
    .enumerate()
    {
        let uid = number.to_string();
        server.put(encoded, card(&uid, "Odd")).await;
        for name in [encoded, decoded] {
            let body = multiget(&["C:address-data"], &[&format!("{BOOK}{name}")]);
            let answer = server.send("REPORT", BOOK, &[], body).await.multistatus();
            let row = answer.row(&format!("{BOOK}{encoded}"));
            assert_eq!(row.text("C:address-data"), card(&uid, "Odd"), "{name}");
        }
    }
    // What is encoded right means what it says.
    server.put("aA.vcf", card("aA", "Decoded")).await;
    let body = multiget(&["D:getetag"], &[&format!("{BOOK}a%41.vcf")]);
    let answer = server.send("REPORT", BOOK, &[], body).await.multistatus();
    assert_eq!(answer.hrefs(), [format!("{BOOK}aA.vcf")]);
}
