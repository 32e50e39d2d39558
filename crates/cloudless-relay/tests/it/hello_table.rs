//! Which server gets a ClientHello: every kind that routers are known to stumble over.

use crate::support::{HOME_NAME, HomeKey, TestRelay, Visitor, WebServer, client_hello};

const INTERNATIONAL: &str = "xn--bcher-kva.example.test";
const SERVER_NAME: u16 = 0;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// A segment on Ethernet.
const SEGMENT_LEN: usize = 1448;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Gets {
    Home,
    WebServer,
}

/// A row: what a client sends, piece by piece, and who gets it.
struct Row {
    what: &'static str,
    pieces: Vec<Vec<u8>>,
    gets: Gets,
}

fn rows() -> Vec<Row> {
    use Gets::{Home, WebServer};
    let row = |what, gets, stream: Vec<u8>| Row {
        what,
        pieces: vec![stream],
        gets,
    };
    let whole = hello(&[server_name(HOME_NAME.as_bytes())]);
    let at = name_at(&whole);
    let large = client_hello(HOME_NAME);
    assert!(large.len() > SEGMENT_LEN, "a post-quantum key share");
    let named = |name: &[u8]| hello(&[server_name(name)]);
    let ccs = b"\x14\x03\x03\x00\x01\x01";
    vec![
        row("one record", Home, whole.clone()),
        Row {
            what: "two segments",
            pieces: whole.chunks(at + 3).map(<[u8]>::to_vec).collect(),
            gets: Home,
        },
        Row {
            what: "a byte a segment",
            pieces: whole.chunks(1).map(<[u8]>::to_vec).collect(),
            gets: Home,
        },
        row("two records, cut in the name", Home, records(&whole, at)),
        row("records of 64 bytes", Home, records(&whole, 64)),
        row("a first record of 3 bytes", Home, {
            let (header, message) = whole.split_at(5);
            let first = [&header[..3], &[0, 3], &message[..3]].concat();
            let second = records(&[header, &message[3..]].concat(), usize::MAX);
            [first, second].concat()
        }),
        row("post-quantum", Home, large.clone()),
        Row {
            what: "post-quantum in segments of the network's",
            pieces: large.chunks(SEGMENT_LEN).map(<[u8]>::to_vec).collect(),
            gets: Home,
        },
        row("the name behind 16 KiB", Home, {
            let padding = extension(21, &[0; 16 * 1024]);
            records(
                &hello(&[padding, server_name(HOME_NAME.as_bytes())]),
                16_000,
            )
        }),
        row(
            "upper case",
            Home,
            named(HOME_NAME.to_uppercase().as_bytes()),
        ),
        row(
            "a trailing dot",
            Home,
            named(format!("{HOME_NAME}.").as_bytes()),
        ),
        row("an A-label", Home, named(INTERNATIONAL.as_bytes())),
        row(
            "a ChangeCipherSpec record behind",
            Home,
            [&whole[..], ccs].concat(),
        ),
        row("GREASE for ECH, or the outer hello of it", Home, {
            let ech = extension(ENCRYPTED_CLIENT_HELLO, &[0; 250]);
            hello(&[ech, server_name(HOME_NAME.as_bytes())])
        }),
        row("the outer name of another's ECH", WebServer, {
            let ech = extension(ENCRYPTED_CLIENT_HELLO, &[0; 250]);
            hello(&[ech, server_name(b"public.example.test")])
        }),
        row(
            "two trailing dots",
            WebServer,
            named(format!("{HOME_NAME}..").as_bytes()),
        ),
        row(
            "NUL and more",
            WebServer,
            named(format!("{HOME_NAME}\0x").as_bytes()),
        ),
        row("NUL", WebServer, named(format!("{HOME_NAME}\0").as_bytes())),
        row(
            "a port",
            WebServer,
            named(format!("{HOME_NAME}:443").as_bytes()),
        ),
        row("an underscore", WebServer, named(b"home_.example.test")),
        row(
            "a U-label",
            WebServer,
            named("bücher.example.test".as_bytes()),
        ),
        row("an IPv4 address", WebServer, named(b"192.0.2.1")),
        row("an IPv6 address", WebServer, named(b"2001:db8::1")),
        row("an empty name", WebServer, named(b"")),
        row("no server name", WebServer, hello(&[])),
        row("two server names", WebServer, {
            let name = server_name(HOME_NAME.as_bytes());
            hello(&[name.clone(), name])
        }),
        row("a name longer than its list", WebServer, {
            let mut hello = whole.clone();
            hello[at - 1] += 1;
            hello
        }),
        row("a hello longer than 32 KiB", WebServer, {
            let padding = extension(21, &[0; 40 * 1024]);
            records(
                &hello(&[padding, server_name(HOME_NAME.as_bytes())]),
                16_000,
            )
        }),
        row("SSLv2", WebServer, {
            let suites = [0x07, 0x00, 0xc0, 0x03, 0x00, 0x80];
            let head = [0x80, 9 + 6 + 16, 1, 0, 2, 0, 6, 0, 0, 0, 16];
            [&head[..], &suites, &[7; 16]].concat()
        }),
        row(
            "plain HTTP",
            WebServer,
            format!("GET / HTTP/1.1\r\nHost: {HOME_NAME}\r\n\r\n").into(),
        ),
        row("SSH", WebServer, b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hello_arrives_whole_at_the_server_it_is_for() {
    let web_server = WebServer::start().await;
    let address = web_server.address();
    let relay = TestRelay::start_with(|config| config.fallback.https = Some(address.into())).await;
    relay.enroll(HomeKey(1), INTERNATIONAL).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    for address in relay.https {
        for row in rows() {
            let mut visitor = Visitor::connect(address).await;
            for piece in &row.pieces {
                visitor.send(piece).await;
            }
            let stream = row.pieces.concat();
            eprintln!("{}", row.what);
            match row.gets {
                Gets::Home => drop(home.accept(&stream).await),
                Gets::WebServer => web_server.accept().await.expect(&stream).await,
            }
        }
    }
    assert!(home.has_no_arrival());
}

/// A ClientHello in one record of up to 64 KiB, which TLS does not have: see [`records`].
fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions = extensions.concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend(vector(&extensions));
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    [&[22, 3, 1], &vector(&message)[..]].concat()
}

fn extension(number: u16, content: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), &vector(content)[..]].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    let names = [&[0], &vector(name)[..]].concat();
    extension(SERVER_NAME, &vector(&names))
}

/// The content with its length in front.
fn vector(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&length.to_be_bytes(), content].concat()
}

/// Where the name stands that a hello is for.
fn name_at(hello: &[u8]) -> usize {
    let mut windows = hello.windows(HOME_NAME.len());
    windows.position(|it| it == HOME_NAME.as_bytes()).unwrap()
}

/// The message of a hello in records of at most `fragment_len`.
fn records(hello: &[u8], fragment_len: usize) -> Vec<u8> {
    let (header, message) = hello.split_at(5);
    let fragments = message.chunks(fragment_len);
    let record = |fragment| [&header[..3], &vector(fragment)[..]].concat();
    fragments.flat_map(record).collect()
}
