//! How a home's status looks to people.

use cloudless_home::SilentDevice;
use cloudless_home::admin::Alarm;
use cloudless_home::status::{
    PublicStatus, Reachability, RelayState, RelayStatus, ReloadStatus, TransportKind,
    UpstreamStatus,
};

use cloudless_home::trust::{Issuance, LogWatch, NameReport};
use cloudless_proto::trust::Level;

use super::{Shown, overall};
use crate::clock;
use crate::figures;
use crate::moment::Moment;
use crate::terminal::{self, BAD, BOLD, GOOD};
use crate::watch::Show;

impl Show for Shown {
    fn screen(&self, _is_narrow: bool) -> Vec<String> {
        let status = &self.status;
        let now = clock::unix_ms();
        let mut lines = vec![self.headline()];
        for alarm in &status.alarms {
            lines.extend(self.alarm(alarm));
        }
        for report in &status.trust {
            lines.extend(protection(report));
        }
        for device in &status.silent_devices {
            lines.extend(silent(device));
        }
        for (index, url) in status.public_urls.iter().enumerate() {
            lines.push(labeled("for phones", url));
            if let Some(row) = status.public.get(index) {
                lines.extend(public(row, now));
            }
        }
        for url in &status.local_urls {
            lines.push(labeled("for this machine", url));
        }
        if status.push_registrations > 0 {
            let count = status.push_registrations;
            lines.push(labeled(
                "told of changes",
                &format!("{count} (push registrations)"),
            ));
        }
        for copy in &status.migration_copies {
            let path = terminal::clean(&copy.display().to_string());
            lines.push(labeled("copy before an upgrade", &path));
        }
        for row in &status.relays {
            lines.extend(relay(row, now));
        }
        for certificate in &status.certificates {
            let until = match certificate.expires_at {
                Some(at) if certificate.ends_soon(now) => format!(
                    "{BAD}alarm{BAD:#}: it ends at {}, and no other one came",
                    clock::utc_ms(at)
                ),
                Some(at) => format!("valid until {}", clock::utc_ms(at)),
                None => {
                    format!("{BAD}none that is valid now{BAD:#}, so that phones are not answered")
                }
            };
            let name = &certificate.hostname;
            lines.push(format!("certificate of {BOLD}{name}{BOLD:#}: {until}"));
            lines.extend(error(certificate.error.as_deref()));
        }
        for passthrough in &status.passthrough {
            let name = &passthrough.hostname;
            lines.push(format!(
                "{BOLD}{name}{BOLD:#}: passed through to {}",
                passthrough.address
            ));
            lines.extend(error(passthrough.error.as_deref()));
        }
        lines.extend(status.reload.iter().flat_map(|it| reload(it, now)));
        for row in &status.upstreams {
            lines.extend(upstream(row, now));
        }
        lines
    }

    fn line(&self) -> String {
        let mut line = self.plain_headline();
        for relay in &self.status.relays {
            let state = match relay.state {
                RelayState::Connected => "connected",
                RelayState::Dialing => "dialing",
                RelayState::Refused => "refused",
            };
            line.push_str(&format!(
                "; relay {} {state}, visitors {} now, {} in all, {} up, {} down",
                relay.server_name,
                relay.visitors_now,
                relay.visitors_total,
                figures::bytes(relay.bytes_up),
                figures::bytes(relay.bytes_down),
            ));
            if let Some(error) = &relay.error {
                line.push_str(&format!(", {error}"));
            }
        }
        for row in self.status.public.iter() {
            if let Some(message) = &row.message {
                line.push_str(&format!("; {}: {message}", row.hostname));
            }
        }
        line
    }
}

fn silent(device: &SilentDevice) -> [String; 2] {
    let (user, name) = (&device.user, terminal::clean(&device.name));
    let (said, otherwise) = match device.last_seen_at {
        Some(at) => (
            format!("was last here at {}", Moment(at).local()),
            "if it is not just off",
        ),
        None => (
            format!(
                "has never appeared since it was added at {}",
                Moment(device.created_at).local()
            ),
            "if it is set up",
        ),
    };
    [
        format!("{BOLD}silent{BOLD:#}: {name} of {user} {said}, though phones can come"),
        labeled(
            otherwise,
            "something may imitate this home towards it: compare the certificate that it sees",
        ),
    ]
}

impl Shown {
    fn headline(&self) -> String {
        let text = self.plain_headline();
        let words = text.trim_start_matches("home is ");
        let style = match overall(&self.status) {
            Reachability::Online => GOOD.bold(),
            Reachability::Partly | Reachability::Unreachable => BAD,
            _ => BOLD,
        };
        format!("home is {style}{words}{style:#}")
    }

