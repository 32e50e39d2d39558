//! Request headers: no value panics, an `If` header always comes to a decision, and entity tags are
//! read again as they were.

use std::convert::Infallible;

use cloudless_dav_proto::header::{
    Depth, Destination, EntityTags, If, Prefer, PushDontNotify, accepted_vcard, parse_overwrite,
};

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    if let Some(EntityTags::List(tags)) = EntityTags::parse(bytes) {
        assert!(!tags.is_empty());
        // What was read and is written out is read as the same.
        let written: Vec<String> = tags.iter().map(written).collect();
        let again = EntityTags::parse(written.join(", ").as_bytes());
        assert_eq!(again, Some(EntityTags::List(tags)));
    }
    let Ok(value) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = (Depth::parse(value), parse_overwrite(value));
    let _ = (Destination::parse(value), Prefer::parse([value, value]));
    let _ = (
        PushDontNotify::parse([value]),
        accepted_vcard([value, value]),
    );
    let Ok(header) = If::parse(value) else {
        return;
    };
    assert!(!header.lists.is_empty());
    for answer in [true, false] {
        let held = header.holds(|_, _| Ok::<_, Infallible>(answer));
        let has_one_kind = |list: &cloudless_dav_proto::header::List| {
            list.conditions.iter().all(|it| it.negate != answer)
        };
        assert_eq!(held, Ok(header.lists.iter().any(has_one_kind)));
    }
}

fn written(tag: &cloudless_dav_proto::header::EntityTag) -> String {
    let weak = if tag.weak { "W/" } else { "" };
    format!("{weak}\"{}\"", tag.opaque)
}
