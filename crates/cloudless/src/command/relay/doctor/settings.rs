//! The settings of an sshd as `sshd -T` prints them, and what they mean for home.

use std::collections::HashMap;

use cloudless_home::ssh::Forward;

use super::{Finding, State};

/// A dead session keeps its port for so long at most; one that is longer is worth a word.
const DEAD_MAX_S: u64 = 30;

/// Each setting's values, by its name in small letters.
pub(super) struct Settings(HashMap<String, Vec<String>>);

impl Settings {
    pub(super) fn parse(text: &str) -> Self {
        let mut settings: HashMap<String, Vec<String>> = HashMap::new();
        for line in text.lines() {
            if let Some((name, value)) = line.split_once(' ') {
                let values = settings.entry(name.to_ascii_lowercase()).or_default();
                values.push(value.trim().to_owned());
            }
        }
        Self(settings)
    }

    /// What is to be said, the worst first among those of one kind.
    pub(super) fn findings(&self, user: &str, forwards: &[Forward]) -> Vec<Finding> {
        let mut findings = vec![self.public_keys()];
        findings.extend(self.users(user));
        let is_tcp = |forward: &&Forward| matches!(forward, Forward::Tcp { .. });
        let tcp: Vec<&Forward> = forwards.iter().filter(is_tcp).collect();
        let unix: Vec<&Forward> = forwards.iter().filter(|it| !is_tcp(it)).collect();
        if !tcp.is_empty() {
            findings.push(self.switch("allowtcpforwarding", "AllowTcpForwarding", "remote"));
            findings.extend(tcp.iter().flat_map(|forward| self.port(forward)));
        }
        if !unix.is_empty() {
            let name = "AllowStreamLocalForwarding";
            findings.push(self.switch("allowstreamlocalforwarding", name, "remote"));
            findings.push(self.unlink());
            findings.push(self.mask());
        }
        findings.extend(self.disabled());
        findings.push(self.alive(!tcp.is_empty()));
        findings.push(self.keepalive());
        findings.extend(self.penalties());
        findings.extend(self.sessions());
        findings
    }

    fn value(&self, name: &str) -> &str {
        let first = self.0.get(name).and_then(|values| values.first());
        first.map_or("", String::as_str)
    }

    fn words(&self, name: &str) -> Vec<&str> {
        let values = self.0.get(name).into_iter().flatten();
        values
            .flat_map(|value| value.split_ascii_whitespace())
            .collect()
    }

    fn public_keys(&self) -> Finding {
        match self.value("pubkeyauthentication") {
            "no" => bad(
                "PubkeyAuthentication no",
                "home proves itself by a key, and by nothing else",
                Some("PubkeyAuthentication yes"),
            ),
            _ => good("PubkeyAuthentication yes", "home may prove its key"),
        }
    }

    fn users(&self, user: &str) -> Vec<Finding> {
        let names = |pattern: &&str| {
            pattern.split('@').next() == Some(user) || pattern.contains(['*', '?'])
        };
        let mut findings = Vec::new();
        let allowed = self.words("allowusers");
        if !allowed.is_empty() && !allowed.iter().any(names) {
            let setting = format!("AllowUsers {}", allowed.join(" "));
            let message = format!("lets {user} not in: add {user} to that line");
            findings.push(bad(&setting, &message, None));
        }
        let denied = self.words("denyusers");
        if denied.iter().any(|it| it.split('@').next() == Some(user)) {
            let setting = format!("DenyUsers {}", denied.join(" "));
            findings.push(bad(
                &setting,
                &format!("take {user} out of that line"),
                None,
            ));
        }
        findings
    }

    /// A switch that has to be `yes`, `all` or `remote`.
    fn switch(&self, key: &str, name: &str, wanted: &str) -> Finding {
        let value = self.value(key);
        let setting = format!("{name} {value}");
        match value {
            "yes" | "all" | "remote" => good(&setting, "home may ask sshd to listen"),
            _ => {
                let line = format!("{name} {wanted}");
                bad(&setting, "home may not ask sshd to listen", Some(&line))
            }
        }
    }

