//! A bare multiplexer, as a floor: what a relay and a home cost at least that carry many visitors over
//! one connection. It has no TLS, no rules, no limits and no other runtime than epoll; what all
//! visitors that are ready have sent leaves in one write.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use serde::{Deserialize, Serialize};

use super::process::Process;
use super::way::{Ground, Parts};
use crate::bench::peer::free_port;

/// What is read at once of a visitor or the server, and of the tunnel.
const READ_LEN: usize = 16 * 1024;
const TUNNEL_READ_LEN: usize = 256 * 1024;
const N_EVENTS: usize = 256;
/// A frame's head: the connection's number and how many bytes follow. None of them is its end.
const HEAD_LEN: usize = 8;
/// What epoll calls the two that are no visitors.
const TUNNEL: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// One of its two processes.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum End {
    Relay {
        visitors: SocketAddr,
        tunnel: SocketAddr,
    },
    Home {
        tunnel: SocketAddr,
        server: SocketAddr,
    },
}

/// Starts both.
pub(crate) fn open(ground: &Ground<'_>, folder: &Path) -> Result<Parts> {
    let (relay_place, home_place) = (&ground.site.relay, &ground.site.home);
    let visitors = relay_place.address(free_port()?);
    let tunnel = relay_place.address(free_port()?);
    let mut relay = relay_place.role("relay-multiplexer", &End::Relay { visitors, tunnel })?;
    let server = ground.backend;
    let mut home = home_place.role("relay-multiplexer", &End::Home { tunnel, server })?;
    Ok(Parts {
        address: visitors,
        relay: vec![Process::start(
            "relay",
            relay.stdout(Stdio::null()),
            folder,
        )?],
        home: vec![Process::start("home", home.stdout(Stdio::null()), folder)?],
    })
}

/// Is one of them, until it is killed or the other one ends.
pub(crate) fn run(end: End) -> Result<()> {
    let (tunnel, listener) = match end {
        End::Relay { visitors, tunnel } => {
            let listener = TcpListener::bind(visitors).context("listen for visitors")?;
            let home = TcpListener::bind(tunnel)
                .context("listen for home")?
                .accept();
            (home.context("accept home")?.0, Some(listener))
        }
        End::Home { tunnel, .. } => loop {
            if let Ok(tunnel) = TcpStream::connect(tunnel) {
                break (tunnel, None);
            }
        },
    };
    tunnel.set_nodelay(true).context("set TCP_NODELAY")?;
    let epoll = epoll::create(CreateFlags::CLOEXEC).context("make an epoll")?;
    let multiplexer = Multiplexer {
        end,
        epoll,
        tunnel,
        listener,
        next: 0,
        connections: HashMap::new(),
        outgoing: Vec::new(),
        incoming: Vec::new(),
    };
    multiplexer.run()
}

/// All of its sockets block: none is read but when there is something, and what is written is little.
struct Multiplexer {
    end: End,
    epoll: OwnedFd,
    tunnel: TcpStream,
    listener: Option<TcpListener>,
    /// The number of the next connection.
    next: u32,
    connections: HashMap<u32, TcpStream>,
    /// For the tunnel, at the end of the turn.
    outgoing: Vec<u8>,
    /// From the tunnel; what is left is the beginning of a frame.
    incoming: Vec<u8>,
}

impl Multiplexer {
    fn run(mut self) -> Result<()> {
        watch(&self.epoll, &self.tunnel, TUNNEL)?;
        if let Some(listener) = &self.listener {
            watch(&self.epoll, listener, LISTENER)?;
        }
        let mut buffer = vec![0; TUNNEL_READ_LEN];
        let mut events = Vec::with_capacity(N_EVENTS);
        loop {
            events.clear();
            epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                None,
            )
            .context("wait")?;
            for event in &events {
                match event.data.u64() {
                    TUNNEL => {
                        let n = self.tunnel.read(&mut buffer).context("read the tunnel")?;
                        if n == 0 {
                            return Ok(());
                        }
                        self.incoming.extend_from_slice(&buffer[..n]);
                        self.deliver()?;
                    }
                    LISTENER => self.accept()?,
                    number => {
                        let number = u32::try_from(number).context("an unknown event")?;
                        self.take(number, &mut buffer[..READ_LEN]);
                    }
                }
            }
            if !self.outgoing.is_empty() {
                self.tunnel
                    .write_all(&self.outgoing)
                    .context("write the tunnel")?;
                self.outgoing.clear();
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        if let Some(listener) = &self.listener {
            let (visitor, _) = listener.accept().context("accept a visitor")?;
            let number = self.next;
            self.next += 1;
            self.enter(number, visitor)?;
        }
        Ok(())
    }

    fn enter(&mut self, number: u32, connection: TcpStream) -> Result<()> {
        connection.set_nodelay(true).context("set TCP_NODELAY")?;
        watch(&self.epoll, &connection, number.into())?;
        self.connections.insert(number, connection);
        Ok(())
    }

    /// Puts into a frame what a connection has sent.
    fn take(&mut self, number: u32, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let n = connection.read(buffer).unwrap_or(0);
        if n == 0 {
            self.connections.remove(&number);
        }
        let len = u32::try_from(n).unwrap_or(u32::MAX);
        self.outgoing.extend_from_slice(&number.to_be_bytes());
        self.outgoing.extend_from_slice(&len.to_be_bytes());
        self.outgoing.extend_from_slice(&buffer[..n]);
    }

    /// Writes what frames bring to the connections that they are for.
    fn deliver(&mut self) -> Result<()> {
        let incoming = std::mem::take(&mut self.incoming);
        let mut left = incoming.as_slice();
        while let Some((head, behind)) = left.split_first_chunk::<HEAD_LEN>() {
            let [a, b, c, d, len @ ..] = *head;
            let number = u32::from_be_bytes([a, b, c, d]);
            let len = usize::try_from(u32::from_be_bytes(len)).context("a frame too long")?;
            let Some((bytes, behind)) = behind.split_at_checked(len) else {
                break;
            };
            left = behind;
            if let End::Home { server, .. } = self.end
                && number >= self.next
            {
                self.next = number + 1;
                let connection = TcpStream::connect(server).context("connect the server")?;
                self.enter(number, connection)?;
            }
            if bytes.is_empty() {
                self.connections.remove(&number);
            } else if let Some(connection) = self.connections.get_mut(&number)
                && connection.write_all(bytes).is_err()
            {
                self.connections.remove(&number);
            }
        }
        self.incoming = left.to_vec();
        Ok(())
    }
}

fn watch(epoll: &OwnedFd, socket: impl AsFd, name: u64) -> Result<()> {
    let data = EventData::new_u64(name);
    epoll::add(epoll, socket, data, EventFlags::IN).context("watch a socket")
}
