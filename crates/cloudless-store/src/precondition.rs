use crate::ETag;

/// What must be true of the stored card for a write to happen (RFC 9110 section 13.1).
///
/// It is checked inside the transaction of the write, so of two writers that name the same
/// current tag exactly one succeeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Write whatever is there.
    #[default]
    None,
    /// `If-None-Match: *`: no card of that name.
    MustNotExist,
    /// `If-Match: *`: some card of that name.
    MustExist,
    /// `If-Match`: the current tag is one of these. An empty list never holds.
    Match(Vec<ETag>),
    /// `If-None-Match`: there is no card, or its tag is none of these.
    NoneMatch(Vec<ETag>),
}

impl Precondition {
    pub(crate) fn holds(&self, current: Option<&ETag>) -> bool {
        match self {
            Self::None => true,
            Self::MustNotExist => current.is_none(),
            Self::MustExist => current.is_some(),
            Self::Match(tags) => current.is_some_and(|tag| tags.contains(tag)),
            Self::NoneMatch(tags) => current.is_none_or(|tag| !tags.contains(tag)),
        }
    }
}
