//! The examples of the RFCs, with their bodies to the letter; only paths and tokens are ours.

use crate::harness::{BOOK, HOME_SET, PRINCIPAL, Server, card};
use crate::multistatus::Multistatus;

const OK: &str = "HTTP/1.1 200 OK";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found";

/// RFC 6352 §6.3.2.
const CYRUS: &str = "BEGIN:VCARD\r\n\
    VERSION:3.0\r\n\
    FN:Cyrus Daboo\r\n\
    N:Daboo;Cyrus\r\n\
    ADR;TYPE=POSTAL:;2822 Email HQ;Suite 2821;RFCVille;PA;15213;USA\r\n\
    EMAIL;TYPE=INTERNET,PREF:cyrus@example.com\r\n\
    NICKNAME:me\r\n\
    NOTE:Example VCard.\r\n\
    ORG:Self Employed\r\n\
    TEL;TYPE=WORK,VOICE:412 605 0499\r\n\
    TEL;TYPE=FAX:412 605 0705\r\n\
    URL:http://www.example.com\r\n\
    UID:1234-5678-9000-1\r\n\
    END:VCARD\r\n";

/// What the examples of RFC 6352 §8.6 and §8.7 ask for.
const PARTIAL: &str = r#"<D:prop>
       <D:getetag/>
       <C:address-data>
         <C:prop name="VERSION"/>
         <C:prop name="UID"/>
         <C:prop name="NICKNAME"/>
         <C:prop name="EMAIL"/>
         <C:prop name="FN"/>
       </C:address-data>
     </D:prop>"#;

/// What the examples of RFC 6352 §8.6 and §8.7 give of a card, so that it is all that [`PARTIAL`]
/// names.
fn partial(nickname: &str, uid: &str, full_name: &str, email: &str) -> String {
    format!(
        "BEGIN:VCARD\r\n\
         VERSION:3.0\r\n\
         NICKNAME:{nickname}\r\n\
         UID:{uid}\r\n\
         FN:{full_name}\r\n\
         EMAIL:{email}\r\n\
         END:VCARD\r\n"
    )
}

/// The card of §8.6.3 and §8.7.1.
fn cyrus() -> String {
    let uid = "34222-232@example.com";
    partial("me", uid, "Cyrus Daboo", "daboo@example.com")
}

/// The one of the same name in §8.6.4, whose full name alone does not match.
fn david() -> String {
    cyrus().replace("Cyrus Daboo", "David Boo")
}

fn oliver() -> String {
    let uid = "34222-23222@example.com";
    partial("oliver", uid, "Oliver Daboo", "oliver@example.com")
}

fn report(name: &str, inside: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8" ?>
   <C:{name} xmlns:D="DAV:"
                     xmlns:C="urn:ietf:params:xml:ns:carddav">
     {inside}
   </C:{name}>"#
    )
}

async fn ask(server: &Server, depth: &str, body: String) -> Multistatus {
    let headers = [
        ("depth", depth),
        ("content-type", "text/xml; charset=\"utf-8\""),
    ];
    let answer = server.send("REPORT", BOOK, &headers, body).await;
    answer.multistatus()
}

fn href(name: &str) -> String {
    format!("{BOOK}{name}")
}

/// A book with the cards of an example, each with more than the example asks for, and with one that
/// it does not ask for.
async fn server(cards: &[(&str, String)]) -> Server {
    let server = Server::start();
    for (name, card) in cards {
        let more = "TEL:412 605 0499\r\nEND:VCARD";
        server.put(name, card.replace("END:VCARD", more)).await;
    }
    server.put("other.vcf", card("other", "Simon")).await;
    server
}

#[tokio::test]
async fn rfc_6352_6_3_2_a_new_address_object() {
    let server = Server::start();
    let path = href("newvcard.vcf");
    let headers = [
        ("if-none-match", "*"),
        ("content-type", "text/vcard; charset=\"utf-8\""),
    ];
    let answer = server.send("PUT", &path, &headers, CYRUS).await;
    assert_eq!(answer.status, 201);
    assert_ne!(answer.header("etag"), "");
    let again = server.send("PUT", &path, &headers, CYRUS).await;
    assert_eq!(again.status, 412);
}

