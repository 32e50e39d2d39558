use std::fs;
use std::path::Path;

use anyhow::bail;
use cloudless_home::admin::{Command, Reply, Status};
use cloudless_home::status::{Reachability, RelayState};
use cloudless_proto::exposition::Exposition;

use super::seconds;
use crate::admin_socket;

/// The files that the contacts take.
const STORE_FILES: [&str; 2] = ["store.sqlite", "store.sqlite-wal"];

/// What a running home says of itself. Its relays are numbered as home.toml has them, from 0.
pub(crate) fn home(state: &Path, text: &mut Exposition) -> anyhow::Result<()> {
    let reply = admin_socket::ask(state, admin_socket::HOME, &Command::Status)?;
    let Some(Reply::Status(status)) = reply else {
        bail!("home answered something else than its status");
    };
    relays(&status, text);

    let mut public = text.gauges(
        "cloudless_home_public_names",
        "Public names by whether phones reach home under them; none are counted without the test.",
    );
    for (label, state) in [
        ("online", Reachability::Online),
        ("partly", Reachability::Partly),
        ("unreachable", Reachability::Unreachable),
        ("untested", Reachability::Untested),
        ("checking", Reachability::Checking),
        ("offline", Reachability::Offline),
    ] {
        let count = status.public.iter().filter(|it| it.state == state).count();
        public.sample(&[("state", label)], count);
    }
    text.gauge(
        "cloudless_home_certificates_failing",
        "Certificates that could not be made or renewed.",
        status
            .certificates
            .iter()
            .filter(|it| it.error.is_some())
            .count(),
    );
    text.gauge(
        "cloudless_home_certificates_missing",
        "Names without a certificate that is valid now, under which phones are not answered.",
        status
            .certificates
            .iter()
            .filter(|it| it.expires_at.is_none())
            .count(),
    );
    let first = status.certificates.iter().filter_map(|it| it.expires_at);
    text.gauge(
        "cloudless_home_certificate_expiry_timestamp_seconds",
        "When the first certificate ends, Unix time; 0 when there is none.",
        first.min().unwrap_or(0) / 1000,
    );
    text.gauge(
        "cloudless_home_alarms",
        "Devices that deleted much at once within 30 days, not undone.",
        status.alarms.len(),
    );
    alarms(&status, text);
    let mut requests = text.counters(
        "cloudless_home_requests_total",
        "Requests for contacts that were answered, by method and by class of status.",
    );
    for row in &status.requests {
        let class = format!("{}xx", row.class);
        requests.sample(&[("method", &row.method), ("class", &class)], row.count);
    }
    let mut refused = text.counters(
        "cloudless_home_visitors_refused_total",
        "Visitors, or requests of theirs, that were not served, by why.",
    );
    for (class, count) in &status.refused {
        refused.sample(&[("class", class)], count);
    }
    upstreams(&status, text);
    text.gauge(
        "cloudless_home_push_registrations",
        "How many times a device is told of changes of an address book.",
        status.push_registrations,
    );
    // A file that is not there takes nothing.
    let size = |name| fs::metadata(state.join(name)).map_or(0, |it| it.len());
    text.gauge(
        "cloudless_home_store_bytes",
        "Size of the contacts' database with its log.",
        STORE_FILES.into_iter().map(size).sum::<u64>(),
    );
    Ok(())
}

/// What somebody has to look at.
fn alarms(status: &Status, text: &mut Exposition) {
    let unknown = status.trust.iter().map(|it| it.unknown_certificates.len());
    text.gauge(
        "cloudless_home_unknown_certificates",
        "Certificates of home's names in the public logs whose keys home did not make.",
        unknown.sum::<usize>(),
    );
    text.gauge(
        "cloudless_home_names_not_served",
        "Names that are not served because their protection is not in force.",
        status.trust.iter().filter(|it| !it.is_served).count(),
    );
    text.gauge(
        "cloudless_home_names_not_watched",
        "Names for which the logs of certificates tell nothing or are not asked.",
        status
            .trust
            .iter()
            .filter(|it| it.logs.is_nobodys())
            .count(),
    );
    text.gauge(
        "cloudless_home_silent_devices",
        "Devices with a client certificate that do not come any more although they could.",
        status.silent_devices.len(),
    );
}

