//! REPORT addressbook-query.

use crate::harness::{Answer, BOOK, Server, card, query};

const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";

async fn server() -> Server {
    let server = Server::start();
    let cards = [
        (
            "ann.vcf",
            "FN:Ann Ångström\nEMAIL;TYPE=home:ann@example.org\nTEL:+44 1\n",
        ),
        (
            "bob.vcf",
            "FN:Bob\nitem1.EMAIL;TYPE=work:Bob@Example.com\nNOTE:one\\ntwo\n",
        ),
        (
            "cleo.vcf",
            "FN:Cleo\nAGENT:\nBEGIN:VCARD\nTEL:0\nEND:VCARD\n",
        ),
    ];
    for (name, lines) in cards {
        let bytes = format!("BEGIN:VCARD\nVERSION:3.0\nUID:{name}\n{lines}END:VCARD\n");
        server.put(name, bytes).await;
    }
    server
}

async fn report(server: &Server, headers: &[(&str, &str)], filter: &str) -> Answer {
    let body = query(&["D:getetag"], filter);
    server.send("REPORT", BOOK, headers, body).await
}

/// The names of the cards that match, sorted, without what all names and hrefs have in common.
async fn matching(server: &Server, filter: &str) -> Vec<String> {
    let answer = report(server, &[("depth", "1")], filter).await;
    let answer = answer.multistatus();
    let short = |href: &str| {
        let name = href.strip_prefix(BOOK).unwrap();
        name.strip_suffix(".vcf").unwrap().to_owned()
    };
    answer.hrefs().into_iter().map(short).collect()
}

fn one(name: &str, inside: &str) -> String {
    format!("<C:filter><C:prop-filter name='{name}'>{inside}</C:prop-filter></C:filter>")
}

fn text_match(attributes: &str, text: &str) -> String {
    format!("<C:text-match {attributes}>{text}</C:text-match>")
}

#[tokio::test]
async fn the_cards_that_match_are_told_in_the_order_of_their_names() {
    let server = server().await;
    let all = ["ann", "bob", "cleo"];
    assert_eq!(matching(&server, "<C:filter/>").await, all);
    assert_eq!(matching(&server, "").await, all);
    assert_eq!(matching(&server, &one("fn", "")).await, all);
    assert_eq!(matching(&server, &one("EMAIL", "")).await, ["ann", "bob"]);
    // The telephone of an agent is not one's own.
    assert_eq!(matching(&server, &one("TEL", "")).await, ["ann"]);
    let missing = one("EMAIL", "<C:is-not-defined/>");
    assert_eq!(matching(&server, &missing).await, ["cleo"]);
    let contains = one("NOTE", &text_match("", "one\ntwo"));
    assert_eq!(matching(&server, &contains).await, ["bob"]);
    let group = one("item1.email", "");
    assert_eq!(matching(&server, &group).await, ["bob"]);
    let parameter = one(
        "EMAIL",
        "<C:param-filter name='type'><C:text-match>WORK</C:text-match></C:param-filter>",
    );
    assert_eq!(matching(&server, &parameter).await, ["bob"]);
    assert_eq!(matching(&server, &one("X-NONE", "")).await, [""; 0]);
}

#[tokio::test]
async fn text_is_compared_as_the_collation_and_the_match_type_say() {
    let server = server().await;
    let fn_is = |attributes: &str, text: &str| one("FN", &text_match(attributes, text));
    for (attributes, text, expected) in [
        ("", "ÅNGSTRÖM", &["ann"][..]),
        ("collation='i;unicode-casemap'", "a\u{30a}ngström", &["ann"]),
        ("collation='default'", "bob", &["bob"]),
        ("collation='i;ascii-casemap'", "ÅNGSTRÖM", &[]),
        ("collation='i;ascii-casemap'", "ÅNGSTRöM", &["ann"]),
        ("collation='i;octet'", "bob", &[]),
        ("collation='i;octet'", "Bob", &["bob"]),
        ("match-type='equals'", "ann", &[]),
        ("match-type='starts-with'", "ann", &["ann"]),
        ("match-type='ends-with'", "o", &["cleo"]),
        ("negate-condition='yes'", "b", &["ann", "cleo"]),
    ] {
        let found = matching(&server, &fn_is(attributes, text)).await;
        assert_eq!(found, expected, "{attributes} {text}");
    }
}

