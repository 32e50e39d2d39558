//! What is done to every TCP socket: its options, and the ways to end it.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// A fatal `internal_error` alert in a TLS record (RFC 8446 section 6).
const INTERNAL_ERROR_ALERT: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 80];

/// Long, because a keepalive wakes a phone's radio.
const KEEPALIVE: Duration = Duration::from_secs(120);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent bytes may stay unacknowledged. Keepalive does not notice those.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// A home whose address is gone has to be missed while its visitors still wait.
const LEG_KEEPALIVE: Duration = Duration::from_secs(10);
const LEG_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const LEG_USER_TIMEOUT: Duration = Duration::from_secs(25);

/// What a tunnel's socket may hold unsent before HTTP/2 has to wait, in bytes.
#[cfg(target_os = "linux")]
const NOT_SENT_LOW_WATER: u32 = 128 * 1024;

const GOODBYE: Duration = Duration::from_secs(2);
const GOODBYE_BYTES_MAX: usize = 64 * 1024;

/// Sets the options that every accepted and every dialed socket needs. What a listener accepts has them
/// from it, where the system passes them on ([`configure_accepted`]).
pub(crate) fn configure(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_nodelay(true)?;
    notice_death(socket, KEEPALIVE, KEEPALIVE_INTERVAL, USER_TIMEOUT)
}

/// The same for a socket of a configured listener: Linux gives it the listener's options, at no cost.
pub(crate) fn configure_accepted(stream: &TcpStream) -> io::Result<()> {
    if cfg!(target_os = "linux") {
        return Ok(());
    }
    configure(stream)
}

/// Changes what [`configure`] has set on a connection that turns out to be a home's leg: its tunnel, which
/// would be missed sooner, does not end its visitor.
pub(crate) fn configure_leg(stream: &TcpStream) -> io::Result<()> {
    notice_death(
        stream,
        LEG_KEEPALIVE,
        LEG_KEEPALIVE_INTERVAL,
        LEG_USER_TIMEOUT,
    )
}

#[cfg_attr(
    not(target_os = "linux"),
    expect(unused_variables, reason = "other systems have no such option")
)]
fn notice_death(
    socket: &impl AsFd,
    silence: Duration,
    interval: Duration,
    user_timeout: Duration,
) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new()
        .with_time(silence)
        .with_interval(interval)
        .with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(user_timeout))?;
    Ok(())
}

/// Sets what a connection to a home needs beside [`configure`]: BBR as its congestion control, where
/// the system lets this process choose it. Most systems' default takes every lost packet for a full
/// path, and most homes are behind Wi-Fi.
#[cfg_attr(
    not(target_os = "linux"),
    expect(unused_variables, reason = "other systems have no such option")
)]
pub(crate) fn prefer_bbr(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(stream).set_tcp_congestion(b"bbr") {
        tracing::debug!(%error, "The system's default congestion control stays: no BBR");
    }
}

/// Keeps a small request from waiting behind megabytes of another visitor's upload that the system
/// has taken and not yet sent.
#[cfg_attr(
    not(target_os = "linux"),
    expect(unused_variables, reason = "other systems have no such option")
)]
pub(crate) fn limit_unsent(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(stream).set_tcp_notsent_lowat(NOT_SENT_LOW_WATER) {
        tracing::debug!(%error, "The system takes as much for a tunnel as it likes");
    }
}

/// Sends FIN and leaves reading open.
pub(crate) fn finish(stream: &TcpStream) -> io::Result<()> {
    match SockRef::from(stream).shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// Whether the peer has closed a connection from which everything was read that had come.
pub(crate) fn has_gone(stream: &TcpStream) -> bool {
    match SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// Closes with a reset, so that the peer does not take what it got for everything.
pub(crate) fn reset(stream: impl AsFd) {
    reset_on_close(&stream);
    drop(stream);
}

/// Lets the close of this socket be a reset.
pub(crate) fn reset_on_close(stream: &impl AsFd) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "A socket is closed without reset");
    }
}

/// Sends `last_words` and closes so that they arrive.
///
/// Closing a socket with unread bytes resets it, and a reset overtakes bytes that the peer has not
/// read yet: so what the peer still sends is read and thrown away for a moment.
pub(crate) async fn close(mut stream: TcpStream, last_words: &[u8]) {
    let goodbye = async {
        stream.write_all(last_words).await?;
        stream.shutdown().await?;
        let mut buffer = Zeroizing::new(vec![0; 4096]);
        let mut n_read = 0;
        while n_read < GOODBYE_BYTES_MAX {
            match stream.read(&mut buffer).await? {
                0 => break,
                n => n_read += n,
            }
        }
        io::Result::Ok(())
    };
    if let Ok(Err(error)) = timeout(GOODBYE, goodbye).await {
        tracing::debug!(%error, "A connection ended before it was closed");
    }
}

/// Tells a TLS client that it is served nothing, and closes.
pub(crate) async fn alert(stream: TcpStream) {
    close(stream, &INTERNAL_ERROR_ALERT).await;
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_is_accepted_has_the_options_of_its_listener() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(loopback).await.unwrap();
            configure(&listener).unwrap();
            let address = listener.local_addr().unwrap();
            let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            let (_client, (accepted, _)) = (client.unwrap(), accepted.unwrap());
            configure_accepted(&accepted).unwrap();
            let socket = SockRef::from(&accepted);
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_RETRIES);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        }
    }

    #[tokio::test]
    async fn whoever_has_hung_up_is_gone_and_whoever_is_silent_is_not() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(loopback).await.unwrap();
            for with_reset in [false, true] {
                let client = TcpStream::connect(listener.local_addr().unwrap())
                    .await
                    .unwrap();
                let (server, _) = listener.accept().await.unwrap();
                assert!(!has_gone(&server));
                if with_reset {
                    reset(client);
                } else {
                    drop(client);
                }
                server.readable().await.unwrap();
                assert!(has_gone(&server), "{loopback} {with_reset}");
            }
        }
    }
}