/// Numbered as home.toml has them, from 0.
fn upstreams(status: &Status, text: &mut Exposition) {
    let numbered = || {
        let rows = status.upstreams.iter().enumerate();
        rows.map(|(index, row)| (index.to_string(), row))
    };
    let mut up = text.gauges(
        "cloudless_home_upstream_up",
        "1 when the server behind home was reached the last time.",
    );
    for (upstream, row) in numbered() {
        up.sample(&[("upstream", &upstream)], u8::from(row.error.is_none()));
    }
    let mut now = text.gauges(
        "cloudless_home_upstream_requests",
        "Requests to the server behind home under way, WebSockets among them.",
    );
    for (upstream, row) in numbered() {
        now.sample(&[("upstream", &upstream)], row.requests_now);
    }
    let mut total = text.counters(
        "cloudless_home_upstream_requests_total",
        "Requests for the server behind home.",
    );
    for (upstream, row) in numbered() {
        total.sample(&[("upstream", &upstream)], row.requests_total);
    }
    let mut failures = text.counters(
        "cloudless_home_upstream_failures_total",
        "Requests that the server behind home did not answer, or not to the end.",
    );
    for (upstream, row) in numbered() {
        failures.sample(&[("upstream", &upstream)], row.failures_total);
    }
}

fn relays(status: &Status, text: &mut Exposition) {
    let numbered = || {
        let relays = status.relays.iter().enumerate();
        relays.map(|(index, row)| (index.to_string(), row))
    };
    let mut tunnels = text.gauges(
        "cloudless_home_tunnel_up",
        "1 when the tunnel to the relay is up.",
    );
    for (relay, row) in numbered() {
        let is_up = row.state == RelayState::Connected;
        tunnels.sample(&[("relay", &relay)], u8::from(is_up));
    }
    let mut refused = text.gauges(
        "cloudless_home_tunnel_refused",
        "1 when the relay answers and refuses this home.",
    );
    for (relay, row) in numbered() {
        let is_refused = row.state == RelayState::Refused;
        refused.sample(&[("relay", &relay)], u8::from(is_refused));
    }
    let mut warnings = text.gauges(
        "cloudless_home_tunnel_warning",
        "1 when home status has a warning about the relay, as of another machine with home's key.",
    );
    for (relay, row) in numbered() {
        warnings.sample(&[("relay", &relay)], u8::from(row.warning.is_some()));
    }
    let mut times = text.gauges(
        "cloudless_home_round_trip_seconds",
        "How long a ping through the tunnel takes.",
    );
    for (relay, row) in numbered() {
        if let Some(time) = row.round_trip {
            times.sample(&[("relay", &relay)], seconds(time.smoothed_us));
        }
    }
    let mut now = text.gauges("cloudless_home_visitors", "Visitors connected.");
    for (relay, row) in numbered() {
        now.sample(&[("relay", &relay)], row.visitors_now);
    }
    let mut total = text.counters("cloudless_home_visitors_total", "Visitors.");
    for (relay, row) in numbered() {
        total.sample(&[("relay", &relay)], row.visitors_total);
    }
    let mut bytes = text.counters(
        "cloudless_home_bytes_total",
        "Ciphertext of visitors, from them (up) and to them (down), in the tunnel or on legs.",
    );
    for (relay, row) in numbered() {
        for (direction, all, leg) in [
            ("up", row.bytes_up, row.leg_bytes_up),
            ("down", row.bytes_down, row.leg_bytes_down),
        ] {
            for (path, count) in [("tunnel", all.saturating_sub(leg)), ("leg", leg)] {
                let labels = [("relay", &*relay), ("direction", direction), ("path", path)];
                bytes.sample(&labels, count);
            }
        }
    }
}
