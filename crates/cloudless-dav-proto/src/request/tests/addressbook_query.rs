//! The addressbook-query of RFC 6352 §8.6 and the partial address-data of §10.4.

use super::*;
use crate::filter::{
    Collation, MatchType, ParamCondition, ParamFilter, PropCondition, PropFilter, Test, TextMatch,
};

fn query(inside: &str) -> Result<Report, RequestError> {
    parse_report(
        format!(
            "<C:addressbook-query xmlns:D='DAV:' xmlns:C='urn:ietf:params:xml:ns:carddav'>{inside}\
             </C:addressbook-query>"
        )
        .as_bytes(),
    )
}

#[track_caller]
fn filter(inside: &str) -> Filter {
    match query(&format!("<C:filter>{inside}</C:filter>")) {
        Ok(Report::AddressbookQuery { filter, .. }) => filter,
        other => panic!("{other:?}"),
    }
}

fn text(text: &str, match_type: MatchType) -> PropCondition {
    PropCondition::Defined {
        test: Test::AnyOf,
        text_matches: vec![TextMatch::new(
            text,
            Collation::UnicodeCasemap,
            match_type,
            false,
        )],
        param_filters: vec![],
    }
}

fn prop_filter(name: &str, condition: PropCondition) -> PropFilter {
    PropFilter {
        group: None,
        name: name.to_owned(),
        condition,
    }
}

#[test]
fn rfc_6352_8_6_3_partial_retrieval_of_cards_by_nickname() {
    check_report(
        r#"<?xml version="1.0" encoding="utf-8" ?>
   <C:addressbook-query xmlns:D="DAV:"
                     xmlns:C="urn:ietf:params:xml:ns:carddav">
     <D:prop>
       <D:getetag/>
       <C:address-data>
         <C:prop name="VERSION"/>
         <C:prop name="UID"/>
         <C:prop name="NICKNAME"/>
         <C:prop name="EMAIL"/>
         <C:prop name="FN"/>
       </C:address-data>
     </D:prop>
     <C:filter>
       <C:prop-filter name="NICKNAME">
         <C:text-match collation="i;unicode-casemap"
                       match-type="equals"
         >me</C:text-match>
       </C:prop-filter>
     </C:filter>
   </C:addressbook-query>"#,
        Report::AddressbookQuery {
            props: Props {
                kind: PropsKind::Prop,
                names: names("D:getetag"),
                address_data: Some(AddressData {
                    properties: ["VERSION", "UID", "NICKNAME", "EMAIL", "FN"]
                        .map(chosen)
                        .into(),
                    ..AddressData::default()
                }),
            },
            filter: Filter {
                test: Test::AnyOf,
                prop_filters: vec![prop_filter("NICKNAME", text("me", MatchType::Equals))],
            },
            limit: None,
        },
    );
}

#[test]
fn rfc_6352_8_6_4_partial_retrieval_by_full_name_or_email() {
    let body = r#"<C:filter test="anyof">
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
    let Ok(Report::AddressbookQuery { filter, .. }) = query(body) else {
        panic!("refused")
    };
    let daboo = || text("daboo", MatchType::Contains);
    assert_eq!(
        filter,
        Filter {
            test: Test::AnyOf,
            prop_filters: vec![prop_filter("FN", daboo()), prop_filter("EMAIL", daboo())],
        }
    );
}

#[test]
fn rfc_6352_8_6_5_truncated_results() {
    let body = r#"<D:prop><D:getetag/></D:prop>
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
    let parsed = query(body);
    assert!(
        matches!(parsed, Ok(Report::AddressbookQuery { limit: Some(2), .. })),
        "{parsed:?}"
    );
}

