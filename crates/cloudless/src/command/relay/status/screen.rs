//! How a relay's status looks to people.

use cloudless_relay::{HomeStatus, KeyStatus, Status};

use super::super::{coalescing_advice, presence};
use super::Shown;
use crate::clock;
use crate::figures;
use crate::terminal::{self, BOLD};
use crate::watch::Show;

/// A longer name is cut in its middle where the table has to fit.
const NAME_MAX: usize = 28;
/// Of many names so many are shown in one line.
const NAMES_MAX: usize = 10;

impl Show for Shown {
    fn screen(&self, is_narrow: bool) -> Vec<String> {
        match self {
            Self::Status(status) => screen(status, is_narrow),
            Self::NotRunning { .. } => vec![format!("the relay is {BOLD}not running{BOLD:#}")],
        }
    }

    fn line(&self) -> String {
        match self {
            Self::Status(status) => totals(status),
            Self::NotRunning { .. } => "the relay is not running".to_owned(),
        }
    }
}

fn screen(status: &Status, is_narrow: bool) -> Vec<String> {
    let running = match status.since {
        Some(at) => format!("running since {}", utc(at)),
        None => "not running".to_owned(),
    };
    let name = &status.server_name;
    let mut lines = vec![format!("relay {BOLD}{name}{BOLD:#}: {running}")];
    if let Some(reload) = &status.reload {
        let at = utc(reload.at);
        lines.push(match &reload.refused {
            Some(reason) => {
                format!("its files were refused on {at} and those of before are in force: {reason}")
            }
            None => format!("its files were read again on {at}"),
        });
        let waiting = reload.waiting.iter();
        lines.extend(waiting.map(|sentence| format!("  except: {sentence}")));
    }
    if let Some(key) = &status.key {
        lines.extend(keys(key, status, is_narrow));
    }
    if let Some(ssh) = &status.ssh {
        let (port, fingerprint) = (ssh.port, &ssh.fingerprint);
        lines.push(format!("ssh       port {port}, host key {fingerprint}"));
    }
    if !status.homes.is_empty() {
        lines.push(totals(status));
        lines.extend(homes(status, is_narrow));
    }
    let unreached = status.homes.iter().filter_map(|home| {
        let probe = home.probe.as_ref()?;
        let error = probe.error.as_ref()?;
        let is_told = home
            .last_error
            .as_ref()
            .is_some_and(|it| it.message == *error);
        let name = shown_name(home, is_narrow);
        (!is_told).then(|| format!("{name}: {error}"))
    });
    lines.extend(unreached);
    // What went wrong before the tunnel of now is over.
    let failed = status.homes.iter().filter_map(|home| {
        let is_past = |at| home.since.is_some_and(|since| at < since);
        let error = home.last_error.as_ref().filter(|it| !is_past(it.at))?;
        let name = shown_name(home, is_narrow);
        Some(format!("{name}: {} on {}", error.message, utc(error.at)))
    });
    lines.extend(failed);
    for server in &status.servers {
        let (address, since) = (&server.address, utc(server.since));
        lines.push(match &server.error {
            None => format!("server {address}: reached since {since}"),
            Some(error) => {
                format!("{BOLD}server {address}: out of reach since {since}{BOLD:#}: {error}")
            }
        });
        let covers = server.covers.iter();
        lines.extend(covers.map(|hostname| coalescing_advice(address, hostname)));
    }
    let idle = status.routes_idle.iter();
    lines.extend(idle.map(|name| {
        format!(
            "{BOLD}{name} belongs to a home, and its route in relay.toml leads nobody{BOLD:#}: take the \
             route out, or the name from the home with `cloudless relay revoke {name}`"
        )
    }));
    if !status.outcomes.is_empty() {
        lines.push("how connections ended up:".to_owned());
    }
    let width = status.outcomes.keys().map(String::len).max().unwrap_or(0);
    for (class, count) in &status.outcomes {
        lines.push(format!("  {:<width$} {count}", class.replace('_', " ")));
    }
    lines
}

/// The relay's key, and how far the next one is known.
fn keys(key: &KeyStatus, status: &Status, is_narrow: bool) -> Vec<String> {
    let Some(rotation) = &key.rotation else {
        return vec![format!("key       {}", key.key)];
    };
    let mut lines = vec![
        format!("key       {}", key.key),
        format!("          until {}", utc(rotation.until)),
        format!("next key  {BOLD}{}{BOLD:#}", rotation.next),
        format!(
            "          known to {} of {} homes",
            rotation.homes_aware, rotation.homes
        ),
    ];
    let unaware = status
        .homes
        .iter()
        .filter(|it| it.knows_next_key == Some(false));
    let mut names: Vec<_> = unaware.map(|it| shown_name(it, is_narrow)).collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    if !names.is_empty() {
        lines.push(format!("          not yet to {}{more}", names.join(", ")));
    }
    lines
}

fn totals(status: &Status) -> String {
    let totals = &status.totals;
    let online = status.homes.iter().filter(|home| home.online).count();
    let presences = status.homes.iter().map(presence);
    let partly = match presences.filter(|it| *it == "partly").count() {
        0 => String::new(),
        count => format!(" ({count} partly)"),
    };
    format!(
        "{online} of {} names online{partly}, visitors {} now, {} in all, {} to homes, {} from homes",
        status.homes.len(),
        totals.visitors_now,
        totals.visitors_total,
        figures::bytes(totals.bytes_up),
        figures::bytes(totals.bytes_down),
    )
}

fn homes(status: &Status, is_narrow: bool) -> Vec<String> {
    let now = clock::unix_ms() / 1000;
    let row = |home: &HomeStatus| {
        let online = match home.since {
            Some(at) if presence(home) == "online" => {
                figures::between(seconds(at).saturating_mul(1000), now.saturating_mul(1000))
            }
            _ => presence(home).to_owned(),
        };
        [
            shown_name(home, is_narrow),
            if home.key.is_ssh() {
                format!("{online} (ssh)")
            } else {
                online
            },
            home.round_trip
                .map_or_else(String::new, figures::round_trip),
            format!("{} of {}", home.visitors_now, home.visitors_total),
            figures::bytes(home.bytes_up),
            figures::bytes(home.bytes_down),
        ]
    };
    let rows: Vec<_> = status.homes.iter().map(row).collect();
    let headings = ["NAME", "ONLINE FOR", "PING", "VISITORS", "TO", "FROM"];
    terminal::columns(headings, &rows)
}

/// The name, with its middle left out where it is too long. The ends tell names apart.
fn shown_name(home: &HomeStatus, is_narrow: bool) -> String {
    let name = home.hostname.as_str();
    if !is_narrow || name.len() <= NAME_MAX {
        return name.to_owned();
    }
    // Hostnames are ASCII.
    let half = NAME_MAX / 2;
    format!("{}…{}", &name[..half], &name[name.len() - half + 1..])
}

fn utc(at: u64) -> String {
    clock::utc(seconds(at))
}

fn seconds(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}
