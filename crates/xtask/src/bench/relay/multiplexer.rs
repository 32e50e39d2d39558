//! A bare multiplexer, as a floor: what a relay and a home cost at least that carry many visitors over
//! one connection. It has no handshake, no rules, no limits and no other runtime than epoll; what all
//! visitors that are ready have sent leaves in one write. It may encrypt that as a tunnel has to, in
//! place and without a copy.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use serde::{Deserialize, Serialize};

use super::process::Process;
use super::way::{Ground, Parts};
use crate::bench::peer::free_port;

/// The tunnel is written as soon as so much is there.
const WRITE_LEN: usize = 64 * 1024;
/// Less than that waits a little for others.
const SMALL_LEN: usize = 16 * 1024;
/// For what comes from the tunnel, and for what goes there.
const BUFFER_LEN: usize = 256 * 1024;
const N_EVENTS: usize = 256;
/// A record's head: how many bytes follow.
const RECORD_HEAD_LEN: usize = 4;
/// As many bytes of frames as TLS has in a record.
const RECORD_MAX: usize = 16 * 1024;
/// A frame's head: the connection's number and how many bytes follow. None of them is its end.
const HEAD_LEN: usize = 8;
/// What epoll calls the two that are no visitors.
const TUNNEL: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// One of its two processes.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct End {
    is_sealed: bool,
    tunnel: SocketAddr,
    side: Side,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Side {
    Relay { visitors: SocketAddr },
    Home { server: SocketAddr },
}

/// Starts both.
pub(crate) fn open(ground: &Ground<'_>, folder: &Path, is_sealed: bool) -> Result<Parts> {
    let (relay_place, home_place) = (&ground.site.relay, &ground.site.home);
    let visitors = relay_place.address(free_port()?);
    let tunnel = relay_place.address(free_port()?);
    let end = |side| End {
        is_sealed,
        tunnel,
        side,
    };
    let mut relay = relay_place.role("relay-multiplexer", &end(Side::Relay { visitors }))?;
    let server = ground.backend;
    let mut home = home_place.role("relay-multiplexer", &end(Side::Home { server }))?;
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
    let (tunnel, listener) = match end.side {
        Side::Relay { visitors } => {
            let listener = TcpListener::bind(visitors).context("listen for visitors")?;
            let home = TcpListener::bind(end.tunnel)
                .context("listen for home")?
                .accept();
            (home.context("accept home")?.0, Some(listener))
        }
        Side::Home { .. } => loop {
            if let Ok(tunnel) = TcpStream::connect(end.tunnel) {
                break (tunnel, None);
            }
        },
    };
    tunnel.set_nodelay(true).context("set TCP_NODELAY")?;
    let epoll = epoll::create(CreateFlags::CLOEXEC).context("make an epoll")?;
    let multiplexer = Multiplexer {
        side: end.side,
        epoll,
        tunnel,
        listener,
        next: 0,
        connections: HashMap::new(),
        outgoing: Outgoing::new(Cipher::new(end.is_sealed)?),
        incoming: Some(vec![0; BUFFER_LEN].into()),
        n_incoming: 0,
        cipher: Cipher::new(end.is_sealed)?,
    };
    multiplexer.run()
}

/// All of its sockets block: none is read but when there is something, and what is written is taken
/// soon.
struct Multiplexer {
    side: Side,
    epoll: OwnedFd,
    tunnel: TcpStream,
    listener: Option<TcpListener>,
    /// The number of the next connection.
    next: u32,
    connections: HashMap<u32, TcpStream>,
    outgoing: Outgoing,
    /// From the tunnel, but not while it is delivered.
    incoming: Option<Box<[u8]>>,
    /// So much of that is there: the beginning of a record, between turns.
    n_incoming: usize,
    /// Of what comes.
    cipher: Cipher,
}

