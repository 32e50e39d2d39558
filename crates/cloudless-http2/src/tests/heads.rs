//! Heads and trailers, between ours and h2 both ways.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};

use super::frames::{HEADERS, OK, POST, Raw, headers, setting};
use super::h2_peers::{H2Client, H2Server, h2_read_all};
use super::peers::{CONFIG, Client, Server, connect, ours, pipe, pipe_of_pieces, read_all, soon};
use super::pieces::Random;
use crate::{Config, Error};

/// Fields of which some come again and again and others never, with values that Huffman makes shorter
/// and longer.
fn fields(random: &mut Random) -> HeaderMap {
    let mut map = HeaderMap::new();
    for _ in 0..1 + random.below(40) {
        let name = match random.below(4) {
            0 => "cookie".to_owned(),
            1 => format!("x-often-{}", random.below(5)),
            2 => format!("x-sometimes-{}", random.below(1000)),
            _ => "via".to_owned(),
        };
        let value: Vec<u8> = match random.below(4) {
            0 => b"the same".to_vec(),
            1 => (0..random.below(120))
                .map(|_| b'0' + random.below(10) as u8)
                .collect(),
            // Long codes.
            2 => (0..random.below(60))
                .map(|_| 0x80 + random.below(0x80) as u8)
                .collect(),
            _ => (0..random.below(30))
                .map(|_| b' ' + random.below(95) as u8)
                .collect(),
        };
        let mut value = HeaderValue::from_bytes(&value).unwrap();
        value.set_sensitive(random.below(5) == 0);
        map.append(HeaderName::try_from(name).unwrap(), value);
    }
    map
}

fn post(fields: HeaderMap) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "https://home.example/path?query".parse().unwrap();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = fields;
    request
}

fn teapot(fields: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::IM_A_TEAPOT;
    *response.headers_mut() = fields;
    response
}

fn assert_is_post(head: &http::request::Parts, fields: &HeaderMap) {
    assert_eq!(head.method, Method::POST);
    assert_eq!(head.uri, "https://home.example/path?query");
    assert_eq!(head.version, Version::HTTP_2);
    assert_eq!(head.headers, *fields);
}