    fn plain_headline(&self) -> String {
        let state = match overall(&self.status) {
            _ if !self.status.running => "not running",
            Reachability::Online => "online",
            Reachability::Partly => "online for some phones and not for others",
            Reachability::Unreachable => "connected, but not reachable from outside",
            Reachability::Untested => "connected; whether phones get through is not tested",
            Reachability::Checking => "connected; whether phones get through is being tested",
            Reachability::Offline => "running, and connected to no relay",
        };
        format!("home is {state}")
    }

    fn alarm(&self, alarm: &Alarm) -> [String; 2] {
        let Alarm {
            alarm: number,
            user,
            book,
            device,
            count,
            ..
        } = alarm;
        let flag = &self.flag;
        [
            format!(
                "{BOLD}alarm {number}{BOLD:#}: {device} of {user} deleted {count} cards of {} at {}",
                terminal::clean(book),
                Moment(alarm.last_at).local(),
            ),
            labeled(
                "bring them back with",
                &format!("cloudless contacts undo-deletion {number}{flag}"),
            ),
        ]
    }
}

/// Whether a name works, and each of its addresses where they differ.
fn public(row: &PublicStatus, now: i64) -> Vec<String> {
    let state = match row.state {
        Reachability::Online => format!("{GOOD}works{GOOD:#}"),
        Reachability::Partly => format!("{BAD}works in part{BAD:#}"),
        Reachability::Unreachable => format!("{BAD}does not work{BAD:#}"),
        Reachability::Untested => "cannot be tested from here".to_owned(),
        Reachability::Checking => "is being tested".to_owned(),
        Reachability::Offline => "waits for a relay".to_owned(),
    };
    let checked = row.checked_at.map_or_else(String::new, |at| {
        format!(", tested {} ago", figures::between(at, now))
    });
    let message = match &row.message {
        Some(message) => format!(": {message}"),
        None => String::new(),
    };
    let mut lines = vec![labeled("", &format!("{state}{checked}{message}"))];
    if row.state == Reachability::Online {
        // What could not be tried does not make the name fail, and is not hidden either.
        let rest = row.addresses.iter().filter_map(|it| it.message.as_ref());
        lines.extend(rest.map(|message| labeled("", message)));
    }
    lines
}

/// What its owner has to know of a name's protection: that it does not hold, that somebody else has
/// a certificate, or that nobody would notice.
fn protection(report: &NameReport) -> Vec<String> {
    let name = &report.hostname;
    let alarm = |issuance: &Issuance| {
        let text = terminal::clean(&issuance.to_string());
        let end = match issuance.has_ended {
            false => String::new(),
            true => format!(
                "; it has ended, and is shown until you say `cloudless home trust --accept {}`",
                terminal::clean(&issuance.key)
            ),
        };
        format!(
            "{BAD}alarm{BAD:#}: {BOLD}{name}{BOLD:#}: {text}, and home did not make its key{end}"
        )
    };
    let mut lines: Vec<_> = report.unknown_certificates.iter().map(alarm).collect();
    if report.level == Level::HonestRelay {
        lines.push(format!(
            "{BOLD}{name}{BOLD:#}: {BAD}honest-relay: whoever runs the relay can read everything{BAD:#}"
        ));
    } else if report.in_force != report.level && report.is_served {
        lines.push(format!(
            "{BOLD}{name}{BOLD:#}: {BAD}not protected{BAD:#}: see `cloudless home doctor`"
        ));
    } else if report.in_force != report.level {
        lines.push(format!(
            "{BOLD}{name}{BOLD:#}: {BAD}not protected, and not served{BAD:#}: see `cloudless home doctor`"
        ));
    } else if !report.is_special_use {
        let signed = if report.is_signed {
            ", in a signed zone"
        } else {
            ""
        };
        lines.push(format!(
            "{BOLD}{name}{BOLD:#}: {GOOD}{}{GOOD:#}{signed}",
            report.level
        ));
        if report.is_changing {
            lines.push(format!(
                "{BOLD}{name}{BOLD:#}: {BAD}other CAA records are needed before the next order{BAD:#}: \
                 see `cloudless home doctor`"
            ));
        }
    }
    match (report.logs, report.logs_heard_at) {
        (LogWatch::Off, _) if report.level != Level::HonestRelay => lines.push(labeled(
            "logs of certificates",
            "nobody watches them, as [transparency] in home.toml says",
        )),
        (LogWatch::Silent, heard_at) => {
            let since = heard_at.map_or_else(|| "the start".to_owned(), clock::utc_ms);
            lines.push(labeled(
                "logs of certificates",
                &format!(
                    "{BAD}nothing was heard from them since {since}{BAD:#}: see `cloudless home doctor`"
                ),
            ));
        }
        _ => {}
    }
    lines.extend(report.silent_sources.iter().map(|source| {
        let (monitor, since) = (source.monitor, clock::utc_ms(source.since));
        labeled(
            "logs of certificates",
            &format!(
                "{BAD}{monitor} has told nothing since {since}{BAD:#}: see `cloudless home doctor`"
            ),
        )
    }));
    lines
}

