//! The attackers' own home, which the relay knows and which serves nobody.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use cloudless_proto::control::{self, FromRelay};
use cloudless_proto::leg::Ticket;
use cloudless_proto::lines::Decoder;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::attacker::{Attack, Target};
use super::home::{self, Tunnel};

const TICKETS_MAX: usize = 1_000;

/// Tickets of legs that were offered and not shown yet.
#[derive(Default)]
pub(super) struct Offered(Mutex<VecDeque<Ticket>>);

impl Offered {
    pub(super) fn next(&self) -> Option<Ticket> {
        self.lock().pop_front()
    }

    fn add(&self, ticket: Ticket) {
        let mut tickets = self.lock();
        if tickets.len() < TICKETS_MAX {
            tickets.push_back(ticket);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a tunnel up for the attack, and returns only why it is lost. The listener that does nothing
/// never welcomes it.
pub(super) async fn serve(
    target: &Target,
    key: &Arc<CertifiedKey>,
    offered: &Offered,
) -> Result<Infallible> {
    let stream = TcpStream::connect(target.address)
        .await
        .context("connect")?;
    let tunnel = home::dial_over(stream, &target.server_name, key).await?;
    match target.attack {
        // Not even the socket is read any more.
        Attack::DeafHome => pending().await,
        Attack::Legs => take_offers(tunnel, offered).await,
        _ => reset(tunnel).await,
    }
}

async fn reset((mut connection, _streams): Tunnel) -> Result<Infallible> {
    loop {
        let arrival = connection.accept().await.context("the tunnel ended")?;
        let (_, mut respond) = arrival.context("the tunnel broke")?;
        respond.send_reset(Reason::CANCEL);
    }
}

/// Takes what visitors send, so that legs are offered for them; never goes on on one.
async fn take_offers((mut connection, streams): Tunnel, offered: &Offered) -> Result<Infallible> {
    let (_send, control) = streams;
    let mut visitors = JoinSet::new();
    let mut offers = Box::pin(read_offers(control, offered));
    loop {
        tokio::select! {
            arrival = connection.accept() => {
                let arrival = arrival.context("the tunnel ended")?;
                let (request, mut respond) = arrival.context("the tunnel broke")?;
                // Some have gone already.
                if let Ok(answer) = respond.send_response(Response::new(()), false) {
                    visitors.spawn(take_all(request.into_body(), answer));
                }
            }
            ended = &mut offers => return ended,
            Some(_) = visitors.join_next() => {}
        }
    }
}

/// The answer's stream stays open as long as the visitor, who may have gone on on a leg: to drop it
/// before would reset it.
async fn take_all(mut body: RecvStream, mut answer: SendStream<Bytes>) {
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
    }
    let _ = poll_fn(|cx| answer.poll_reset(cx)).await;
}

async fn read_offers(mut control: RecvStream, offered: &Offered) -> Result<Infallible> {
    let mut decoder = Decoder::new(control::MAX_LINE);
    loop {
        while let Some(line) = decoder.next_line().context("a line without an end")? {
            let message = control::decode(&line).context("read a message")?;
            if let Some(FromRelay::Leg { number, token, .. }) = message {
                offered.add(Ticket { number, token });
            }
        }
        let data = control.data().await.context("the control stream ended")?;
        let data = data.context("read the control stream")?;
        decoder.push(&data);
        let flow_control = control.flow_control();
        flow_control.release_capacity(data.len()).context("flow")?;
    }
}
