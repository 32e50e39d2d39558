//! Visitors who begin requests and end none: a server is there for the others all the same.

use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, RecvStream, SendStream};
use http::Request;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::*;

/// As many requests at a time as one connection may have, and as a server gets.
const STREAMS: usize = 64;
const PLACES: usize = 256;
/// The two addresses of one host.
const HOSTILE: [&str; 2] = ["192.0.2.66:6666", "[2001:db8::66]:6666"];
const HONEST: &str = "198.51.100.7:7777";
/// After this a visitor that does nothing makes room.
const SHORT: Duration = Duration::from_millis(300);

/// A connection over HTTP/2 that allows no byte of an answer.
struct Closed {
    requests: SendRequest<Bytes>,
    pings: PingPong,
    driver: JoinHandle<Result<(), h2::Error>>,
}

impl Closed {
    async fn connect(behind: &Behind) -> Self {
        let stream = behind.connect(b"h2").await;
        let mut builder = Builder::new();
        let handshake = builder.initial_window_size(0).handshake(stream);
        let (requests, mut connection) = handshake.await.unwrap();
        let pings = connection.ping_pong().unwrap();
        Self {
            requests,
            pings,
            driver: tokio::spawn(connection),
        }
    }

    async fn ask(&mut self, method: &str, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        self.requests = self.requests.clone().ready().await.unwrap();
        let request = Request::builder().method(method);
        let request = request.uri(format!("https://{HOST}{path}")).body(());
        let is_end = method == "GET";
        self.requests
            .send_request(request.unwrap(), is_end)
            .unwrap()
    }

    async fn get(&mut self, path: &str) -> RecvStream {
        let (answer, _) = self.ask("GET", path).await;
        let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body()
    }
}

/// Four connections of one host, and as many answers as a server gives at a time.
async fn hold(behind: &mut Behind, path: &str) -> Vec<(Closed, Vec<RecvStream>)> {
    let mut held = Vec::new();
    for address in HOSTILE {
        behind.session.visitor = Some(address);
        for _ in 0..PLACES / HOSTILE.len() / STREAMS {
            let mut connection = Closed::connect(behind).await;
            let mut bodies = Vec::new();
            for _ in 0..STREAMS {
                bodies.push(connection.get(path).await);
            }
            held.push((connection, bodies));
        }
    }
    behind.session.visitor = Some(HONEST);
    held
}

/// Answers what is asked for below `/large` with its first part; the receiver hears of each
/// connection that ends then.
fn answer_in_part(listener: TcpListener) -> mpsc::Receiver<()> {
    let (ended, ends) = mpsc::channel(PLACES);
    tokio::spawn(async move {
        while let Ok((mut server, _)) = listener.accept().await {
            let ended = ended.clone();
            tokio::spawn(async move {
                let asked = head(&mut server).await;
                if !asked.contains("/large") {
                    let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    return server.write_all(whole).await.unwrap();
                }
                let length = 1_000_000;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                let part = [head.as_bytes(), &[7; 20_000]].concat();
                server.write_all(&part).await.unwrap();
                // However it ends.
                let _ = server.read_to_end(&mut Vec::new()).await;
                let _ = ended.try_send(());
            });
        }
    });
    ends
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn answers_that_nobody_takes_keep_a_server_from_nobody() {
    let server = FakeServer::fine().await;
    let mut behind = Behind::start(server.place(), |_| {}).await;
    let held = hold(&mut behind, "/up/x").await;
    let answer = behind.get("/up/x").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(behind.status().await.requests_now, 0);
    drop(held);
}

#[tokio::test]
async fn long_answers_that_nobody_takes_are_cut_when_others_wait() {
    let short = |upstream: &mut Upstream| upstream.timeouts.idle = SHORT;
    let (mut behind, listener) = Behind::start_listening(short).await;
    let mut ends = answer_in_part(listener);
    let held = hold(&mut behind, "/up/large").await;
    assert_eq!(behind.status().await.requests_now, PLACES);
    ends.try_recv().expect_err("nobody has waited yet");
    let answer = behind.get("/up/x").await;
    assert_eq!(answer.status(), 200);
    // The visitor that is cut has not moved: the server is rid of it all the same.
    timeout(PATIENCE, ends.recv()).await.unwrap().unwrap();
    drop(held);
}

#[tokio::test]
async fn requests_that_come_in_drops_are_cut_when_others_wait() {
    let short = |upstream: &mut Upstream| upstream.timeouts.idle = SHORT;
    let (mut behind, listener) = Behind::start_listening(short).await;
    let _ends = answer_in_part(listener);
    let (mut connections, mut answers, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for address in HOSTILE {
        behind.session.visitor = Some(address);
        for _ in 0..PLACES / HOSTILE.len() / STREAMS {
            let mut connection = Closed::connect(&behind).await;
            for _ in 0..STREAMS {
                let (answer, body) = connection.ask("PUT", "/up/large").await;
                answers.push(answer);
                bodies.push(body);
            }
            connections.push(connection);
        }
    }
    // One byte in less time than they may be silent.
    let dripping = tokio::spawn(async move {
        let mut drops = interval(SHORT / 6);
        loop {
            drops.tick().await;
            for body in &mut bodies {
                // One that was cut is over.
                let _ = body.send_data(Bytes::from_static(b"."), false);
            }
        }
    });
    behind.session.visitor = Some(HONEST);
    assert_eq!(behind.get("/up/x").await.status(), 200);
    dripping.abort();
    drop((connections, answers));
}

#[tokio::test]
async fn pings_do_not_keep_a_connection_whose_answers_nobody_takes() {
    let server = FakeServer::fine().await;
    let idle = |config: &mut cloudless_home::Config| config.timings.idle = SHORT;
    let behind = Behind::start_with(server.place(), |_| {}, idle).await;
    let mut connection = Closed::connect(&behind).await;
    let _body = connection.get("/up/x").await;
    let pinging = async { while connection.pings.ping(Ping::opaque()).await.is_ok() {} };
    timeout(PATIENCE, pinging).await.expect("home ends it");
    let _ = timeout(PATIENCE, connection.driver).await.unwrap();
}

#[tokio::test]
async fn a_silent_server_is_not_held_against_its_visitor() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = UpstreamServer::Http(listener.local_addr().unwrap().to_string());
    let idle = |config: &mut cloudless_home::Config| config.timings.idle = SHORT;
    let behind = Behind::start_with(server, |_| {}, idle).await;
    timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let stream = behind.connect(b"h2").await;
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let get = Request::get(format!("https://{HOST}/up/events")).body(());
    let (answer, _) = requests.send_request(get.unwrap(), true).unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    head(&mut server).await;
    let event = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 0\n\n";
    server.write_all(event.as_bytes()).await.unwrap();
    let mut body = answer.await.unwrap().into_body();
    let first = timeout(PATIENCE, body.data()).await.unwrap().unwrap();
    assert_eq!(first.unwrap(), "data: 0\n\n");
    let silence = timeout(3 * SHORT, body.data()).await;
    silence.expect_err("the server says nothing for longer than anybody else may");
    server.write_all(b"data: 1\n\n").await.unwrap();
    let second = timeout(PATIENCE, body.data()).await.unwrap().unwrap();
    assert_eq!(second.unwrap(), "data: 1\n\n");
    driver.abort();
}
