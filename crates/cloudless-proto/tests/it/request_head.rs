use cloudless_proto::request_head::{Parsed, Reader};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::pieces::segments;

const HEAD: &[u8] = b"GET /.well-known/carddav?x=1 HTTP/1.1\r\nHost: home.example.test:80\r\n\
    User-Agent: x\r\nAuthorization: Basic eDp5\r\n\r\n";

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
    parsed
}

#[test]
fn every_cut_into_two_segments() {
    for cut in 0..HEAD.len() {
        let (first, second) = HEAD.split_at(cut);
        assert_eq!(read([first]), Parsed::Incomplete);
        let Parsed::Request(head) = read([first, second]) else {
            panic!("cut at {cut}")
        };
        assert_eq!(head.host.unwrap().as_str(), "home.example.test");
    }
}

proptest! {
    #[test]
    fn the_outcome_of_a_damaged_head_does_not_depend_on_its_cuts(
        damage in vec((any::<Index>(), prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), Just(b' ')]), 0..4),
        segment_lengths in vec(0..40_usize, 0..8),
    ) {
        let mut head = HEAD.to_vec();
        for (at, byte) in &damage {
            *at.get_mut(&mut head) = *byte;
        }
        let parsed = read([&head[..]]);
        prop_assert_eq!(&read(head.chunks(1)), &parsed);
        prop_assert_eq!(&read(segments(&head, &segment_lengths)), &parsed);
        if let Parsed::Request(head) = parsed {
            prop_assert!(head.target_path.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }

    #[test]
    fn garbage_never_panics(
        start in prop_oneof![Just(""), Just("GET "), Just("GET / HTTP/1.1\r\n"), Just("GET / HTTP/1.1\r\nHost:")],
        garbage in "[ -~\r\n\t\u{e9}]{0,300}",
    ) {
        let stream = [start.as_bytes(), garbage.as_bytes()].concat();
        prop_assert_eq!(read([&stream[..]]), read(stream.chunks(1)));
    }
}