impl Multiplexer {
    fn run(mut self) -> Result<()> {
        watch(&self.epoll, &self.tunnel, TUNNEL)?;
        if let Some(listener) = &self.listener {
            watch(&self.epoll, listener, LISTENER)?;
        }
        let mut events = Vec::with_capacity(N_EVENTS);
        while self.turn(&mut events, None)? {
            // Others who are about to be ready have their part of the same write.
            let now = Timespec::default();
            while self.outgoing.is_small() {
                let before = self.outgoing.len();
                std::thread::yield_now();
                if !self.turn(&mut events, Some(&now))? {
                    return Ok(());
                }
                if self.outgoing.len() == before {
                    break;
                }
            }
            self.outgoing.send(&mut self.tunnel)?;
        }
        Ok(())
    }

    /// Does all that can be done; says whether there is still a tunnel.
    fn turn(&mut self, events: &mut Vec<epoll::Event>, wait: Option<&Timespec>) -> Result<bool> {
        events.clear();
        let spare = rustix::buffer::spare_capacity(events);
        epoll::wait(&self.epoll, spare, wait).context("wait")?;
        for event in events {
            match event.data.u64() {
                TUNNEL => {
                    if !self.deliver()? {
                        return Ok(false);
                    }
                }
                LISTENER => self.accept()?,
                number => {
                    self.take(u32::try_from(number).context("an unknown event")?)?;
                    if self.outgoing.is_full() {
                        self.outgoing.send(&mut self.tunnel)?;
                    }
                }
            }
        }
        Ok(true)
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

    /// Puts into frames what a connection has sent.
    fn take(&mut self, number: u32) -> Result<()> {
        let Some(connection) = self.connections.get_mut(&number) else {
            return Ok(());
        };
        loop {
            let (n, was_filled) = self.outgoing.read(number, connection)?;
            if n == 0 {
                self.connections.remove(&number);
                return Ok(());
            }
            if !was_filled || self.outgoing.is_full() {
                return Ok(());
            }
        }
    }

    /// Writes what the tunnel brings to the connections that it is for; says whether there was anything.
    fn deliver(&mut self) -> Result<bool> {
        let mut incoming = self.incoming.take().context("within a delivery")?;
        let n = self.tunnel.read(&mut incoming[self.n_incoming..]);
        let n = n.context("read the tunnel")?;
        let n_all = self.n_incoming + n;
        let mut n_done = 0;
        while let Some((head, behind)) = incoming[n_done..n_all].split_first_chunk_mut() {
            let len = usize::try_from(u32::from_be_bytes(*head)).context("a record too long")?;
            let Some(record) = behind.get_mut(..len) else {
                break;
            };
            n_done += RECORD_HEAD_LEN + len;
            let mut left = self.cipher.open(record)?;
            while let Some((head, behind)) = left.split_first_chunk::<HEAD_LEN>() {
                let [a, b, c, d, len @ ..] = *head;
                let number = u32::from_be_bytes([a, b, c, d]);
                let len = usize::try_from(u32::from_be_bytes(len)).context("a frame too long")?;
                let (bytes, behind) = behind.split_at_checked(len).context("a frame cut off")?;
                left = behind;
                self.arrived(number, bytes)?;
            }
        }
        incoming.copy_within(n_done..n_all, 0);
        self.n_incoming = n_all - n_done;
        self.incoming = Some(incoming);
        Ok(n > 0)
    }

    fn arrived(&mut self, number: u32, bytes: &[u8]) -> Result<()> {
        if let Side::Home { server } = self.side
            && number >= self.next
        {
            self.next = number + 1;
            let connection = TcpStream::connect(server).context("connect the server")?;
            self.enter(number, connection)?;
        }
        if bytes.is_empty() {
            self.connections.remove(&number);
        } else if let Some(connection) = self.connections.get_mut(&number) {
            // One that is gone stays until epoll says so, for then the other end is told.
            let _ = connection.write_all(bytes);
        }
        Ok(())
    }
}

/// For the tunnel, at the end of the turn.
struct Outgoing {
    cipher: Cipher,
    buffer: Box<[u8]>,
    /// So much of it is used, by whole records and one that is not full.
    len: usize,
    /// Where that one begins.
    record: usize,
}

impl Outgoing {
    fn new(cipher: Cipher) -> Self {
        Self {
            cipher,
            buffer: vec![0; BUFFER_LEN].into(),
            len: RECORD_HEAD_LEN,
            record: 0,
        }
    }

