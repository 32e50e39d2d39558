use crate::Name;
use crate::markup::{self, push};

/// What a principal may do with a resource (RFC 3744 §5.5). Privileges are granted only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ace {
    /// Who.
    pub principal: Principal,
    /// What is granted.
    pub privileges: Vec<Name>,
    /// Whether no client may change it.
    pub is_protected: bool,
    /// The resource that it is inherited from, percent-encoded.
    pub inherited: Option<String>,
}

/// Who an [`Ace`] is about (RFC 3744 §5.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Everybody who has logged in.
    Authenticated,
    /// The principal of this URL, percent-encoded.
    Href(String),
    /// Whoever owns the resource (`DAV:owner`).
    Owner,
}

impl Ace {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        push(out, &["<D:ace><D:principal>"]);
        match &self.principal {
            Principal::Authenticated => push(out, &["<D:authenticated/>"]),
            Principal::Href(href) => markup::dav_text(out, "href", href),
            Principal::Owner => push(out, &["<D:property><D:owner/></D:property>"]),
        }
        push(out, &["</D:principal><D:grant>"]);
        write_privileges(out, &self.privileges);
        push(out, &["</D:grant>"]);
        if self.is_protected {
            push(out, &["<D:protected/>"]);
        }
        if let Some(href) = &self.inherited {
            push(out, &["<D:inherited>"]);
            markup::dav_text(out, "href", href);
            push(out, &["</D:inherited>"]);
        }
        push(out, &["</D:ace>"]);
    }
}

/// A privilege with those that it contains (RFC 3744 §5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedPrivilege {
    /// The privilege.
    pub privilege: Name,
    /// Whether it can only be granted as a part of another.
    pub is_abstract: bool,
    /// What it allows, in English, for people.
    pub description: &'static str,
    /// The privileges that it contains. They are the program's, so that they nest a few deep.
    pub contains: Vec<Self>,
}

impl SupportedPrivilege {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        push(out, &["<D:supported-privilege>"]);
        write_privileges(out, std::slice::from_ref(&self.privilege));
        if self.is_abstract {
            push(out, &["<D:abstract/>"]);
        }
        push(out, &["<D:description xml:lang=\"en\">"]);
        markup::escape(out, self.description);
        push(out, &["</D:description>"]);
        self.contains
            .iter()
            .for_each(|contained| contained.write(out));
        push(out, &["</D:supported-privilege>"]);
    }
}

pub(super) fn write_privileges(out: &mut Vec<u8>, privileges: &[Name]) {
    for privilege in privileges {
        push(out, &["<D:privilege>"]);
        markup::empty(out, privilege);
        push(out, &["</D:privilege>"]);
    }
}
