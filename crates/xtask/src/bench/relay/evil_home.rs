//! The attackers' own home, which the relay knows and which serves nobody.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use cloudless_proto::control::{self, FromRelay};
use cloudless_proto::leg::{Ticket, Token};
use cloudless_proto::lines::Decoder;
use h2::{Reason, RecvStream};
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
    /// The next one, or one of nobody.
    pub(super) fn ticket(&self) -> Ticket {
        self.lock().pop_front().unwrap_or_else(|| Ticket {
            number: 1,
            token: Token::new([7; 16]),
        })
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

/// Keeps a tunnel up for the attack. The listener that does nothing never welcomes it.
pub(super) async fn serve(
    target: &Target,
    key: &Arc<CertifiedKey>,
    offered: &Offered,
) -> Result<()> {
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

async fn reset((mut connection, _streams): Tunnel) -> Result<()> {
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        respond.send_reset(Reason::CANCEL);
    }
    Ok(())
}

/// Takes what visitors send, so that legs are offered for them; never goes on on one.
async fn take_offers((mut connection, streams): Tunnel, offered: &Offered) -> Result<()> {
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

/// The answer's stream stays open as long as the visitor's.
async fn take_all(mut body: RecvStream, _answer: h2::SendStream<Bytes>) {
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
    }
}

async fn read_offers(mut control: RecvStream, offered: &Offered) -> Result<()> {
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
