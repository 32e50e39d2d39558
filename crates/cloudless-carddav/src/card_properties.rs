//! The properties of a card as a filter looks at them (RFC 6352 §10.5).

use std::borrow::Cow;

use cloudless_dav_proto::filter::{Needs, Parameter, Property};
use cloudless_vcard::content_line::ContentLine;

/// Reads the properties that a filter needs out of a card.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    needs: &'a Needs,
) -> impl Iterator<Item = Property<'static>> + use<'a> {
    cloudless_vcard::properties(bytes)
        .filter(|line| is_needed(line, needs))
        .map(|line| property(&line, needs))
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