    /// Reads a connection into a frame; says how many bytes, and whether that was all there was room
    /// for.
    fn read(&mut self, number: u32, connection: &mut TcpStream) -> Result<(usize, bool)> {
        let end = self.record + RECORD_HEAD_LEN + RECORD_MAX;
        let begin = self.len + HEAD_LEN;
        let room = &mut self.buffer[begin..end];
        let n = connection.read(room).unwrap_or(0);
        let was_filled = n == room.len();
        let head = &mut self.buffer[self.len..begin];
        head[..4].copy_from_slice(&number.to_be_bytes());
        let len = u32::try_from(n).context("a frame too long")?;
        head[4..].copy_from_slice(&len.to_be_bytes());
        self.len = begin + n;
        if end - self.len <= HEAD_LEN {
            self.end_record()?;
        }
        Ok((n, was_filled))
    }

    fn end_record(&mut self) -> Result<()> {
        let (head, rest) = self.buffer[self.record..].split_at_mut(RECORD_HEAD_LEN);
        let len = self.len - self.record - RECORD_HEAD_LEN;
        let len = self.cipher.seal(rest, len)?;
        head.copy_from_slice(
            &u32::try_from(len)
                .context("a record too long")?
                .to_be_bytes(),
        );
        self.record += RECORD_HEAD_LEN + len;
        self.len = self.record + RECORD_HEAD_LEN;
        Ok(())
    }

    fn len(&self) -> usize {
        self.len - RECORD_HEAD_LEN
    }

    fn is_small(&self) -> bool {
        (1..SMALL_LEN).contains(&self.len())
    }

    fn is_full(&self) -> bool {
        self.record >= WRITE_LEN
    }

    fn send(&mut self, tunnel: &mut TcpStream) -> Result<()> {
        if self.len > self.record + RECORD_HEAD_LEN {
            self.end_record()?;
        }
        if self.record > 0 {
            let sent = tunnel.write_all(&self.buffer[..self.record]);
            sent.context("write the tunnel")?;
        }
        self.record = 0;
        self.len = RECORD_HEAD_LEN;
        Ok(())
    }
}

/// AES-128-GCM, as a tunnel has it, by a key that all know; or nothing.
struct Cipher {
    key: Option<LessSafeKey>,
    n_records: u64,
}

impl Cipher {
    fn new(is_sealed: bool) -> Result<Self> {
        let key = is_sealed.then(|| UnboundKey::new(&AES_128_GCM, &[7; 16]));
        let key = key.transpose().map_err(|_| anyhow!("no key"))?;
        Ok(Self {
            key: key.map(LessSafeKey::new),
            n_records: 0,
        })
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.n_records.to_be_bytes());
        self.n_records += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts the first `len` bytes in place; says how many they are then.
    fn seal(&mut self, buffer: &mut [u8], len: usize) -> Result<usize> {
        let nonce = self.nonce();
        let Some(key) = &self.key else {
            return Ok(len);
        };
        let (bytes, behind) = buffer.split_at_mut(len);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), bytes);
        let tag = tag.map_err(|_| anyhow!("a record cannot be sealed"))?;
        behind[..tag.as_ref().len()].copy_from_slice(tag.as_ref());
        Ok(len + tag.as_ref().len())
    }

    fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<&'a [u8]> {
        let nonce = self.nonce();
        let Some(key) = &self.key else {
            return Ok(record);
        };
        let opened = key.open_in_place(nonce, Aad::empty(), record);
        Ok(opened.map_err(|_| anyhow!("a record cannot be opened"))?)
    }
}

fn watch(epoll: &OwnedFd, socket: impl AsFd, name: u64) -> Result<()> {
    let data = EventData::new_u64(name);
    epoll::add(epoll, socket, data, EventFlags::IN).context("watch a socket")
}