#[tokio::test]
async fn conditions_are_joined_by_any_or_all() {
    let server = server().await;
    let filter = |test: &str| {
        format!(
            "<C:filter {test}>\
             <C:prop-filter name='EMAIL'><C:text-match>example</C:text-match></C:prop-filter>\
             <C:prop-filter name='FN'><C:text-match>b</C:text-match></C:prop-filter>\
             </C:filter>"
        )
    };
    assert_eq!(matching(&server, &filter("test='allof'")).await, ["bob"]);
    for any in ["", "test='anyof'"] {
        assert_eq!(matching(&server, &filter(any)).await, ["ann", "bob"]);
    }
}

/// RFC 6352 §8.6.2: 507 for the address book when there are more.
#[tokio::test]
async fn a_limit_cuts_the_answer() {
    let server = server().await;
    for (filter, limit, found, cut) in [
        ("<C:filter/>", 2, 2, true),
        ("<C:filter/>", 3, 3, false),
        (one("EMAIL", "").as_str(), 1, 1, true),
        (one("EMAIL", "").as_str(), 2, 2, false),
    ] {
        let limited = format!("{filter}<C:limit><C:nresults>{limit}</C:nresults></C:limit>");
        let answer = report(&server, &[("depth", "1")], &limited).await;
        let answer = answer.multistatus();
        assert_eq!(answer.rows.len(), found + usize::from(cut), "{answer:?}");
        if cut {
            let row = answer.row(BOOK);
            assert_eq!(
                row.status.as_deref(),
                Some("HTTP/1.1 507 Insufficient Storage")
            );
            assert_eq!(row.conditions, ["D:number-of-matches-within-limits"]);
        }
    }
}

