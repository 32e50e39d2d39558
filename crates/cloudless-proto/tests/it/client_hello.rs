use cloudless_proto::InvalidHostname;
use cloudless_proto::client_hello::{Malformed, Offer, Parsed, Reader};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    corpus::{self, Capture, HOSTNAME},
    pieces::{reframe, segments},
};

/// What the client sends when it does not wait for the server: a ChangeCipherSpec record.
const CHANGE_CIPHER_SPEC: [u8; 6] = [20, 3, 3, 0, 1, 1];

/// Pushes the segments; the outcome after the last one. It must not change once it is final.
#[track_caller]
fn read<'a>(segments: impl IntoIterator<Item = &'a [u8]>) -> Parsed {
    let mut reader = Reader::new();
    let mut pushed = Vec::new();
    let mut parsed = Parsed::Incomplete;
    for segment in segments {
        let next = reader.push(segment);
        pushed.extend_from_slice(segment);
        assert!(
            parsed == Parsed::Incomplete || parsed == next,
            "{parsed:?} became {next:?}"
        );
        assert_eq!(reader.bytes(), pushed);
        parsed = next;
    }
    assert_eq!(reader.into_bytes(), pushed);
    parsed
}

#[track_caller]
fn assert_name<'a>(parsed: &'a Parsed, capture: &Capture) -> &'a Offer {
    match parsed {
        Parsed::Name(hostname, offer) => {
            assert_eq!(hostname.as_str(), HOSTNAME);
            offer
        }
        other => panic!("{}: {other:?}", capture.file_name),
    }
}

#[test]
fn one_segment() {
    for capture in corpus::hellos() {
        let parsed = read([&capture.bytes[..]]);
        assert_name(&parsed, capture);
        let Parsed::Name(_, offer) = parsed else {
            return;
        };
        let is_browser = ["chrome", "firefox", "safari"]
            .iter()
            .any(|browser| capture.file_name.starts_with(browser));
        if is_browser {
            assert_eq!(
                offer.alpn,
                [&b"h2"[..], b"http/1.1"],
                "{}",
                capture.file_name
            );
        }
        assert!(!offer.offers(b"cloudless/1"));
    }
    for capture in corpus::hellos_without_name() {
        let parsed = read([&capture.bytes[..]]);
        assert!(matches!(parsed, Parsed::NoServerName(_)), "{parsed:?}");
    }
}

#[test]
fn every_cut_into_two_segments() {
    for capture in corpus::hellos() {
        for cut in 0..capture.bytes.len() {
            let (first, second) = capture.bytes.split_at(cut);
            assert_eq!(
                read([first]),
                Parsed::Incomplete,
                "{} at {cut}",
                capture.file_name
            );
            assert_name(&read([first, second]), capture);
        }
    }
}

#[test]
fn one_byte_at_a_time() {
    for capture in corpus::hellos() {
        assert_name(&read(capture.bytes.chunks(1)), capture);
        let but_one = &capture.bytes[..capture.bytes.len() - 1];
        assert_eq!(read(but_one.chunks(1)), Parsed::Incomplete);
    }
}

#[test]
fn every_cut_into_two_records() {
    for capture in corpus::hellos() {
        for cut in 1..capture.bytes.len() - 5 {
            let stream = reframe(&capture.bytes, [cut]);
            assert_name(&read([&stream[..]]), capture);
            assert_name(&read(stream.chunks(7)), capture);
        }
    }
}

#[test]
fn records_that_others_stumble_over() {
    for capture in corpus::hellos() {
        let inside_the_name = capture.name_at() - 5 + 4;
        for lengths in [
            vec![inside_the_name],
            vec![64; 64],
            vec![3],
            vec![1, 1, 1, 1],
            vec![1; 4096],
        ] {
            let stream = reframe(&capture.bytes, lengths);
            assert_name(&read([&stream[..]]), capture);
            assert_name(&read(stream.chunks(1)), capture);
            let but_one = &stream[..stream.len() - 1];
            assert_eq!(read([but_one]), Parsed::Incomplete, "{}", capture.file_name);
        }
    }
}

#[test]
fn spellings_of_the_name() {
    for capture in corpus::hellos() {
        let name_of = |name: &[u8]| read([&capture.with_name(name)[..]]);
        assert_name(&name_of(b"HOME.EXAMPLE.TEST"), capture);
        let Parsed::Name(hostname, _) = name_of(b"home.example.tst.") else {
            panic!("{}", capture.file_name);
        };
        assert_eq!(hostname.as_str(), "home.example.tst");
        assert_eq!(
            name_of(b"home.example\0test"),
            Parsed::Malformed(Malformed::Hostname(InvalidHostname::Character(0)))
        );
    }
}

#[test]
fn a_change_cipher_spec_record_behind_the_hello() {
    for capture in corpus::hellos() {
        for stream in [capture.bytes.clone(), reframe(&capture.bytes, [100, 200])] {
            let hello_len = stream.len();
            let stream = [&stream[..], &CHANGE_CIPHER_SPEC].concat();
            assert_name(&read([&stream[..]]), capture);
            for cut in hello_len - 2..stream.len() {
                let (first, second) = stream.split_at(cut);
                assert_name(&read([first, second]), capture);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_records_in_any_segments(
        record_lengths in vec(1..400_usize, 0..40),
        segment_lengths in vec(0..400_usize, 0..40),
        behind in vec(any::<u8>(), 0..40),
    ) {
        for capture in corpus::hellos() {
            let stream = reframe(&capture.bytes, record_lengths.iter().copied());
            let stream = [stream, behind.clone()].concat();
            assert_name(&read(segments(&stream, &segment_lengths)), capture);
        }
    }

    /// A reader that sees other bytes in other cuts is one that two machines disagree about.
    #[test]
    fn the_outcome_of_a_damaged_hello_does_not_depend_on_its_cuts(
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
        cut_off in any::<Index>(),
        record_lengths in vec(1..400_usize, 0..8),
        segment_lengths in vec(0..400_usize, 0..8),
    ) {
        for capture in corpus::hellos() {
            let mut stream = reframe(&capture.bytes, record_lengths.iter().copied());
            for (at, byte) in &damage {
                *at.get_mut(&mut stream) = *byte;
            }
            for stream in [&stream[..], &stream[..cut_off.index(stream.len())]] {
                let parsed = read([stream]);
                prop_assert_eq!(&read(stream.chunks(1)), &parsed);
                prop_assert_eq!(&read(segments(stream, &segment_lengths)), &parsed);
            }
        }
    }

    #[test]
    fn garbage_never_panics(
        start in prop_oneof![
            Just(&b""[..]), Just(&[22][..]), Just(&[22, 3, 1, 0][..]), Just(&[22, 3, 1, 0, 99, 1, 0, 0][..]),
        ],
        garbage in vec(any::<u8>(), 0..600),
        segment_lengths in vec(0..99_usize, 0..8),
    ) {
        let stream = [start, &garbage].concat();
        prop_assert_eq!(read(segments(&stream, &segment_lengths)), read([&stream[..]]));
    }
}
