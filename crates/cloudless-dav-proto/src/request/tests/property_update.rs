//! PROPPATCH (RFC 4918 §9.2) and extended MKCOL (RFC 5689).

use super::*;

#[track_caller]
fn set(body: &str) -> Vec<SetProperty> {
    let updates = parse_proppatch(body.as_bytes()).unwrap();
    updates
        .into_iter()
        .map(|update| match update {
            PropertyUpdate::Set(property) => property,
            PropertyUpdate::Remove(name) => panic!("{name} is removed"),
        })
        .collect()
}

/// What is kept of one property that is set.
#[track_caller]
fn kept(property: &str) -> String {
    let body = format!(
        "<D:propertyupdate xmlns:D='DAV:' xmlns:a='urn:a' xmlns:unused='urn:u'><D:set>\
         <D:prop>{property}</D:prop></D:set></D:propertyupdate>"
    );
    let [property] = <[SetProperty; 1]>::try_from(set(&body)).unwrap();
    // It stands alone, and reading it again changes nothing.
    let again = format!(
        "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop>{}</D:prop></D:set></D:propertyupdate>",
        property.xml
    );
    let again = set(&again);
    assert_eq!(again[0].name, property.name);
    assert_eq!(again[0].xml, property.xml);
    property.xml
}

#[test]
fn rfc_4918_9_2_2_proppatch() {
    let body = r#"<?xml version="1.0" encoding="utf-8" ?>
     <D:propertyupdate xmlns:D="DAV:"
             xmlns:Z="http://ns.example.com/standards/z39.50/">
       <D:set>
         <D:prop>
           <Z:Authors>
             <Z:Author>Jim Whitehead</Z:Author>
             <Z:Author>Roy Fielding</Z:Author>
           </Z:Authors>
         </D:prop>
       </D:set>
       <D:remove>
         <D:prop><Z:Copyright-Owner/></D:prop>
       </D:remove>
     </D:propertyupdate>"#;
    let name = |local| Name::new("http://ns.example.com/standards/z39.50/", local).unwrap();
    let white = " ".repeat(13);
    let expected = [
        PropertyUpdate::Set(SetProperty {
            name: name("Authors"),
            text: format!("\n{white}\n{white}\n{}", " ".repeat(11)),
            children: vec![name("Author"), name("Author")],
            xml: format!(
                "<Z:Authors xmlns:Z=\"http://ns.example.com/standards/z39.50/\">\n{white}\
                 <Z:Author>Jim Whitehead</Z:Author>\n{white}<Z:Author>Roy Fielding</Z:Author>\n\
                 {}</Z:Authors>",
                " ".repeat(11)
            ),
        }),
        PropertyUpdate::Remove(name("Copyright-Owner")),
    ];
    assert_eq!(parse_proppatch(body.as_bytes()).unwrap(), expected);
}

#[test]
fn updates_keep_the_order_of_the_request() {
    let body = "<propertyupdate xmlns='DAV:'><remove><prop><a/><b/></prop></remove><set><prop>\
                <a>1</a></prop></set><set><prop><a>2</a></prop></set></propertyupdate>";
    let updates: Vec<String> = parse_proppatch(body.as_bytes())
        .unwrap()
        .iter()
        .map(|update| match update {
            PropertyUpdate::Remove(name) => format!("-{}", name.local()),
            PropertyUpdate::Set(property) => format!("{}={}", property.name.local(), property.text),
        })
        .collect();
    assert_eq!(updates, ["-a", "-b", "a=1", "a=2"]);
}