    fn port(&self, forward: &Forward) -> Vec<Finding> {
        let Forward::Tcp { host, port } = forward else {
            return Vec::new();
        };
        let gateway = self.value("gatewayports");
        let setting = format!("GatewayPorts {gateway}");
        let clientspecified = Some("GatewayPorts clientspecified");
        let mut findings = vec![match (gateway, forward.is_local()) {
            ("clientspecified", _) => {
                good(&setting, &format!("sshd listens at {forward} as home asks"))
            }
            ("yes", true) => advice(
                &setting,
                &format!(
                    "sshd listens at all addresses, not only at {forward}: whoever knows the port gets \
                     past what is in front"
                ),
                clientspecified,
            ),
            ("yes", false) => good(&setting, "sshd listens at all addresses"),
            (_, true) => good(&setting, &format!("sshd listens at {forward}")),
            (_, false) => bad(
                &setting,
                &format!("sshd listens on loopback in place of {forward}, and does not say so"),
                clientspecified,
            ),
        }];
        let permitted = self.words("permitlisten");
        let is_any = permitted.is_empty() || permitted.contains(&"any");
        let is_for = |it: &&str| {
            let (address, number) = it.rsplit_once(':').unwrap_or(("*", it));
            let address = address.trim_start_matches('[').trim_end_matches(']');
            let is_port = number == "*" || number.parse() == Ok(*port);
            is_port && (address == "*" || address == host)
        };
        if !is_any && !permitted.iter().any(is_for) {
            let place = if host.is_empty() {
                port.to_string()
            } else {
                forward.to_string()
            };
            findings.push(bad(
                &format!("PermitListen {}", permitted.join(" ")),
                &format!("sshd does not listen at {forward}"),
                Some(&format!("PermitListen {place}")),
            ));
        }
        if *port < 1024 {
            findings.push(advice(
                &format!("port {port}"),
                "ports below 1024 are for root: have home ask for a port above, with a proxy or DNAT in \
                 front (docs/sshd.md), or lower net.ipv4.ip_unprivileged_port_start",
                None,
            ));
        }
        findings
    }

    fn unlink(&self) -> Finding {
        match self.value("streamlocalbindunlink") {
            "yes" => good(
                "StreamLocalBindUnlink yes",
                "a new session takes the socket over at once, whatever became of the last one",
            ),
            _ => bad(
                "StreamLocalBindUnlink no",
                "the socket of a session that has ended keeps the next one out, for ever",
                Some("StreamLocalBindUnlink yes"),
            ),
        }
    }

    /// Who may connect to the socket.
    fn mask(&self) -> Finding {
        let value = self.value("streamlocalbindmask");
        let setting = format!("StreamLocalBindMask {value}");
        match u32::from_str_radix(value, 8) {
            // To connect is to write.
            Ok(mask) if mask & 0o022 == 0o022 => advice(
                &setting,
                "only home's user and root can connect to the socket, and what is in front may be another",
                Some("StreamLocalBindMask 0111"),
            ),
            _ => good(&setting, "what is in front may connect to the socket"),
        }
    }

    fn disabled(&self) -> Option<Finding> {
        let line = Some("DisableForwarding no");
        (self.value("disableforwarding") == "yes").then(|| {
            bad(
                "DisableForwarding yes",
                "home may not ask sshd to listen",
                line,
            )
        })
    }

    /// How long sshd keeps a session whose home has gone without a word.
    fn alive(&self, has_ports: bool) -> Finding {
        let number = |name| self.value(name).parse::<u64>().unwrap_or(0);
        let (interval, count) = (number("clientaliveinterval"), number("clientalivecountmax"));
        let setting = format!("ClientAliveInterval {interval}, ClientAliveCountMax {count}");
        let dead = interval.saturating_mul(count.max(1));
        let kept = if has_ports {
            ", and its port with it, which keeps home out"
        } else {
            ""
        };
        let lines = "ClientAliveInterval 5\n        ClientAliveCountMax 2";
        if interval == 0 || count == 0 {
            let message = format!(
                "when home's address changes, or its line dies, sshd keeps the old session until TCP gives \
                 up, for a quarter of an hour or more{kept}"
            );
            advice(&setting, &message, Some(lines))
        } else if dead > DEAD_MAX_S {
            let message = format!("sshd keeps a dead session for some {dead} s{kept}");
            advice(&setting, &message, Some(lines))
        } else {
            good(
                &setting,
                &format!("sshd gives a dead session up after some {dead} s"),
            )
        }
    }

    fn keepalive(&self) -> Finding {
        match self.value("tcpkeepalive") {
            "no" => advice(
                "TCPKeepAlive no",
                "set it to yes, outside of any Match: it is what ends a dead session when all else fails",
                None,
            ),
            _ => good("TCPKeepAlive yes", "a dead connection ends some day"),
        }
    }

    /// sshd 9.8 makes addresses wait that fail often.
    fn penalties(&self) -> Option<Finding> {
        let value = self.value("persourcepenalties");
        if value.is_empty() || value == "no" {
            return None;
        }
        Some(good(
            &format!("PerSourcePenalties {value}"),
            "an address that fails often has to wait; home paces itself, and PerSourcePenaltyExemptList \
             could name its address",
        ))
    }