#[tokio::test]
async fn rfc_6352_6_3_1_1_a_successful_extended_mkcol() {
    let server = Server::start();
    let body = r#"<?xml version="1.0" encoding="utf-8" ?>
   <D:mkcol xmlns:D="DAV:"
                 xmlns:C="urn:ietf:params:xml:ns:carddav">
     <D:set>
       <D:prop>
         <D:resourcetype>
           <D:collection/>
           <C:addressbook/>
         </D:resourcetype>
         <D:displayname>Lisa's Contacts</D:displayname>
         <C:addressbook-description xml:lang="en"
   >My primary address book.</C:addressbook-description>
       </D:prop>
     </D:set>
   </D:mkcol>"#;
    let path = format!("{HOME_SET}addressbook/");
    let headers = [("content-type", "text/xml; charset=\"utf-8\"")];
    let answer = server.send("MKCOL", &path, &headers, body).await;
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (201, "no-cache")
    );
    let asked = ["D:displayname", "C:addressbook-description"];
    let made = server.propfind(&path, "0", &asked).await.multistatus();
    let row = made.row(&path);
    assert_eq!(row.text("D:displayname"), "Lisa's Contacts");
    assert_eq!(
        row.text("C:addressbook-description"),
        "My primary address book."
    );
}

#[tokio::test]
async fn rfc_6352_8_6_3_partial_retrieval_of_cards_matching_a_nickname() {
    let server = server(&[("v102.vcf", cyrus()), ("v104.vcf", oliver())]).await;
    let filter = r#"<C:filter>
       <C:prop-filter name="NICKNAME">
         <C:text-match collation="i;unicode-casemap"
                       match-type="equals"
         >me</C:text-match>
       </C:prop-filter>
     </C:filter>"#;
    let body = report("addressbook-query", &format!("{PARTIAL}{filter}"));
    let answer = ask(&server, "1", body).await;
    assert_eq!(answer.hrefs(), [href("v102.vcf")]);
    assert_eq!(answer.rows[0].text("C:address-data"), cyrus());
    assert_ne!(answer.rows[0].text("D:getetag"), "");
}

/// One card matches by its address alone, the other by its name.
#[tokio::test]
async fn rfc_6352_8_6_4_partial_retrieval_by_full_name_or_email() {
    let server = server(&[("v102.vcf", david()), ("v104.vcf", oliver())]).await;
    let filter = r#"<C:filter test="anyof">
       <C:prop-filter name="FN">
         <C:text-match collation="i;unicode-casemap"
                       match-type="contains"
         >daboo</C:text-match>
       </C:prop-filter>
       <C:prop-filter name="EMAIL">
         <C:text-match collation="i;unicode-casemap"
                       match-type="contains"
         >daboo</C:text-match>
       </C:prop-filter>
     </C:filter>"#;
    let body = report("addressbook-query", &format!("{PARTIAL}{filter}"));
    let answer = ask(&server, "1", body).await;
    assert_eq!(answer.hrefs(), ["v102.vcf", "v104.vcf"].map(href));
    for (row, card) in answer.rows.iter().zip([david(), oliver()]) {
        assert_eq!(row.text("C:address-data"), card);
        assert_ne!(row.text("D:getetag"), "");
    }
}

#[tokio::test]
async fn rfc_6352_8_6_5_truncated_results() {
    let third = oliver()
        .replace("34222-23222", "3")
        .replace("Oliver", "Meg");
    let cards = [
        ("v102.vcf", cyrus()),
        ("v104.vcf", oliver()),
        ("v105.vcf", third),
    ];
    let server = server(&cards).await;
    let inside = r#"<D:prop>
       <D:getetag/>
     </D:prop>
     <C:filter test="anyof">
       <C:prop-filter name="FN">
         <C:text-match collation="i;unicode-casemap"
                       match-type="contains"
         >daboo</C:text-match>
       </C:prop-filter>
     </C:filter>
     <C:limit>
       <C:nresults>2</C:nresults>
     </C:limit>"#;
    let answer = ask(&server, "1", report("addressbook-query", inside)).await;
    assert_eq!(answer.rows.len(), 3);
    for name in ["v102.vcf", "v104.vcf"] {
        assert_ne!(answer.row(&href(name)).text("D:getetag"), "");
    }
    check_cut(&answer);
}