#[test]
fn a_property_stands_alone() {
    assert_eq!(kept("<a:p>x</a:p>"), "<a:p xmlns:a=\"urn:a\">x</a:p>");
    assert_eq!(kept("<D:p/>"), "<D:p xmlns:D=\"DAV:\"></D:p>");
    assert_eq!(
        kept("<p xmlns='urn:x'><q/></p>"),
        "<p xmlns=\"urn:x\"><q></q></p>"
    );
    assert_eq!(
        kept("<p xmlns='urn:x'><q xmlns=''/></p>"),
        "<p xmlns=\"urn:x\"><q xmlns=\"\"></q></p>"
    );
    // A prefix that only the text uses.
    assert_eq!(kept("<p>a:b</p>"), "<p xmlns:a=\"urn:a\">a:b</p>");
    assert_eq!(
        kept("<a:p b='&lt;\"&#10;' a:c='d'><!-- x --><![CDATA[<&]]>&#13;é</a:p>"),
        "<a:p xmlns:a=\"urn:a\" b=\"&lt;&quot;&#10;\" a:c=\"d\">&lt;&amp;&#13;é</a:p>"
    );
    assert_eq!(
        kept("<a:p><e:q xmlns:e='urn:e?a&amp;b' e:r='1'>\u{10FFFD}</e:q></a:p>"),
        "<a:p xmlns:a=\"urn:a\"><e:q xmlns:e=\"urn:e?a&amp;b\" e:r=\"1\">\u{10FFFD}</e:q></a:p>"
    );
}

#[test]
fn the_language_in_scope_belongs_to_the_property() {
    let body = "<propertyupdate xmlns='DAV:' xml:lang='en'><set><prop xml:lang='de'><a/>\
                <b xml:lang='fr'/></prop></set><set><prop><c/></prop></set></propertyupdate>";
    let xml: Vec<String> = set(body).into_iter().map(|it| it.xml).collect();
    assert_eq!(
        xml,
        [
            "<a xmlns=\"DAV:\" xml:lang=\"de\"></a>",
            "<b xmlns=\"DAV:\" xml:lang=\"fr\"></b>",
            "<c xmlns=\"DAV:\" xml:lang=\"en\"></c>",
        ]
    );
}

#[test]
fn rfc_5689_3_5_extended_mkcol() {
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
    let properties = parse_mkcol(body.as_bytes()).unwrap();
    assert_eq!(properties[0].children, names("D:collection C:addressbook"));
    let told: Vec<(&str, &str)> = properties
        .iter()
        .skip(1)
        .map(|it| (it.name.local(), it.text.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("displayname", "Lisa's Contacts"),
            ("addressbook-description", "My primary address book."),
        ]
    );
}

#[test]
fn a_plain_mkcol_sets_nothing() {
    assert_eq!(parse_mkcol(b" \n").unwrap(), []);
}

#[test]
fn bodies_of_other_methods_are_refused() {
    let body = b"<propfind xmlns='DAV:'><allprop/></propfind>";
    let refused = |error| matches!(error, Some(RequestError::UnexpectedRoot(_)));
    assert!(refused(parse_proppatch(body).err()));
    assert!(refused(parse_mkcol(body).err()));
    assert!(matches!(parse_proppatch(b""), Err(RequestError::EmptyBody)));
}

#[test]
fn what_could_not_be_written_back_is_refused() {
    macro_rules! check {
        ($property:expr, $expected:pat) => {
            let body = format!(
                "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop>{}</D:prop></D:set>\
                 </D:propertyupdate>",
                $property
            );
            let found = parse_proppatch(body.as_bytes());
            assert!(matches!(found, Err($expected)), "{found:?}");
        };
    }
    check!("<a b:c='1'/>", RequestError::UndeclaredPrefix { .. });
    check!("<a><b:c/></a>", RequestError::UndeclaredPrefix { .. });
    check!(
        "<a xmlns:b='urn:c' xmlns:d='urn:c' b:e='1' d:e='2'/>",
        RequestError::InvalidName
    );
    check!("<a b='&c;'/>", RequestError::Malformed { .. });
    check!("<a><1/></a>", RequestError::InvalidName);
    check!("<a 1='b'/>", RequestError::InvalidName);
    let long = "a".repeat(PROPERTY_LEN_MAX);
    check!(format!("<a>{long}</a>"), RequestError::PropertyTooLong);
    check!(format!("<a b='{long}'/>"), RequestError::PropertyTooLong);
    check!("<a/>".repeat(257), RequestError::TooManyProperties);
}
