//! The same bytes in other pieces: TLS records and TCP segments.

const RECORD_HEADER_LEN: usize = 5;
const RECORD_LEN_MAX: usize = 1 << 14;

/// The ClientHello of one record, in records of these lengths; what is left goes into as many
/// records as it needs.
pub(crate) fn reframe(record: &[u8], lengths: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let (header, mut rest) = record.split_at(RECORD_HEADER_LEN);
    let mut lengths = lengths.into_iter();
    let mut stream = Vec::new();
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(RECORD_LEN_MAX).min(rest.len());
        let (fragment, remaining) = rest.split_at(length);
        stream.extend_from_slice(&header[..3]);
        stream.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        stream.extend_from_slice(fragment);
        rest = remaining;
    }
    stream
}

/// `stream` cut into segments of these lengths; what is left is the last one.
pub(crate) fn segments<'a>(stream: &'a [u8], lengths: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = stream;
    let mut lengths = lengths.iter();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = lengths
            .next()
            .map_or(rest.len(), |length| rest.len().min(*length));
        let (segment, remaining) = rest.split_at(length);
        rest = remaining;
        Some(segment)
    })
}
