//! Requests and answers of CardDAV, as far as the scenarios share them.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::StatusCode;

use super::client::Connection;

pub(crate) const CTAG: &str = r#"<?xml version="1.0"?>
<propfind xmlns="DAV:" xmlns:CS="http://calendarserver.org/ns/"><prop><CS:getctag/></prop></propfind>"#;
pub(crate) const TOKEN: &str = r#"<?xml version="1.0"?>
<propfind xmlns="DAV:"><prop><sync-token/></prop></propfind>"#;
/// What Thunderbird and vdirsyncer list before they fetch.
pub(crate) const LIST: &str = r#"<?xml version="1.0"?>
<propfind xmlns="DAV:"><prop><resourcetype/><getcontenttype/><getetag/></prop></propfind>"#;

pub(crate) async fn propfind(
    connection: &mut Connection,
    depth: &str,
    body: &str,
) -> Result<Bytes> {
    multistatus(connection, "PROPFIND", depth, body.to_owned()).await
}

pub(crate) async fn report(
    connection: &mut Connection,
    depth: &str,
    body: String,
) -> Result<Bytes> {
    multistatus(connection, "REPORT", depth, body).await
}

async fn multistatus(
    connection: &mut Connection,
    method: &str,
    depth: &str,
    body: String,
) -> Result<Bytes> {
    let expected = [StatusCode::MULTI_STATUS];
    connection
        .send(method, "", &[("depth", depth)], body, &expected)
        .await
}

/// Changes since `token`; everything if it is empty.
pub(crate) fn sync_collection(token: &str) -> String {
    format!(
        r#"<?xml version="1.0"?>
<sync-collection xmlns="DAV:"><sync-token>{token}</sync-token><sync-level>1</sync-level><prop>
<getetag/><resourcetype/></prop></sync-collection>"#
    )
}

pub(crate) fn multiget(hrefs: &[String]) -> String {
    let rows: Vec<String> = hrefs
        .iter()
        .map(|it| format!("<D:href>{it}</D:href>"))
        .collect();
    format!(
        r#"<?xml version="1.0"?>
<addressbook-multiget xmlns="urn:ietf:params:xml:ns:carddav" xmlns:D="DAV:"><D:prop>
<D:getetag/><D:getcontenttype/><address-data content-type="text/vcard"/></D:prop>{}
</addressbook-multiget>"#,
        rows.concat()
    )
}

/// Cards with a property that matches, and their bytes.
pub(crate) fn addressbook_query(property: &str, match_type: &str, text: &str) -> String {
    format!(
        r#"<?xml version="1.0"?>
<addressbook-query xmlns="urn:ietf:params:xml:ns:carddav" xmlns:D="DAV:"><D:prop>
<D:getetag/><address-data/></D:prop><filter><prop-filter name="{property}">
<text-match collation="i;unicode-casemap" match-type="{match_type}">{text}</text-match>
</prop-filter></filter></addressbook-query>"#
    )
}

/// The cards' hrefs, whatever prefix the server writes. Parsing in earnest would cost the client
/// more than the answer costs the server.
pub(crate) fn hrefs(multistatus: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(multistatus)
        .split("href>")
        .skip(1)
        .step_by(2)
        .filter_map(|it| it.split('<').next())
        .filter(|it| it.ends_with(".vcf"))
        .map(str::to_owned)
        .collect()
}

/// The sync token of an answer.
pub(crate) fn sync_token(multistatus: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(multistatus);
    let (_, rest) = text
        .split_once("sync-token>")
        .context("an answer without a sync token")?;
    Ok(rest.split('<').next().unwrap_or_default().to_owned())
}

/// Whether the server holds back a part of the answer, for which the client asks next.
pub(crate) fn is_truncated(multistatus: &[u8]) -> bool {
    contains(multistatus, b"HTTP/1.1 507")
}

pub(crate) fn count_cards(multistatus: &[u8]) -> usize {
    let end = b"END:VCARD";
    multistatus
        .windows(end.len())
        .filter(|it| it == end)
        .count()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|it| it == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hrefs_of_cards_are_found_under_any_prefix() {
        let answer = b"<a:multistatus><a:response><a:href>/b/</a:href></a:response>\
            <a:response><a:href>/b/1.vcf</a:href></a:response>\
            <response><href>/b/2.vcf</href></response></a:multistatus>";
        assert_eq!(hrefs(answer), ["/b/1.vcf", "/b/2.vcf"]);
    }

    #[test]
    fn cards_are_counted() {
        assert_eq!(
            count_cards(b"END:VCARD</d><d>BEGIN:VCARD\r\nEND:VCARD\r\n"),
            2
        );
    }

    #[test]
    fn the_token_is_found_under_any_prefix() {
        let answer = b"<a:href>/b/</a:href><a:sync-token>urn:7</a:sync-token></a:multistatus>";
        assert_eq!(sync_token(answer).expect("there is a token"), "urn:7");
        assert!(sync_token(b"<multistatus/>").is_err());
    }
}
