//! Peers that do what they may not, written by hand: each hears of it by the code that RFC 9113 has for
//! it, however its bytes are cut.

mod by_clients;
mod by_servers;
mod heads;

use super::frames::{DATA, Frame, GOAWAY, HEADERS, RST_STREAM, Raw, WINDOW_UPDATE};
use super::peers::{CONFIG, Client, Server, pipe, soon};
use crate::{Config, Error, Reason, Side};

/// What comes of a peer's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// They are taken, or passed over.
    Fine,
    /// The stream with this number is reset, and the connection goes on.
    Stream(u32, Reason),
    /// The connection is over.
    Connection(Reason),
}
use Verdict::{Connection, Fine, Stream};

/// So little that a peer can exceed it with few bytes, and no less than it may begin with.
const LIMITS: Config = Config {
    stream_window: 65_535,
    streams_max: 100,
    header_list_len: 1000,
    ..CONFIG
};

/// Bytes are cut into pieces of so many.
const CUTS: [usize; 3] = [usize::MAX, 10, 1];

/// What has come of it by what was heard.
fn verdict(heard: &[Frame]) -> Verdict {
    let told = |it: &&Frame| matches!(it.kind, GOAWAY | RST_STREAM);
    let told: Vec<_> = heard.iter().filter(told).collect();
    match told[..] {
        [] => Fine,
        [it] if it.kind == GOAWAY => Connection(it.reason()),
        [it] => Stream(it.stream, it.reason()),
        _ => panic!("{heard:?}"),
    }
}

fn assert_ended_by_us(error: &Error, expected: Reason, case: &str) {
    let Error::GoneAway { reason, by } = error else {
        panic!("{case}: {error}");
    };
    assert_eq!((*reason, *by), (expected, Side::Local), "{case}");
}

/// Checks what a server makes of the bytes of a client, which has said its preface and settings and
/// `before`.
async fn check_client(case: &str, before: &[u8], bytes: &[u8], expected: Verdict) {
    for cut in CUTS {
        let (near, far) = pipe(256 * 1024);
        let mut server = Server::new(far, LIMITS);
        let mut raw = Raw::client(near).await;
        raw.say(before).await;
        raw.hear_all().await;
        let mut kept = Vec::new();
        while let Some(arrival) = server.arrived() {
            kept.push(arrival);
        }
        raw.say_in_pieces(bytes, cut).await;
        let heard = raw.hear_all().await;
        assert_eq!(verdict(&heard), expected, "{case}, cut at {cut}: {heard:?}");
        if let Connection(reason) = expected {
            let error = soon(server.end).await.unwrap();
            assert_ended_by_us(&error, reason, case);
        } else {
            assert!(!server.end.is_finished());
        }
    }
}

/// The other way round: two streams are open, and the server has said its settings and `before`.
async fn check_server(case: &str, before: &[u8], bytes: &[u8], expected: Verdict) {
    for cut in CUTS {
        let (near, far) = pipe(256 * 1024);
        let client = Client::new(near, LIMITS);
        let mut raw = Raw::server(far).await;
        let _opened = [client.open(), client.open()];
        raw.hear_of(HEADERS).await;
        raw.hear_of(HEADERS).await;
        raw.say(before).await;
        raw.hear_all().await;
        raw.say_in_pieces(bytes, cut).await;
        let heard = raw.hear_all().await;
        assert_eq!(verdict(&heard), expected, "{case}, cut at {cut}: {heard:?}");
        if let Connection(reason) = expected {
            let error = soon(client.end).await.unwrap().unwrap_err();
            assert_ended_by_us(&error, reason, case);
        } else {
            assert!(!client.end.is_finished());
        }
    }
}

/// Nobody has anything else to say.
#[test]
fn other_frames_are_no_verdict() {
    let frame = |kind| Frame {
        kind,
        flags: 0,
        stream: 1,
        payload: vec![0; 8].into(),
    };
    let heard = [DATA, HEADERS, WINDOW_UPDATE].map(frame);
    assert_eq!(verdict(&heard), Fine);
}
