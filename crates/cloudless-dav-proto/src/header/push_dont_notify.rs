use super::{split_list, unquote};

/// The most registrations that one request can name.
const REGISTRATIONS_MAX: usize = 64;

/// Who is not to be told of the changes that a request makes (draft-bitfire-webdav-push-00 §4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushDontNotify {
    /// `*`: nobody is.
    All,
    /// The registrations with these URLs, at most 64 of them.
    Registrations(Vec<String>),
}

impl PushDontNotify {
    /// Reads the values of `Push-Dont-Notify`: `*`, or registration URLs in quotes; early versions of
    /// DAVx5 wrote them without. `None` when there is neither.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut registrations = Vec::new();
        for value in values.into_iter().flat_map(|value| split_list(value, ',')) {
            match unquote(value) {
                "" => {}
                "*" => return Some(Self::All),
                url if registrations.len() < REGISTRATIONS_MAX => {
                    registrations.push(url.replace('\\', ""));
                }
                _ => break,
            }
        }
        (!registrations.is_empty()).then_some(Self::Registrations(registrations))
    }
}
