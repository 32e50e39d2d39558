//! The first bytes of a leg, and the trailer that names one: no bytes panic, and there is one spelling
//! of each ticket.

use cloudless_proto::client_hello;
use cloudless_proto::leg::{PREFACE_LEN, Ticket, begins, from_trailer, trailer};

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    if let Some(number) = from_trailer(bytes) {
        assert_eq!(from_trailer(trailer(number).as_bytes()), Some(number));
    }
    let is_leg = begins(bytes);
    if is_leg {
        // What is taken for a leg can be no visitor's TLS.
        let parsed = client_hello::Reader::new().push(bytes);
        assert_eq!(parsed, client_hello::Parsed::NotTls);
    }
    let Some(preface) = bytes.first_chunk::<PREFACE_LEN>() else {
        return;
    };
    match Ticket::from_preface(preface) {
        Some(ticket) => assert!(is_leg && ticket.preface() == *preface),
        None => assert!(!is_leg),
    }
}
