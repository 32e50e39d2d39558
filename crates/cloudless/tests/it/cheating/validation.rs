//! What an authority is answered goes through the tunnel, whose ends are proven, and never over a leg,
//! where somebody between home and relay could answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloudless_proto::control::FromRelay;
use cloudless_proto::leg::{self, PREFACE_LEN, Ticket, Token};
use http::HeaderMap;
use rustls::ClientConnection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::impostor::Impostor;
use super::impostor::visitor::pipe;
use crate::acme::front::{Front, Tricks};
use crate::acme::pebble::{self, Pebble, Settings};
use crate::client;
use crate::pair::HOSTNAME;

const PATIENCE: Duration = Duration::from_secs(60);

/// The ClientHello of an authority that comes to validate.
fn hello(impostor: &Impostor) -> Vec<u8> {
    let mut tls = client::tls(&impostor.pair.ca_file());
    tls.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let name = HOSTNAME.try_into().unwrap();
    let mut hello = Vec::new();
    let mut connection = ClientConnection::new(Arc::new(tls), name).unwrap();
    connection.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validation_that_the_relay_puts_on_a_leg_is_not_answered() {
    if !pebble::is_installed() {
        return;
    }
    let pebble = Pebble::start(&Settings {
        https: pebble::free_port().port(),
        http: pebble::free_port().port(),
        nonces_refused: 0,
        external: None,
        validity_s: None,
    });
    // Home's order is under way all the time, and home has an answer.
    let holds = Tricks {
        holds: true,
        ..Tricks::default()
    };
    let front = Front::start(&pebble, holds);
    let acme = format!(
        "[hostname.\"{HOSTNAME}\"]\ncertificate = \"acme\"\ntrust = \"honest-relay\"\n\
         [acme]\ndirectory = \"{}\"\nroot_ca_file = \"{}\"\n",
        front.directory(),
        front.ca_file().display(),
    );
    let mut impostor = Impostor::configured(HOSTNAME, &acme).await;
    front.await_held().await;
    let hello = hello(&impostor);

    // Through the tunnel there is an answer.
    let mut stream = pipe(impostor.session.connect(HOSTNAME).await);
    stream.write_all(&hello).await.unwrap();
    let mut first = [0; 1];
    let answered = timeout(PATIENCE, stream.read_exact(&mut first)).await;
    answered.expect("an answer").unwrap();
    assert_eq!(first, [22], "a ServerHello");
    drop(stream);

    // Over a leg there is none.
    let (mut send, mut recv) = impostor.session.connect(HOSTNAME).await;
    let stream = send.stream_id().as_u32();
    let ticket = Ticket {
        number: 7,
        token: Token::new([7; 16]),
    };
    let (number, token) = (ticket.number, ticket.token.clone());
    impostor.session.say(&FromRelay::Leg {
        stream,
        number,
        token,
    });
    let made = timeout(PATIENCE, impostor.relay.ignore_one());
    let mut on_leg = made.await.expect("home makes the leg");
    let mut preface = [0; PREFACE_LEN];
    on_leg.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, ticket.preface());
    impostor
        .session
        .say(&FromRelay::LegReady { stream, number });
    let mut trailer = HeaderMap::new();
    let value = leg::trailer(number).parse().unwrap();
    trailer.insert(leg::TRAILER, value);
    send.send_data(Bytes::new(), false).unwrap();
    send.send_trailers(trailer).unwrap();
    on_leg.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    while let Some(chunk) = timeout(PATIENCE, recv.data()).await.expect("an end") {
        let Ok(chunk) = chunk else { break };
        answer.extend(chunk);
    }
    assert_eq!(answer, b"", "an answer in the tunnel");
    // Nor does home's side go on on the leg.
    assert!(matches!(recv.trailers().await, Ok(None) | Err(_)));
    drop(front);
}
