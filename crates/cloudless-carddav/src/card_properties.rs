//! The properties of a card as a filter looks at them (RFC 6352 §10.5).

use std::borrow::Cow;

use cloudless_dav_proto::filter::{Needs, Parameter, Property};
use cloudless_vcard::content_line::{ContentLine, Lexer};

/// Reads the properties that a filter needs out of a card. Those of a card nested in an AGENT
/// property are not its own.
pub(crate) fn read(bytes: &[u8], needs: &Needs) -> Vec<Property<'static>> {
    let mut depth = 0_usize;
    let mut properties = Vec::new();
    for line in Lexer::new(bytes) {
        if line.is("BEGIN") {
            depth += 1;
        } else if line.is("END") {
            depth = depth.saturating_sub(1);
        } else if depth == 1 && is_needed(&line, needs) {
            properties.push(property(&line, needs));
        }
    }
    properties
}

fn is_needed(line: &ContentLine<'_>, needs: &Needs) -> bool {
    needs.names.iter().any(|name| line.is(name))
}

fn property(line: &ContentLine<'_>, needs: &Needs) -> Property<'static> {
    let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    let parameters = line.parameters().map(|parameter| Parameter {
        name: parameter.name().map_or(Cow::Borrowed("TYPE"), owned),
        values: parameter.values().map(owned).collect(),
    });
    Property {
        group: line.group().map(owned),
        name: owned(line.name()),
        parameters: match needs.parameters {
            true => parameters.collect(),
            false => Vec::new(),
        },
        value: Cow::Owned(line.text()),
    }
}