#[tokio::test(start_paused = true)]
async fn any_fields_are_read_as_h2_writes_them_and_by_h2_as_they_were_written() {
    for table_len in [4096, 0, 100, 65536] {
        let mut random = Random::new(table_len.into());
        let (near, far) = pipe_of_pieces(7, 500);
        let client = h2::client::Builder::new()
            .header_table_size(table_len)
            .clone();
        let mut client = H2Client::new(near, &client).await;
        let mut server = Server::new(far, CONFIG);
        for _ in 0..60 {
            let [there, back, end, last] = [(); 4].map(|()| fields(&mut random));
            let (response, mut send) = client.open(post(there.clone())).await;
            send.send_trailers(end.clone()).unwrap();
            let (request, respond) = server.arrival().await;
            let (head, mut recv) = request.into_parts();
            assert_is_post(&head, &there);
            assert_eq!(read_all(&mut recv).await.unwrap(), b"");
            assert_eq!(recv.trailers(), Some(end));
            let mut send = respond.answer(&teapot(back.clone())).unwrap();
            send.finish_with(&last).unwrap();
            let (head, mut recv) = soon(response).await.unwrap().into_parts();
            assert_eq!((head.status, head.headers), (StatusCode::IM_A_TEAPOT, back));
            let (body, trailers) = h2_read_all(&mut recv).await.unwrap();
            assert_eq!((&body[..], trailers), (&b""[..], Some(last)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_fields_are_answered_by_h2_and_read() {
    for table_len in [4096, 0, 100, 65536] {
        let mut random = Random::new(table_len.into());
        let (near, far) = pipe_of_pieces(8, 500);
        let client = Client::new(near, CONFIG);
        let builder = h2::server::Builder::new()
            .header_table_size(table_len)
            .clone();
        let mut server = H2Server::new(far, &builder);
        for _ in 0..60 {
            let [there, back, end, last] = [(); 4].map(|()| fields(&mut random));
            let (answer, mut send) = client.requests.open(&post(there.clone())).unwrap();
            send.finish_with(&end).unwrap();
            let (request, mut respond) = server.arrival().await;
            let (head, mut recv) = request.into_parts();
            assert_is_post(&head, &there);
            let (body, trailers) = h2_read_all(&mut recv).await.unwrap();
            assert_eq!((&body[..], trailers), (&b""[..], Some(end)));
            let mut h2_send = respond.send_response(teapot(back.clone()), false).unwrap();
            h2_send.send_trailers(last.clone()).unwrap();
            let (head, mut recv) = soon(answer).await.unwrap().into_parts();
            assert_eq!((head.status, head.headers), (StatusCode::IM_A_TEAPOT, back));
            assert_eq!(read_all(&mut recv).await.unwrap(), b"");
            assert_eq!(recv.trailers(), Some(last));
            drop(send);
        }
        client.finished().await;
        soon(server.end).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn connect_has_an_authority_and_nothing_else() {
    let (near, far) = pipe(1000);
    let mut client = H2Client::new(near, &h2::client::Builder::new()).await;
    let mut server = Server::new(far, CONFIG);
    let (_response, _send) = client.open(connect("home.example:443")).await;
    let (request, _respond) = server.arrival().await;
    assert_eq!(request.method(), Method::CONNECT);
    assert_eq!(*request.uri(), "home.example:443");

    let (near, far) = pipe(1000);
    let client = Client::new(near, CONFIG);
    let mut server = H2Server::new(far, &h2::server::Builder::new());
    let _opened = client.open();
    let (request, _respond) = server.arrival().await;
    assert_eq!(request.method(), Method::CONNECT);
    assert_eq!(*request.uri(), "home.example:443");
    assert!(request.uri().scheme().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_head_of_many_frames_is_read_as_one() {
    let config = Config {
        header_list_len: 200_000,
        ..CONFIG
    };
    let (near, far) = pipe_of_pieces(9, 5000);
    let mut client = H2Client::new(near, &h2::client::Builder::new()).await;
    let mut server = Server::new(far, config);
    let mut long = HeaderMap::new();
    for number in 0..20 {
        let name: HeaderName = format!("x-long-{number}").parse().unwrap();
        // Neither shorter nor longer in Huffman's code.
        long.insert(name, HeaderValue::from_bytes(&[b'&'; 4000]).unwrap());
    }
    for _ in 0..2 {
        let _opened = client.open(post(long.clone())).await;
        let (request, _respond) = server.arrival().await;
        assert_eq!(*request.headers(), long);
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_the_head_that_counts_is_passed_over() {
    let (near, far) = pipe(1000);
    let client = Client::new(near, CONFIG);
    let mut server = H2Server::new(far, &h2::server::Builder::new());
    let (answer, _send) = client.open();
    let (_request, mut respond) = server.arrival().await;
    for _ in 0..2 {
        let mut early = Response::new(());
        *early.status_mut() = StatusCode::EARLY_HINTS;
        respond.send_informational(early).unwrap();
    }
    let _h2_send = respond.send_response(teapot(HeaderMap::new()), true);
    let answer = soon(answer).await.unwrap();
    assert_eq!(answer.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(read_all(&mut answer.into_body()).await.unwrap(), b"");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_cannot_be_sent_is_refused_and_all_goes_on() {
    let (client, mut server) = ours(1000, CONFIG);
    let mut long = HeaderMap::new();
    long.insert("x-long", HeaderValue::from_bytes(&[b'x'; 16_384]).unwrap());
    let opened = client.requests.open(&post(long.clone()));
    assert!(matches!(opened, Err(Error::Head)));
    let opened = client.requests.open(&connect("/"));
    assert!(matches!(opened, Err(Error::Head)), "without an authority");

    let (answer, mut send) = client.open();
    assert!(matches!(send.finish_with(&long), Err(Error::Head)));
    send.finish(b"fine"[..].into()).unwrap();
    let (request, respond) = server.arrival().await;
    let body = read_all(&mut request.into_body()).await;
    assert_eq!(body.unwrap(), b"fine");
    let answered = respond.answer(&teapot(long));
    assert!(matches!(answered, Err(Error::Head)));
    // Nobody can answer it any more.
    let error = soon(answer).await.unwrap_err();
    assert!(error.is_reset() && error.is_remote(), "{error}");
    stream_goes_on(&client, &mut server).await;
}

async fn stream_goes_on(client: &Client, server: &mut Server) {
    let ((_recv, mut send), (mut far_recv, _far_send)) = super::peers::stream(client, server).await;
    send.finish(b"on"[..].into()).unwrap();
    assert_eq!(read_all(&mut far_recv).await.unwrap(), b"on");
}

/// As long as a frame that every peer takes, and with a table size update before it.
#[tokio::test(start_paused = true)]
async fn the_longest_head_fits_for_a_peer_without_a_table() {
    let (near, far) = pipe(100_000);
    let builder = h2::client::Builder::new()
        .header_table_size(0)
        .max_header_list_size(100_000)
        .clone();
    let mut client = H2Client::new(near, &builder).await;
    let mut server = Server::new(far, CONFIG);
    let (response, _send) = client.open(connect("home.example:443")).await;
    let (_request, respond) = server.arrival().await;
    let long = |len| {
        let mut map = HeaderMap::new();
        map.insert("x", HeaderValue::from_bytes(&vec![b'x'; len]).unwrap());
        map
    };
    // A status, and a literal whose name and value have lengths of 1 and 3 bytes.
    let around = 5 + 1 + 1 + 1 + 3;
    let len = 16_384 - 1 - around;
    let too_long = crate::head::response(&teapot(long(len + 1)));
    assert!(matches!(too_long, Err(Error::Head)));
    let _send = respond.answer(&teapot(long(len))).unwrap();
    let response = soon(response).await.unwrap();
    assert_eq!(response.headers()["x"].len(), len);
}

/// RFC 7541 section 4.2: it would have to make room for more otherwise.
#[tokio::test(start_paused = true)]
async fn a_peer_with_a_smaller_table_is_told_that_none_is_used() {
    const HEADER_TABLE_SIZE: u16 = 1;
    const NO_TABLE: u8 = 0x20;
    for (len, is_told) in [(4096, false), (4095, true), (0, true), (65_536, false)] {
        let (near, far) = pipe(10_000);
        let mut server = Server::new(far, CONFIG);
        let mut raw = Raw::client(near).await;
        raw.say(&setting(HEADER_TABLE_SIZE, len)).await;
        raw.say(&headers(0, 1, POST)).await;
        let (_recv, mut send) = server.accepted().await;
        send.finish_with(&HeaderMap::new()).unwrap();
        for block in [OK, &[]] {
            let expected = if is_told {
                [&[NO_TABLE], block].concat()
            } else {
                block.to_vec()
            };
            assert_eq!(raw.hear_of(HEADERS).await.payload, expected, "{len}");
        }
    }
}
