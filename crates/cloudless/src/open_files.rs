//! The limit on open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one: each visitor needs a socket or two, and the
/// usual soft limit of 1024 is a leftover of select(2).
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}

/// How many the process may open, where it `may_need` more than that.
pub(crate) fn too_few(may_need: usize) -> Option<u64> {
    fewer(may_need, getrlimit(Resource::Nofile).current)
}

/// `None` for a limit is none at all.
fn fewer(may_need: usize, limit: Option<u64>) -> Option<u64> {
    limit.filter(|limit| usize::try_from(*limit).is_ok_and(|limit| limit < may_need))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limit_that_is_lower_than_the_need_is_too_low() {
        for (limit, expected) in [
            (Some(0), Some(0)),
            (Some(999), Some(999)),
            (Some(1000), None),
            (Some(u64::MAX), None),
            (None, None),
        ] {
            assert_eq!(fewer(1000, limit), expected, "{limit:?}");
        }
    }
}