/// The row that says that there is more (RFC 6352 §8.6.2, RFC 6578 §3.6).
fn check_cut(answer: &Multistatus) {
    let cut = answer.row(BOOK);
    let status = cut.status.as_deref();
    assert_eq!(status, Some("HTTP/1.1 507 Insufficient Storage"));
    assert_eq!(cut.conditions, ["D:number-of-matches-within-limits"]);
}

#[tokio::test]
async fn rfc_6352_8_7_1_multiget_of_parts() {
    let server = server(&[("vcf102.vcf", cyrus())]).await;
    let hrefs = format!(
        "<D:href>{BOOK}vcf102.vcf</D:href>
     <D:href>{BOOK}vcf1.vcf</D:href>"
    );
    let body = report("addressbook-multiget", &format!("{PARTIAL}{hrefs}"));
    let answer = ask(&server, "1", body).await;
    assert_eq!(answer.hrefs(), ["vcf102.vcf", "vcf1.vcf"].map(href));
    assert_eq!(answer.rows[0].text("C:address-data"), cyrus());
    assert_ne!(answer.rows[0].text("D:getetag"), "");
    assert_eq!(answer.rows[1].status.as_deref(), Some(NOT_FOUND));
    assert_eq!(answer.rows[1].propstats.len(), 0);
}

/// The server of the RFC cannot convert the card; ours can.
#[tokio::test]
async fn rfc_6352_8_7_2_multiget_of_a_version() {
    let server = server(&[("vcf3.vcf", cyrus())]).await;
    let inside = format!(
        r#"<D:prop>
       <D:getetag/>
       <C:address-data content-type='text/vcard' version='4.0'/>
     </D:prop>
     <D:href>{BOOK}vcf3.vcf</D:href>"#
    );
    let answer = ask(&server, "1", report("addressbook-multiget", &inside)).await;
    let data = answer.row(&href("vcf3.vcf")).text("C:address-data");
    assert!(data.starts_with("BEGIN:VCARD\r\nVERSION:4.0\r\n"), "{data}");
    assert!(data.contains("FN:Cyrus Daboo\r\n"), "{data}");
}

/// What the examples of RFC 6578 §3.8, §3.9 and §3.13 ask for.
const BIG_BOX: &str = r#"<D:prop xmlns:R="urn:ns.example.com:boxschema">
       <D:getetag/>
       <R:bigbox/>
     </D:prop>"#;

/// The same of §3.11 and §3.12.
fn limited(limit: u32) -> String {
    format!(
        "<D:limit>
       <D:nresults>{limit}</D:nresults>
     </D:limit>
     <D:prop>
       <D:getetag/>
     </D:prop>"
    )
}

fn sync(token: Option<&str>, level: &str, inside: &str) -> String {
    let token = match token {
        Some(token) => format!("<D:sync-token>{token}</D:sync-token>"),
        None => "<D:sync-token/>".to_owned(),
    };
    format!(
        r#"<?xml version="1.0" encoding="utf-8" ?>
   <D:sync-collection xmlns:D="DAV:">
     {token}
     <D:sync-level>{level}</D:sync-level>
     {inside}
   </D:sync-collection>"#
    )
}

