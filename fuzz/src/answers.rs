//! What other servers answer to PROPFIND and addressbook-multiget: no body panics, every count and
//! length has its cap, and what was read is read again from an answer that says just that.

use cloudless_dav_proto::answer::{
    CARD_LEN_MAX, HOMES_MAX, ROWS_MAX, Row, TEXT_LEN_MAX, parse_multistatus,
};
use cloudless_dav_proto::href::decode_path;
use cloudless_dav_proto::request::HREF_LEN_MAX;

/// Panics when that does not hold.
pub fn check(body: &[u8]) {
    let Ok(rows) = parse_multistatus(body) else {
        return;
    };
    assert!(rows.len() <= ROWS_MAX);
    for row in &rows {
        let _ = decode_path(&row.href);
        assert!(row.href.len() <= HREF_LEN_MAX);
        assert!(row.address_book_homes.len() <= HOMES_MAX);
        let principal = row.current_user_principal.iter();
        for href in principal.chain(&row.address_book_homes) {
            assert!((1..=HREF_LEN_MAX).contains(&href.len()));
        }
        for text in row.display_name.iter().chain(&row.etag) {
            assert!((1..=TEXT_LEN_MAX).contains(&text.len()));
        }
        let card = row.address_data.as_ref();
        assert!(card.is_none_or(|it| it.len() <= CARD_LEN_MAX));
        // A reference to a character is longer than that character.
        assert!(!row.is_too_large || body.len() > CARD_LEN_MAX);
    }
    if body.len() <= CARD_LEN_MAX {
        let again = parse_multistatus(written(&rows).as_bytes());
        assert_eq!(again.expect("it was written to be read"), rows);
    }
}

/// An answer that says just that.
fn written(rows: &[Row]) -> String {
    let rows: String = rows.iter().map(response).collect();
    let namespaces = "xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:carddav'";
    format!("<multistatus {namespaces}>{rows}</multistatus>")
}

fn response(row: &Row) -> String {
    let mut kinds = String::new();
    if row.is_collection {
        kinds += "<collection/>";
    }
    if row.is_address_book {
        kinds += "<C:addressbook/>";
    }
    let mut properties = element("resourcetype", &kinds);
    for (name, text) in [
        ("displayname", &row.display_name),
        ("getetag", &row.etag),
        ("C:address-data", &row.address_data),
    ] {
        let text = text.as_ref().map(|text| element(name, &escaped(text)));
        properties += &text.unwrap_or_default();
    }
    let principal = row.current_user_principal.iter().map(href).collect();
    let homes: String = row.address_book_homes.iter().map(href).collect();
    properties += &element("current-user-principal", &principal);
    properties += &element("C:addressbook-home-set", &homes);
    let status = |number| element("status", &format!("HTTP/1.1 {number} Said"));
    let found = element("prop", &properties) + &status(200);
    let whole = row.status.map(status).unwrap_or_default();
    let said = href(&row.href) + &whole + &element("propstat", &found);
    element("response", &said)
}

fn href(text: &String) -> String {
    element("href", &escaped(text))
}

fn element(name: &str, content: &String) -> String {
    format!("<{name}>{content}</{name}>")
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('\r', "&#13;")
}
