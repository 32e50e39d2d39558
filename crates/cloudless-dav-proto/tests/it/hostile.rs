//! Bodies made to make a parser panic.

use cloudless_dav_proto::header::PushDontNotify;
use cloudless_dav_proto::href::decode_path;
use cloudless_dav_proto::request::{
    Propfind, Report, parse_propfind, parse_push_register, parse_report,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Parses the bytes in every way and checks the caps of what was understood.
fn check(body: &[u8]) {
    if let Ok(Propfind::Prop(names)) = parse_propfind(body) {
        assert!(names.len() <= 256);
    }
    if let Ok(Report::AddressbookMultiget { hrefs, .. }) = parse_report(body) {
        assert!(hrefs.iter().all(|href| href.len() <= 4096));
    }
    if let Ok(register) = parse_push_register(body)
        && let Some(subscription) = register.subscription
    {
        assert!(subscription.push_resource.len() <= 4096);
        assert!(
            subscription
                .auth_secret
                .is_none_or(|secret| secret.len() <= 256)
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(body in vec(any::<u8>(), 0..300)) {
        check(&body);
    }

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        check(text.as_bytes());
        let _ = decode_path(&text);
        let _ = PushDontNotify::parse([text.as_str()]);
    }

    #[test]
    fn no_mixture_of_what_matters_panics(
        pieces in vec(
            prop::sample::select(vec![
                "<propfind xmlns='DAV:'>", "</propfind>", "<sync-collection xmlns=\"DAV:\">",
                "</sync-collection>", "<prop>", "</prop>", "<prop/>", "<allprop/>", "<href>",
                "</href>", "<sync-token>", "</sync-token>", "<limit><nresults>", "1",
                "</nresults></limit>", "<sync-level>", "</sync-level>", "<?xml version='1.0'?>",
                "<!--", "-->", "<![CDATA[", "]]>", "<!DOCTYPE x>", "&amp;", "&#13;", "&x;", "&",
                "<x:y xmlns:x='urn:x'/>", "<x xmlns=''>", "</x>", "<", ">", "'", "\"", "\u{FEFF}",
                "<C:addressbook-multiget xmlns:C='urn:ietf:params:xml:ns:carddav' xmlns='DAV:'>",
                "<push-register xmlns='https://bitfire.at/webdav-push'>", "</push-register>",
                "<subscription>", "</subscription>", "<web-push-subscription>", "<trigger>",
                "</web-push-subscription>", "<push-resource>", "</push-resource>", "</trigger>",
                "<content-update/>", "<auth-secret>", "</auth-secret>", "<expires>", "</expires>",
                "<C:address-data version='", "</C:addressbook-multiget>", "/>", "é", "\0", " ",
            ]),
            0..40,
        ),
    ) {
        check(pieces.concat().as_bytes());
    }

    #[test]
    fn no_href_panics(
        pieces in vec(
            prop::sample::select(vec![
                "/", "//", "%", "%2", "%2F", "%zz", "%C3", "%A4", "..", ".", "?", "#", ":",
                "https://", "host:1", "é", "a", "\0", "\\",
            ]),
            0..20,
        ),
    ) {
        let _ = decode_path(&pieces.concat());
    }
}