    fn sessions(&self) -> Option<Finding> {
        let value = self.value("maxsessions");
        // Visitors' channels are none of these.
        (!value.is_empty()).then(|| {
            good(
                &format!("MaxSessions {value}"),
                "is about shells, and home opens none",
            )
        })
    }
}

fn good(setting: &str, message: &str) -> Finding {
    finding(State::Good, setting, message, None)
}

fn advice(setting: &str, message: &str, line: Option<&str>) -> Finding {
    finding(State::Advice, setting, message, line)
}

fn bad(setting: &str, message: &str, line: Option<&str>) -> Finding {
    finding(State::Bad, setting, message, line)
}

fn finding(state: State, setting: &str, message: &str, line: Option<&str>) -> Finding {
    Finding {
        state,
        setting: setting.to_owned(),
        message: message.to_owned(),
        line: line.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "pubkeyauthentication yes\ngatewayports no\nallowtcpforwarding yes\n\
        allowstreamlocalforwarding yes\nstreamlocalbindunlink no\nclientaliveinterval 0\n\
        clientalivecountmax 3\ntcpkeepalive yes\nmaxsessions 10\npermitlisten any\ndisableforwarding no\n";

    fn findings(text: &str, forward: &str) -> Vec<Finding> {
        Settings::parse(text).findings("tunnel", &[forward.parse().unwrap()])
    }

    /// What of it keeps home out, and the lines that help.
    fn bad_ones(text: &str, forward: &str) -> Vec<(String, Option<String>)> {
        let findings = findings(text, forward).into_iter();
        let bad = findings.filter(|it| it.state == State::Bad);
        bad.map(|it| (it.setting, it.line)).collect()
    }

    #[test]
    fn debians_settings_do_for_a_port_on_loopback_and_not_for_a_public_one_or_a_socket() {
        assert_eq!(bad_ones(DEBIAN, "127.0.0.1:8443"), []);
        let gateway = Some("GatewayPorts clientspecified".to_owned());
        assert_eq!(
            bad_ones(DEBIAN, "*:8443"),
            [("GatewayPorts no".to_owned(), gateway)]
        );
        let unlink = Some("StreamLocalBindUnlink yes".to_owned());
        let socket = bad_ones(DEBIAN, "unix:/run/a.sock");
        assert_eq!(socket, [("StreamLocalBindUnlink no".to_owned(), unlink)]);
    }

    #[test]
    fn each_setting_that_keeps_home_out_is_named() {
        for (good, bad, named) in [
            (
                "pubkeyauthentication yes",
                "pubkeyauthentication no",
                "PubkeyAuthentication no",
            ),
            (
                "allowtcpforwarding yes",
                "allowtcpforwarding local",
                "AllowTcpForwarding local",
            ),
            (
                "disableforwarding no",
                "disableforwarding yes",
                "DisableForwarding yes",
            ),
            (
                "permitlisten any",
                "permitlisten 127.0.0.1:9000 [::1]:8443",
                "PermitListen",
            ),
            (
                "maxsessions 10",
                "allowusers root\nallowusers alice@10.0.0.0/8",
                "AllowUsers root alice",
            ),
            ("maxsessions 10", "denyusers tunnel", "DenyUsers tunnel"),
        ] {
            let text = DEBIAN.replace(good, bad);
            let found = bad_ones(&text, "127.0.0.1:8443");
            assert_eq!(found.len(), 1, "{bad}: {found:?}");
            assert!(found[0].0.starts_with(named), "{bad}: {found:?}");
        }
        let permitted = DEBIAN.replace("permitlisten any", "permitlisten 127.0.0.1:8443");
        assert_eq!(bad_ones(&permitted, "127.0.0.1:8443"), []);
        let permitted = DEBIAN.replace("permitlisten any", "permitlisten *:*");
        assert_eq!(bad_ones(&permitted, "127.0.0.1:8443"), []);
    }

    #[test]
    fn a_session_that_outlives_its_home_is_worth_a_word() {
        let alive = |interval: &str, count: &str| {
            let text = DEBIAN.replace("clientaliveinterval 0", interval);
            let text = text.replace("clientalivecountmax 3", count);
            let findings = findings(&text, "127.0.0.1:8443");
            let alive = findings
                .into_iter()
                .find(|it| it.setting.starts_with("ClientAlive"));
            alive.unwrap().state
        };
        assert_eq!(
            alive("clientaliveinterval 0", "clientalivecountmax 3"),
            State::Advice
        );
        assert_eq!(
            alive("clientaliveinterval 60", "clientalivecountmax 3"),
            State::Advice
        );
        // A count of none turns it off.
        assert_eq!(
            alive("clientaliveinterval 5", "clientalivecountmax 0"),
            State::Advice
        );
        assert_eq!(
            alive("clientaliveinterval 5", "clientalivecountmax 2"),
            State::Good
        );
    }
}
