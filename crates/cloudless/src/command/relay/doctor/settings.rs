//! The settings of an sshd as `sshd -T` prints them, and what they mean for home.

use std::collections::HashMap;

use cloudless_home::ssh::Forward;

use super::user::User;
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
    pub(super) fn findings(&self, user: &User, forwards: &[Forward]) -> Vec<Finding> {
        let mut findings = vec![self.public_keys()];
        findings.extend(self.methods());
        findings.extend(self.users(&user.name));
        findings.extend(self.groups(user));
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

    /// sshd may ask for more than a key, which home does not have.
    fn methods(&self) -> Option<Finding> {
        let chains = self.words("authenticationmethods");
        let is_enough = |it: &&str| matches!(*it, "any" | "publickey");
        (!chains.is_empty() && !chains.iter().any(is_enough)).then(|| {
            bad(
                &format!("AuthenticationMethods {}", chains.join(" ")),
                "home has one key and nothing else to prove itself by",
                Some("AuthenticationMethods publickey"),
            )
        })
    }

    fn users(&self, user: &str) -> Vec<Finding> {
        // What follows an @ is where the user may come from.
        let is_named = |pattern: &&str| {
            let name = pattern.split('@').next().unwrap_or_default();
            matches(name, user)
        };
        let mut findings = Vec::new();
        let allowed = self.words("allowusers");
        if !allowed.is_empty() && !allowed.iter().any(is_named) {
            let setting = format!("AllowUsers {}", allowed.join(" "));
            let message = format!("lets {user} not in: add {user} to that line");
            findings.push(bad(&setting, &message, None));
        }
        let denied = self.words("denyusers");
        if denied.iter().any(is_named) {
            let setting = format!("DenyUsers {}", denied.join(" "));
            let message = format!("keeps {user} out: take what names {user} out of that line");
            findings.push(bad(&setting, &message, None));
        }
        findings
    }

    fn groups(&self, user: &User) -> Vec<Finding> {
        let User { name, groups } = user;
        let is_in = |pattern: &&str| groups.iter().any(|group| matches(pattern, group));
        let mut findings = Vec::new();
        let allowed = self.words("allowgroups");
        if !allowed.is_empty() && !allowed.iter().any(is_in) {
            let setting = format!("AllowGroups {}", allowed.join(" "));
            let message = match &groups[..] {
                [] => {
                    format!("lets only members of these in, and there is no user {name} here yet")
                }
                groups => format!(
                    "lets {name} not in, who is in {}: add that to the line, or {name} to one of its groups",
                    groups.join(", ")
                ),
            };
            findings.push(bad(&setting, &message, None));
        }
        let denied = self.words("denygroups");
        if denied.iter().any(is_in) {
            let setting = format!("DenyGroups {}", denied.join(" "));
            let message = format!("keeps {name} out, who is in one of these groups");
            findings.push(bad(&setting, &message, None));
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

/// Whether a name is meant by one of sshd's patterns, where `*` is any text and `?` any character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut in_name) = (0, 0);
    // Behind the last `*`, and how far it reaches as yet.
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, in_name));
            }
            Some(byte) if *byte == b'?' || *byte == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((behind, reach)) = star else {
                    return false;
                };
                star = Some((behind, reach + 1));
                (at, in_name) = (behind, reach + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
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
        let user = User {
            name: "tunnel".to_owned(),
            groups: vec!["nogroup".to_owned(), "ssh-users".to_owned()],
        };
        Settings::parse(text).findings(&user, &[forward.parse().unwrap()])
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
            (
                "maxsessions 10",
                "denyusers root\ndenyusers t*l",
                "DenyUsers",
            ),
            (
                "maxsessions 10",
                "allowusers tunnels*",
                "AllowUsers tunnels*",
            ),
            (
                "maxsessions 10",
                "allowgroups wheel\nallowgroups ssh",
                "AllowGroups wheel ssh",
            ),
            ("maxsessions 10", "denygroups ssh-*", "DenyGroups ssh-*"),
            (
                "maxsessions 10",
                "authenticationmethods publickey,password publickey,publickey",
                "AuthenticationMethods publickey,password",
            ),
        ] {
            let text = DEBIAN.replace(good, bad);
            let found = bad_ones(&text, "127.0.0.1:8443");
            assert_eq!(found.len(), 1, "{bad}: {found:?}");
            assert!(found[0].0.starts_with(named), "{bad}: {found:?}");
        }
        for (none, as_good) in [
            ("permitlisten any", "permitlisten 127.0.0.1:8443"),
            ("permitlisten any", "permitlisten *:*"),
            (
                "maxsessions 10",
                "allowusers root\nallowusers t?nnel@192.0.2.*",
            ),
            ("maxsessions 10", "allowgroups wheel\nallowgroups ssh-users"),
            ("maxsessions 10", "denygroups wheel"),
            ("maxsessions 10", "authenticationmethods any"),
            (
                "maxsessions 10",
                "authenticationmethods password,publickey publickey",
            ),
        ] {
            let text = DEBIAN.replace(none, as_good);
            assert_eq!(bad_ones(&text, "127.0.0.1:8443"), [], "{as_good}");
        }
    }

    #[test]
    fn patterns_are_read_as_sshd_does() {
        for (pattern, name, expected) in [
            ("tunnel", "tunnel", true),
            ("tunnel", "tunnels", false),
            ("*", "", true),
            ("t*l", "tunnel", true),
            ("t*n*l", "tunnel", true),
            ("*nel*", "tunnel", true),
            ("*nels", "tunnel", false),
            ("t?nnel", "tunnel", true),
            ("tunnel?", "tunnel", false),
            ("", "tunnel", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
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
