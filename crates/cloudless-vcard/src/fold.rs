//! Writing content lines.

/// The longest physical line without its ending, in bytes (RFC 6350 §3.2).
const LINE_LEN_MAX: usize = 75;

/// Appends a logical line, folded between characters. Bytes that are no UTF-8 fold anywhere. White
/// space at its start is left out: it would make the line a part of the one before.
pub(crate) fn write_line(out: &mut Vec<u8>, line: &[u8], ending: &str) {
    let mut rest = line.trim_ascii_start();
    let mut len_max = LINE_LEN_MAX;
    while rest.len() > len_max {
        let continues = |at: &usize| rest[*at] & 0xC0 == 0x80;
        let boundary = (len_max - 3..=len_max).rev().find(|at| !continues(at));
        let (now, later) = rest.split_at(boundary.unwrap_or(len_max));
        out.extend_from_slice(now);
        out.extend_from_slice(ending.as_bytes());
        out.push(b' ');
        rest = later;
        len_max = LINE_LEN_MAX - 1;
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(ending.as_bytes());
}

/// The ending of the first line, which what is added to a card then has too.
pub(crate) fn line_ending(bytes: &[u8]) -> &'static str {
    let at = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    match at.map(|at| &bytes[at..]) {
        Some([b'\n', ..]) => "\n",
        Some([b'\r', b'\n', ..]) | None => "\r\n",
        Some([b'\r', b'\r', b'\n', ..]) => "\r\n",
        Some(_) => "\r",
    }
}
