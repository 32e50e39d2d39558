//! How many requests were answered, by method and by class of status.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, StatusCode};

/// The methods that are counted under their own names; a client may make up others.
const METHODS: [&str; 17] = [
    "ACL",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LOCK",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "OPTIONS",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "REPORT",
    "SEARCH",
    "UNLOCK",
];
const OTHER: &str = "other";

/// Counts of requests since the service was made. A clone is another handle on the same ones.
#[derive(Clone, Debug, Default)]
pub struct RequestCounts(Arc<Mutex<BTreeMap<(&'static str, u8), u64>>>);

impl RequestCounts {
    pub(crate) fn count(&self, method: &Method, status: StatusCode) {
        let known = METHODS.into_iter().find(|known| *known == method.as_str());
        let class = u8::try_from(status.as_u16() / 100).unwrap_or_default();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((known.unwrap_or(OTHER), class)).or_default() += 1;
    }

    /// Rows of a method, the first digit of a status and a count, sorted. There are no more than
    /// there are methods and classes, whatever clients send: methods that nobody has heard of are
    /// `other`.
    pub fn rows(&self) -> Vec<(&'static str, u8, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |(&(method, class), &count): (&(&'static str, u8), &u64)| (method, class, count);
        counts.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_that_clients_make_up_are_one() {
        let counts = RequestCounts::default();
        counts.count(&Method::GET, StatusCode::OK);
        counts.count(&Method::GET, StatusCode::NOT_MODIFIED);
        counts.count(&Method::GET, StatusCode::NO_CONTENT);
        for number in 0..100 {
            let made_up = format!("M{number}");
            counts.count(&made_up.parse().unwrap(), StatusCode::METHOD_NOT_ALLOWED);
        }
        counts.count(&"get".parse().unwrap(), StatusCode::METHOD_NOT_ALLOWED);
        let expected = [("GET", 2, 2), ("GET", 3, 1), ("other", 4, 101)];
        assert_eq!(counts.rows(), expected);
    }
}