#[tokio::test]
async fn the_depth_says_where_to_look() {
    let server = server().await;
    for (headers, found) in [
        (&[("depth", "0")][..], 0),
        (&[("depth", "1")], 3),
        (&[("depth", "infinity")], 3),
        (&[], 3),
    ] {
        let answer = report(&server, headers, "<C:filter/>").await.multistatus();
        assert_eq!(answer.rows.len(), found, "{headers:?}");
    }
    // RFC 6352 §8: a card can be asked too.
    let path = format!("{BOOK}bob.vcf");
    for (text, found) in [("bob", 1), ("ann", 0)] {
        let body = query(&["D:getetag"], &one("FN", &text_match("", text)));
        let answer = server.send("REPORT", &path, &[("depth", "0")], body).await;
        assert_eq!(answer.multistatus().rows.len(), found, "{text}");
    }
    let body = query(&["D:getetag"], "");
    let answer = server
        .send("REPORT", &format!("{BOOK}no.vcf"), &[], body)
        .await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn rows_have_what_was_asked_for() {
    let server = Server::start();
    let etag = server.put("a.vcf", card("a", "Ann")).await;
    let href = format!("{BOOK}a.vcf");
    for filter in ["<C:filter/>", &one("FN", &text_match("", "ann"))] {
        let body = query(&["D:getetag", "C:address-data", "X:color"], filter);
        let answer = server.send("REPORT", BOOK, &[("depth", "1")], body).await;
        let answer = answer.multistatus();
        let row = answer.row(&href);
        assert_eq!(row.text("D:getetag"), etag);
        assert_eq!(row.text("C:address-data"), card("a", "Ann"));
        assert_eq!(row.names("HTTP/1.1 404 Not Found"), ["X:color"]);
    }
    let query = |what: &str| {
        format!(
            "<C:addressbook-query xmlns:C='{CARDDAV}' xmlns:D='DAV:'>{what}<C:filter/></C:addressbook-query>"
        )
    };
    let answer = server
        .send("REPORT", BOOK, &[], query("<D:propname/>"))
        .await;
    let answer = answer.multistatus();
    assert!(
        answer
            .row(&href)
            .names("HTTP/1.1 200 OK")
            .contains(&"D:getetag")
    );
    assert_eq!(answer.row(&href).text("D:getetag"), "");
    let answer = server
        .send("REPORT", BOOK, &[], query("<D:allprop/>"))
        .await;
    assert_eq!(answer.multistatus().row(&href).text("D:getetag"), etag);
}

/// The answer is the same whether a card is indexed, is not yet, or has too much in it for an index.
#[tokio::test]
async fn the_index_changes_nothing_but_the_time() {
    let server = Server::start();
    let long = "x".repeat(5000);
    let bytes = |uid: &str, lines: &str| {
        format!("BEGIN:VCARD\nVERSION:3.0\nUID:{uid}\nFN:{uid}\n{lines}END:VCARD\n")
    };
    let email = "EMAIL;TYPE=work:a@example.org\n";
    let note = format!("NOTE:{long}y\n");
    let cards = [
        ("none.vcf", ""),
        ("email.vcf", email),
        ("long.vcf", note.as_str()),
        ("photo.vcf", "item1.PHOTO:abc\nitem1.EMAIL:b@example.org\n"),
    ];
    server.fill(
        cards
            .iter()
            .map(|(name, lines)| ((*name).to_owned(), bytes(name, lines).into_bytes())),
    );
    let filters = [
        ("<C:filter/>".to_owned(), 4),
        (one("EMAIL", ""), 2),
        (one("EMAIL", "<C:is-not-defined/>"), 2),
        (
            one("EMAIL", &text_match("match-type='starts-with'", "A@")),
            1,
        ),
        (one("NOTE", &text_match("match-type='ends-with'", "y")), 1),
        (one("NOTE", &text_match("negate-condition='yes'", "y")), 0),
        (one("PHOTO", ""), 1),
        (one("PHOTO", "<C:is-not-defined/>"), 3),
        (one("item1.EMAIL", ""), 1),
        (
            one(
                "EMAIL",
                "<C:param-filter name='TYPE'><C:is-not-defined/></C:param-filter>",
            ),
            1,
        ),
    ];
    for round in ["not indexed", "indexed later", "indexed by PUT"] {
        for (filter, count) in &filters {
            let found = matching(&server, filter).await;
            assert_eq!(found.len(), *count, "{round}: {filter}: {found:?}");
        }
        while cloudless_carddav::index_cards(&server.store).unwrap() {}
        assert_eq!(server.store.cards_without_index(1).unwrap(), []);
        if round == "indexed later" {
            for (name, lines) in cards {
                server
                    .put(name, bytes(name, &format!("{lines}X-B:1\n")))
                    .await;
            }
            assert_eq!(server.store.cards_without_index(1).unwrap(), []);
        }
    }
}

/// RFC 6352 §8.6.1.
#[tokio::test]
async fn what_is_not_supported_is_refused_with_its_precondition() {
    let server = server().await;
    let collation = one("FN", &text_match("collation='i;klingon'", "x"));
    let filter = "<C:filter><C:comp-filter name='VCARD'/></C:filter>";
    for (filter, condition) in [
        (collation.as_str(), "supported-collation"),
        (filter, "supported-filter"),
    ] {
        let answer = report(&server, &[("depth", "1")], filter).await;
        answer.assert_condition(403, CARDDAV, condition);
    }
    let body = query(
        &["C:address-data content-type='application/vcard+json'"],
        "<C:filter/>",
    );
    let answer = server.send("REPORT", BOOK, &[("depth", "1")], body).await;
    answer.assert_condition(403, CARDDAV, "supported-address-data");
}

/// RFC 6352 §8.3.1, RFC 3253 §3.1.5.
#[tokio::test]
async fn the_report_and_its_collations_are_advertised() {
    let server = server().await;
    let properties = ["D:supported-report-set", "C:supported-collation-set"];
    let answer = server.propfind(BOOK, "1", &properties).await.multistatus();
    let book = answer.row(BOOK);
    assert!(
        book.inside("D:supported-report-set")
            .contains(&"C:addressbook-query")
    );
    assert_eq!(
        book.text("C:supported-collation-set"),
        "i;unicode-casemapi;ascii-casemapi;octet"
    );
    let card = answer.row(&format!("{BOOK}ann.vcf"));
    assert!(
        card.inside("D:supported-report-set")
            .contains(&"C:addressbook-query")
    );
    assert!(
        !card
            .inside("D:supported-report-set")
            .contains(&"D:sync-collection")
    );
}
