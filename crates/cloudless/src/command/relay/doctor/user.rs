//! Whom sshd lets in, as this machine knows that user.

use std::ffi::CString;

use nix::unistd::{self, Group};

/// Home's user on the server.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) name: String,
    /// None where there is no such user.
    pub(super) groups: Vec<String>,
}

impl User {
    pub(super) fn look_up(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            groups: groups(name).unwrap_or_default(),
        }
    }
}

fn groups(name: &str) -> Option<Vec<String>> {
    let user = unistd::User::from_name(name).ok()??;
    let groups = unistd::getgrouplist(&CString::new(name).ok()?, user.gid).ok()?;
    let names = groups
        .into_iter()
        .filter_map(|gid| Some(Group::from_gid(gid).ok()??.name));
    Some(names.collect())
}
