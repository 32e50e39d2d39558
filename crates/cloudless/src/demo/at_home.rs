//! What happens at home itself, past the relay: reading what it keeps, and changing a card.

use anyhow::{Context as _, bail, ensure};
use cloudless_dav_proto::href::encode_segment;
use cloudless_home::admin::{Command, Reply};
use data_encoding::BASE64;
use http::StatusCode;
use http::header::ETAG;

use super::client::Client;
use super::next::Login;
use super::phone::Cards;
use super::samples;
use super::setup::Running;
use crate::{admin_socket, clock};

/// Cards in one request.
const PAGE_CARDS: usize = 1000;

/// What home keeps, asked for on its own socket and not by CardDAV.
pub(super) async fn kept(running: &Running, login: &Login, book: &str) -> anyhow::Result<Cards> {
    let state = running.home_state.clone();
    let user = login.user.clone();
    let slug = book
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let book = book.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut kept = Cards::new();
        let mut after = None;
        loop {
            let command = Command::CardsGet {
                user: Some(user.clone()),
                book: slug.clone(),
                after: after.take(),
                limit: PAGE_CARDS,
            };
            let reply = admin_socket::ask(&state, admin_socket::HOME, &command)?;
            let Some(Reply::Cards { cards, more }) = reply else {
                bail!("home answered something else than cards");
            };
            after = cards.last().map(|card| card.name.clone());
            for card in cards {
                let bytes = BASE64
                    .decode(card.bytes_base64.as_bytes())
                    .context("a garbled card")?;
                kept.insert(format!("{book}{}", encode_segment(&card.name)), bytes);
            }
            if !more || after.is_none() {
                return Ok(kept);
            }
        }
    })
    .await?
}

/// Changes one of the sample contacts as a program on home's own machine would, and returns its
/// href and its new bytes.
pub(super) async fn change(
    running: &Running,
    login: &Login,
    book: &str,
    cards: &Cards,
) -> anyhow::Result<(String, Vec<u8>)> {
    let (uid, bytes) =
        samples::changed(clock::unix_ms()).context("the sample contacts are damaged")?;
    let has_uid = |card: &[u8]| {
        cloudless_vcard::summarize(card).is_ok_and(|card| card.uid.as_ref() == Some(&uid))
    };
    let href = match cards.iter().find(|(_, card)| has_uid(card)) {
        Some((href, _)) => href.clone(),
        // Somebody has deleted it since an earlier start: then the change is that it is back.
        None => format!("{book}{}", encode_segment(&format!("{uid}.vcf"))),
    };
    let mut program = Client::plain(running.local_address).await?;
    program.log_in(login)?;
    let answer = program.send("GET", &href, &[], "").await?;
    let etag = answer.headers.get(ETAG).and_then(|etag| etag.to_str().ok());
    let condition = match etag {
        Some(etag) if answer.status == StatusCode::OK => ("if-match", etag),
        _ => ("if-none-match", "*"),
    };
    let headers = [condition, ("content-type", "text/vcard; charset=utf-8")];
    let answer = program.send("PUT", &href, &headers, bytes.clone()).await?;
    ensure!(
        answer.status.is_success(),
        "PUT {href} answered {}",
        answer.status
    );
    Ok((href, bytes))
}
