/// What the owner of a server decides about its contacts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether clients are told that they may write vCard 4.0 (RFC 6352 §6.2.2). Without it they
    /// are told of 3.0 only, which every client reads; DAVx5 rewrites a book in 4.0 where it is told
    /// of it. Cards of any version are taken, and given in 4.0 to who asks for it, in either case.
    pub offer_vcard_4: bool,
}