#[tokio::test]
async fn rfc_6578_3_8_and_3_9_an_initial_and_a_later_sync() {
    let server = Server::start();
    for name in ["test.vcf", "vcard.vcf", "calendar.vcf"] {
        server.put(name, card(name, name)).await;
    }
    let big = "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop>\
        <R:bigbox xmlns:R='urn:ns.example.com:boxschema'><R:BoxType>Box type A</R:BoxType></R:bigbox>\
        </D:prop></D:set></D:propertyupdate>";
    let set = server
        .send("PROPPATCH", &href("test.vcf"), &[], big)
        .await
        .multistatus();
    assert_eq!(set.rows[0].propstats[0].status, OK);

    let first = ask(&server, "0", sync(None, "1", BIG_BOX)).await;
    assert_eq!(first.rows.len(), 3);
    // §3.13: there is nothing below an address book that an infinite level would reach.
    let infinite = ask(&server, "0", sync(None, "infinite", BIG_BOX)).await;
    assert_eq!(infinite.hrefs(), first.hrefs());
    for row in &first.rows {
        let [found, missing] = [row.names(OK).len(), row.names(NOT_FOUND).len()];
        let has_box = row.href == href("test.vcf");
        let expected = if has_box { [2, 0] } else { [1, 1] };
        assert_eq!([found, missing], expected, "{row:?}");
    }
    let token = first.sync_token.unwrap();

    server.put("file.vcf", card("file", "File")).await;
    server.put("vcard.vcf", card("vcard.vcf", "Changed")).await;
    server.send("DELETE", &href("test.vcf"), &[], "").await;
    // The RFC's client sends no Depth here.
    let body = sync(Some(&token), "1", BIG_BOX);
    let later = server.send("REPORT", BOOK, &[], body).await.multistatus();
    assert_eq!(later.rows.len(), 3);
    for name in ["file.vcf", "vcard.vcf"] {
        let row = later.row(&href(name));
        assert_ne!(row.text("D:getetag"), "");
        assert_eq!(row.names(NOT_FOUND).len(), 1, "{row:?}");
    }
    let gone = later.row(&href("test.vcf"));
    assert_eq!(gone.status.as_deref(), Some(NOT_FOUND));
    assert_ne!(later.sync_token.unwrap(), token);
}

/// §3.10, an answer that the server cuts of itself, stands with the other tests of sync-collection:
/// it takes a huge address book.
#[tokio::test]
async fn rfc_6578_3_11_a_sync_with_a_limit() {
    let server = Server::start();
    for name in ["a.vcf", "b.vcf"] {
        server.put(name, card(name, name)).await;
    }
    let first = ask(&server, "0", sync(None, "1", &limited(1))).await;
    assert_eq!(first.rows.len(), 2);
    assert_ne!(first.row(&href("a.vcf")).text("D:getetag"), "");
    check_cut(&first);
    let token = first.sync_token.unwrap();
    let rest = ask(&server, "0", sync(Some(&token), "1", &limited(1))).await;
    assert_eq!(rest.hrefs(), [href("b.vcf")]);
}

/// The server of the RFC cannot keep to a limit and answers 507; ours can.
#[tokio::test]
async fn rfc_6578_3_12_a_later_sync_with_a_limit() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let token = ask(&server, "0", sync(None, "1", &limited(100))).await;
    let token = token.sync_token.unwrap();
    for number in 0..101 {
        let name = format!("{number}.vcf");
        server.put(&name, card(&name, "New")).await;
    }
    let later = ask(&server, "0", sync(Some(&token), "1", &limited(100))).await;
    assert_eq!(later.rows.len(), 101);
    check_cut(&later);
}

#[tokio::test]
async fn rfc_5397_3_the_current_user() {
    let server = Server::start();
    let body = r#"<?xml version="1.0" encoding="utf-8" ?>
   <D:propfind xmlns:D="DAV:">
     <D:prop>
       <D:current-user-principal/>
     </D:prop>
   </D:propfind>"#;
    for path in ["/", BOOK] {
        let answer = server.send("PROPFIND", path, &[("depth", "0")], body).await;
        let answer = answer.multistatus();
        let row = answer.row(path);
        assert_eq!(row.inside("D:current-user-principal"), ["D:href"]);
        assert_eq!(row.text("D:current-user-principal"), PRINCIPAL);
    }
}
