use std::path::Path;

use anyhow::bail;
use cloudless_proto::exposition::Exposition;
use cloudless_relay::admin::{Command, Reply};

use super::seconds;
use crate::admin_socket;

/// What a running relay says of itself: sums over all homes, no names and no addresses.
pub(crate) fn relay(state: &Path, text: &mut Exposition) -> anyhow::Result<()> {
    let reply = admin_socket::ask(state, admin_socket::RELAY, &Command::Status)?;
    let Some(Reply::Status(status)) = reply else {
        bail!("the relay answered something else than its status");
    };
    let homes = &status.homes;
    let sum = |count: fn(&cloudless_relay::HomeStatus) -> u64| homes.iter().map(count).sum::<u64>();
    let (leg_up, leg_down) = (sum(|it| it.leg_bytes_up), sum(|it| it.leg_bytes_down));
    let totals = &status.totals;

    text.gauge(
        "cloudless_relay_homes",
        "Names that belong to a home.",
        homes.len(),
    );
    text.gauge(
        "cloudless_relay_homes_online",
        "Of these names, those whose home has a tunnel and, as far as somebody looks, answers.",
        homes.iter().filter(|it| it.online).count(),
    );
    text.gauge(
        "cloudless_relay_homes_unanswering",
        "Of these names, those whose home has a tunnel and does not answer, or not as far as is known yet.",
        homes
            .iter()
            .filter(|it| it.since.is_some() && !it.online)
            .count(),
    );
    text.gauge(
        "cloudless_relay_sessions",
        "Tunnels that are up.",
        totals.sessions_now,
    );
    text.gauge(
        "cloudless_relay_visitors",
        "Visitors connected to homes.",
        totals.visitors_now,
    );
    text.counter(
        "cloudless_relay_visitors_total",
        "Visitors of homes.",
        totals.visitors_total,
    );
    text.gauge(
        "cloudless_relay_legs",
        "Legs, those included that are offered but not made.",
        sum(|it| it.legs_now),
    );
    text.counter(
        "cloudless_relay_legs_total",
        "Legs that visitors went on on.",
        sum(|it| it.legs_total),
    );
    let mut bytes = text.counters(
        "cloudless_relay_bytes_total",
        "Ciphertext of visitors, from them (up) and to them (down), in tunnels or on legs.",
    );
    for (direction, path, count) in [
        ("up", "tunnel", totals.bytes_up.saturating_sub(leg_up)),
        ("up", "leg", leg_up),
        ("down", "tunnel", totals.bytes_down.saturating_sub(leg_down)),
        ("down", "leg", leg_down),
    ] {
        bytes.sample(&[("direction", direction), ("path", path)], count);
    }

    let mut times: Vec<u64> = homes
        .iter()
        .filter_map(|it| Some(it.round_trip?.smoothed_us))
        .collect();
    times.sort_unstable();
    let mut family = text.gauges(
        "cloudless_relay_round_trip_seconds",
        "How long a ping through a tunnel takes: the median of the homes, and the slowest.",
    );
    for (stat, time) in [
        ("median", times.get(times.len() / 2)),
        ("max", times.last()),
    ] {
        if let Some(time) = time {
            family.sample(&[("stat", stat)], seconds(*time));
        }
    }

    let mut outcomes = text.counters(
        "cloudless_relay_connections_total",
        "Connections by what became of them.",
    );
    for (class, count) in &status.outcomes {
        outcomes.sample(&[("class", class)], count);
    }
    text.gauge(
        "cloudless_relay_servers",
        "Servers beside the relay that connections are passed to.",
        status.servers.len(),
    );
    text.gauge(
        "cloudless_relay_servers_unreachable",
        "Of these servers, those that cannot be reached.",
        status
            .servers
            .iter()
            .filter(|it| it.error.is_some())
            .count(),
    );
    let rotation = status.key.as_ref().and_then(|key| key.rotation.as_ref());
    text.gauge(
        "cloudless_relay_key_overlap_end_timestamp_seconds",
        "When the relay's older key goes, Unix time; 0 while its key is not rotated.",
        rotation.map_or(0, |it| it.until),
    );
    text.gauge(
        "cloudless_relay_homes_without_next_key",
        "Homes that do not know the relay's next key yet; 0 while its key is not rotated.",
        rotation.map_or(0, |it| it.homes.saturating_sub(it.homes_aware)),
    );
    let mut reloads = text.counters(
        "cloudless_relay_reloads_total",
        "How often the files were read again, by whether they could be used.",
    );
    let count = status.reloads;
    for (result, count) in [("taken", count.taken), ("refused", count.refused)] {
        reloads.sample(&[("result", result)], count);
    }
    let reload = status.reload.as_ref();
    text.gauge(
        "cloudless_relay_reload_timestamp_seconds",
        "When the files were last read again, Unix time; 0 when they never were.",
        reload.map_or(0, |it| it.at),
    );
    text.gauge(
        "cloudless_relay_reload_refused",
        "1 when what was last read again could not be used, so that the settings of before hold.",
        u8::from(reload.is_some_and(|it| it.refused.is_some())),
    );
    Ok(())
}
