//! Which bytes are a record (RFC 8446 section 5).

use rustls::{ContentType, Error, InvalidMessage};

/// Content type, version and length.
pub(crate) const HEADER_LEN: usize = 5;
/// What a record may hold.
pub(crate) const PLAIN_MAX: usize = 16 * 1024;
/// What a record's cipher, padding and content type may add.
const EXPANSION_MAX: usize = 256;
/// The longest record, with its header.
pub(crate) const LEN_MAX: usize = HEADER_LEN + PLAIN_MAX + EXPANSION_MAX;

/// The length of the record that `bytes` begin with, header included; `None` while the header is not
/// there yet.
pub(crate) fn len(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let [content_type, major, _, high, low, ..] = *bytes else {
        return Ok(None);
    };
    if matches!(ContentType::from(content_type), ContentType::Unknown(_)) {
        return Err(InvalidMessage::InvalidContentType.into());
    }
    if major != 3 {
        return Err(InvalidMessage::UnknownProtocolVersion.into());
    }
    let len = HEADER_LEN + usize::from(u16::from_be_bytes([high, low]));
    if len > LEN_MAX {
        return Err(Error::PeerSentOversizedRecord);
    }
    Ok(Some(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_long_as_its_header_says_and_no_longer_than_the_standard_has_it() {
        assert_eq!(len(&[23, 3, 3, 0x41]), Ok(None));
        assert_eq!(len(&[23, 3, 3, 0x41, 0x00, 7]), Ok(Some(LEN_MAX)));
        assert_eq!(len(&[22, 3, 1, 0, 0]), Ok(Some(HEADER_LEN)));
        let too_long = len(&[23, 3, 3, 0x41, 0x01]);
        assert_eq!(too_long, Err(Error::PeerSentOversizedRecord));
        assert!(len(b"HTTP/1.1").is_err());
        assert!(len(&[23, 2, 3, 0, 1]).is_err());
    }
}
