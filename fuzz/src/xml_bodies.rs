//! Request bodies: no input panics, and what is kept of a dead property is read back as itself.

use cloudless_dav_proto::href::decode_path;
use cloudless_dav_proto::request::{
    PropertyUpdate, Report, parse_mkcol, parse_propfind, parse_proppatch, parse_push_register,
    parse_report,
};

/// Panics when that does not hold.
pub fn check(body: &[u8]) {
    let _ = (
        parse_propfind(body),
        parse_mkcol(body),
        parse_push_register(body),
    );
    if let Ok(Report::AddressbookMultiget { hrefs, .. }) = parse_report(body) {
        for href in hrefs {
            let _ = decode_path(&href);
        }
    }
    for update in parse_proppatch(body).unwrap_or_default() {
        let PropertyUpdate::Set(property) = update else {
            continue;
        };
        let body = format!(
            "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop>{}</D:prop></D:set>\
             </D:propertyupdate>",
            property.xml
        );
        let again = parse_proppatch(body.as_bytes()).expect("it was written to be read");
        assert_eq!(again, [PropertyUpdate::Set(property)]);
    }
}