fn relay(row: &RelayStatus, now: i64) -> Vec<String> {
    let since = format!("since {}", clock::utc_ms(row.since));
    let state = match row.state {
        RelayState::Connected => format!("connected {since}"),
        RelayState::Dialing => format!("not connected {since}, dialing"),
        RelayState::Refused => format!("refused {since}"),
    };
    let name = &row.server_name;
    let by = match row.transport {
        TransportKind::Tunnel => "",
        TransportKind::Ssh => " (plain SSH)",
    };
    let mut lines = vec![format!("relay {BOLD}{name}{BOLD:#}{by}: {state}")];
    if let Some(address) = row.address {
        lines.push(labeled("address", &address.to_string()));
    }
    if let Some(proxy) = &row.proxy {
        lines.push(labeled("through the proxy", &terminal::clean(proxy)));
    }
    if row.keys.len() > 1 {
        let text = "is being replaced; home trusts the next one too";
        lines.push(labeled("its key", text));
    }
    if let Some(time) = row.round_trip {
        let last = figures::microseconds(time.last_us);
        let text = format!("{} (last {last})", figures::round_trip(time));
        lines.push(labeled("round trip", &text));
    }
    let (now_here, total) = (row.visitors_now, row.visitors_total);
    let (up, down) = (figures::bytes(row.bytes_up), figures::bytes(row.bytes_down));
    lines.push(labeled(
        "visitors",
        &format!("{now_here} now, {total} in all, {up} up, {down} down"),
    ));
    if let Some(warning) = &row.warning {
        let when = figures::between(warning.at, now);
        let message = terminal::clean(&warning.message);
        lines.push(labeled(
            "warning",
            &format!("{BAD}{message}{BAD:#} ({when} ago)"),
        ));
    }
    if let Some(error) = &row.last_error {
        let is_over = row.error.is_none();
        let when = format!("{} ago", figures::between(error.at, now));
        let over = if is_over { ", is over" } else { "" };
        let message = terminal::clean(&error.message);
        lines.push(labeled("last error", &format!("{message} ({when}{over})")));
    }
    if let Some(at) = row.next_dial {
        let wait = if at.saturating_sub(now) < 1_000 {
            "within a second".to_owned()
        } else {
            format!("in {}", figures::between(now, at))
        };
        lines.push(labeled("next dial", &wait));
    }
    lines
}

/// What came of the last time that home read its file again, if it is of interest.
fn reload(reload: &ReloadStatus, now: i64) -> Vec<String> {
    let ago = figures::between(reload.at, now);
    match &reload.refused {
        Some(reason) => vec![format!(
            "{BAD}home.toml was refused{BAD:#} {ago} ago; what it said before is in force: {}",
            terminal::clean(reason)
        )],
        None => {
            let waiting = reload.waiting.iter();
            waiting
                .map(|sentence| format!("home.toml was read {ago} ago, but {sentence}"))
                .collect()
        }
    }
}

fn upstream(row: &UpstreamStatus, now: i64) -> Vec<String> {
    let (path, server) = (&row.path, terminal::clean(&row.server));
    let hostname = row.hostname.as_ref().map_or("", |it| it.as_str());
    let state = match row.error {
        None => format!("{GOOD}reached{GOOD:#}"),
        Some(_) => format!("{BAD}not reached{BAD:#}"),
    };
    let mut lines = vec![
        format!("{BOLD}{hostname}{path}{BOLD:#}: {server}, {state}"),
        labeled(
            "requests",
            &format!(
                "{} now, {} in all, {} failed",
                row.requests_now, row.requests_total, row.failures_total
            ),
        ),
    ];
    if let Some(error) = &row.last_error {
        let when = figures::between(error.at, now);
        let over = if row.error.is_none() { ", is over" } else { "" };
        let message = terminal::clean(&error.message);
        lines.push(labeled(
            "last error",
            &format!("{message} ({when} ago{over})"),
        ));
    }
    lines
}

fn error(message: Option<&str>) -> Option<String> {
    message.map(|message| labeled("last error", &terminal::clean(message)))
}

fn labeled(label: &str, text: &str) -> String {
    format!("  {label:<22} {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_never_came_is_not_said_to_have_been_here() {
        let device = |last_seen_at| SilentDevice {
            user: "me".to_owned(),
            name: "phone".to_owned(),
            created_at: 1_800_000_000_000,
            last_seen_at,
        };
        let [never, _] = silent(&device(None));
        assert!(
            never.contains("phone of me has never appeared since"),
            "{never}"
        );
        let [lost, _] = silent(&device(Some(1_800_000_000_000)));
        assert!(lost.contains("phone of me was last here at"), "{lost}");
    }
}