#[test]
fn every_form_of_a_condition() {
    let found = filter(
        "<C:prop-filter name='X-A' test='allof'>\
           <C:text-match collation='i;octet' match-type='starts-with' negate-condition='yes'> a \
           &amp;</C:text-match>\
           <C:param-filter name='TYPE'/>\
           <C:param-filter name='PREF'><C:is-not-defined/></C:param-filter>\
           <C:param-filter name='LANGUAGE'>\
             <C:text-match collation='i;ascii-casemap' match-type='ends-with'>e</C:text-match>\
           </C:param-filter>\
         </C:prop-filter>\
         <C:prop-filter name='item1.TEL'/>\
         <C:prop-filter name='PHOTO'><C:is-not-defined/></C:prop-filter>",
    );
    let param_filter = |name: &str, condition| ParamFilter {
        name: name.to_owned(),
        condition,
    };
    let ends_with_e = TextMatch::new("e", Collation::AsciiCasemap, MatchType::EndsWith, false);
    let first = PropCondition::Defined {
        test: Test::AllOf,
        text_matches: vec![TextMatch::new(
            " a &",
            Collation::Octet,
            MatchType::StartsWith,
            true,
        )],
        param_filters: vec![
            param_filter("TYPE", ParamCondition::Defined),
            param_filter("PREF", ParamCondition::IsNotDefined),
            param_filter("LANGUAGE", ParamCondition::Text(ends_with_e)),
        ],
    };
    let defined = PropCondition::Defined {
        test: Test::AnyOf,
        text_matches: vec![],
        param_filters: vec![],
    };
    let expected = Filter {
        test: Test::AnyOf,
        prop_filters: vec![
            prop_filter("X-A", first),
            PropFilter {
                group: Some("item1".to_owned()),
                ..prop_filter("TEL", defined)
            },
            prop_filter("PHOTO", PropCondition::IsNotDefined),
        ],
    };
    assert_eq!(found, expected);
}

#[test]
fn a_query_without_a_filter_or_with_an_empty_one_asks_for_every_card() {
    for body in ["", "<C:filter/>", "<D:prop><D:getetag/></D:prop>"] {
        let Ok(Report::AddressbookQuery { filter, .. }) = query(body) else {
            panic!("{body} is refused")
        };
        assert_eq!(filter, Filter::default(), "{body}");
    }
}

#[test]
fn allprop_and_propname_in_reports() {
    for (tag, expected) in [
        ("allprop", PropsKind::AllProp),
        ("propname", PropsKind::PropName),
    ] {
        let Ok(Report::AddressbookQuery { props, .. }) = query(&format!("<D:{tag}/>")) else {
            panic!("{tag} is refused")
        };
        assert_eq!(props.kind, expected);
    }
}

#[test]
fn partial_address_data() {
    let data = |inside: &str| {
        let body = format!("<D:prop><C:address-data>{inside}</C:address-data></D:prop>");
        match query(&body) {
            Ok(Report::AddressbookQuery { props, .. }) => props.address_data.unwrap().properties,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        data("<C:prop name='item1.tel' novalue='yes'/><C:prop name='FN' novalue='no'/>"),
        [
            ChosenProperty {
                group: Some("item1".to_owned()),
                name: "tel".to_owned(),
                no_value: true,
            },
            chosen("FN"),
        ]
    );
    assert_eq!(data("<C:prop name='FN'/><C:allprop/>"), []);
}

#[test]
fn filters_that_are_not_understood_are_refused() {
    macro_rules! check {
        ($filter:expr, $expected:pat) => {
            let found = query(&format!("<C:filter>{}</C:filter>", $filter));
            assert!(matches!(found, Err($expected)), "{}: {found:?}", $filter);
        };
    }
    let prop = |inside: &str| format!("<C:prop-filter name='FN'>{inside}</C:prop-filter>");
    let text = |attributes: &str| prop(&format!("<C:text-match {attributes}>a</C:text-match>"));
    check!(
        text("collation='i;klingon'"),
        RequestError::UnsupportedCollation { .. }
    );
    check!(
        text("match-type='regex'"),
        RequestError::FilterAttribute("match-type")
    );
    check!(
        text("negate-condition='maybe'"),
        RequestError::FilterAttribute("negate-condition")
    );
    check!("<C:prop-filter/>", RequestError::FilterAttribute("name"));
    check!(
        "<C:prop-filter name='FN' test='xor'/>",
        RequestError::FilterAttribute("test")
    );
    check!("<C:comp-filter/>", RequestError::UnsupportedFilter(_));
    check!(prop("<D:text-match/>"), RequestError::UnsupportedFilter(_));
    check!(
        prop("<C:is-not-defined/><C:text-match/>"),
        RequestError::FilterContradiction
    );
    check!(
        prop(
            "<C:param-filter name='A'><C:is-not-defined/><C:text-match/>\
             </C:param-filter>"
        ),
        RequestError::FilterContradiction
    );
    check!(
        "<C:prop-filter name='FN'/>".repeat(FILTERS_MAX + 1),
        RequestError::TooManyFilters
    );
    check!(
        prop(&"<C:param-filter name='A'/>".repeat(FILTERS_MAX)),
        RequestError::TooManyFilters
    );
    let long = "a".repeat(FILTER_TEXT_LEN_MAX + 1);
    check!(
        prop(&format!("<C:text-match>{long}</C:text-match>")),
        RequestError::FilterTextTooLong
    );
    check!(
        format!("<C:prop-filter name='{long}'/>"),
        RequestError::FilterTextTooLong
    );
}
