use std::net::SocketAddr;

use super::*;
use crate::config::sockets::SocketAddresses;

const ROLES: [Role; 2] = [Role::Relay, Role::Home];
const SCOPES: [Scope; 2] = [Scope::System, Scope::User];

fn shipped() -> Differences<'static> {
    Differences {
        executable: Path::new(SHIPPED_EXECUTABLE),
        state: None,
        user: None,
        listen: None,
    }
}

fn listen(https: &[&str], http: &[&str]) -> Listen {
    listen_with_ssh(https, http, &[])
}

fn listen_with_ssh(https: &[&str], http: &[&str], ssh: &[&str]) -> Listen {
    let addresses = |texts: &[&str]| {
        let parsed = texts.iter().map(|it| it.parse::<SocketAddr>().unwrap());
        SocketAddresses(parsed.collect())
    };
    Listen {
        https: addresses(https),
        http: addresses(http),
        ssh: addresses(ssh),
        proxy_protocol_from: Vec::new(),
    }
}

/// The lines in which a unit differs from the shipped one.
fn changed(unit: &Unit, role: Role, scope: Scope) -> Vec<String> {
    let (_, text) = role
        .shipped(scope)
        .iter()
        .find(|(name, _)| *name == unit.name)
        .unwrap();
    let is_new = |line: &&str| !text.lines().any(|it| it == *line);
    unit.text
        .lines()
        .filter(is_new)
        .map(str::to_owned)
        .collect()
}

/// A package's units and those of `service install` are the same.
#[test]
fn a_machine_as_packages_expect_it_gets_what_they_ship() {
    let usual = listen(&["[::]:443"], &["[::]:80"]);
    for (role, scope) in ROLES
        .into_iter()
        .flat_map(|role| SCOPES.map(|scope| (role, scope)))
    {
        for listen in [None, Some(&usual)] {
            let differences = Differences {
                listen,
                ..shipped()
            };
            let units = units(role, scope, &differences).unwrap();
            let texts: Vec<_> = units.iter().map(|it| (it.name, it.text.as_str())).collect();
            assert_eq!(texts, role.shipped(scope));
        }
    }
}

#[test]
fn only_what_differs_is_changed() {
    let differences = Differences {
        executable: Path::new("/opt/cloud less/cloudless"),
        state: Some(Path::new("/srv/50% \"mine\"/home")),
        user: Some("ann"),
        ..shipped()
    };
    let units = units(Role::Home, Scope::System, &differences).unwrap();
    assert_eq!(
        changed(&units[0], Role::Home, Scope::System),
        [
            r#"ConditionPathExists=/srv/50%% "mine"/home/home.toml"#,
            r#"ExecStart="/opt/cloud less/cloudless" home run --state "/srv/50%% \"mine\"/home""#,
            r#"ExecReload="/opt/cloud less/cloudless" home reload --state "/srv/50%% \"mine\"/home""#,
            "User=ann",
            r#"ReadWritePaths="/srv/50%% \"mine\"/home""#,
        ]
    );
    assert!(
        !units[0].text.contains("StateDirectory"),
        "{}",
        units[0].text
    );
}

#[test]
fn what_is_hidden_from_services_is_shown_to_this_one() {
    let differences = Differences {
        executable: Path::new("/home/ann/bin/cloudless"),
        state: Some(Path::new("/root/relay")),
        ..shipped()
    };
    let units = units(Role::Relay, Scope::System, &differences).unwrap();
    let changed = changed(&units[0], Role::Relay, Scope::System);
    for line in [
        "BindReadOnlyPaths=/home/ann/bin/cloudless",
        "BindPaths=/root/relay",
        "ProtectHome=tmpfs",
    ] {
        assert!(changed.iter().any(|it| it == line), "{line}: {changed:?}");
    }
    // Its sockets are there only where there is a relay.
    assert!(
        units[1]
            .text
            .contains("ConditionPathExists=/root/relay/relay.toml")
    );
}

#[test]
fn paths_that_units_cannot_name_are_refused() {
    for (executable, state) in [
        ("/opt/$x/cloudless", "/srv/home"),
        ("/opt/cloudless", "/srv/new\nline"),
        ("/opt/cloudless", "/home/a:b"),
        ("/opt/cloudless", "/srv/space "),
    ] {
        let differences = Differences {
            executable: Path::new(executable),
            state: Some(Path::new(state)),
            ..shipped()
        };
        let refused = units(Role::Home, Scope::System, &differences);
        assert!(refused.is_err(), "{executable} {state}");
    }
}

#[test]
fn a_socket_unit_listens_where_the_relay_would() {
    let streams = |https: &[&str], http: &[&str]| {
        let (streams, only_ipv6) = listen::streams(&listen(https, http)).unwrap();
        (streams.join(" "), only_ipv6)
    };
    let (text, only_ipv6) = streams(&["0.0.0.0:8443"], &[]);
    assert_eq!((text.as_str(), only_ipv6), ("0.0.0.0:8443", "both"));
    let (text, only_ipv6) = streams(&["[::]:443", "203.0.113.5:443"], &["[::]:80"]);
    assert_eq!(text, "[::]:443 203.0.113.5:443 [::]:80 0.0.0.0:80");
    assert_eq!(only_ipv6, "ipv6-only");
    assert!(listen::streams(&listen(&["127.0.0.1:0"], &[])).is_err());
}

#[test]
fn a_socket_unit_listens_for_ssh_too() {
    let streams = |ssh: &[&str]| {
        let listen = listen_with_ssh(&["[::]:443"], &["[::]:80"], ssh);
        let (streams, only_ipv6) = listen::streams(&listen)?;
        Ok::<_, Usage>((streams.join(" "), only_ipv6))
    };
    let everywhere = streams(&["[::]:2222"]).unwrap();
    assert_eq!(everywhere, ("443 80 2222".to_owned(), "both"));
    let (text, only_ipv6) = streams(&["[::]:22", "203.0.113.5:22"]).unwrap();
    assert_eq!(
        text,
        "[::]:443 0.0.0.0:443 [::]:80 0.0.0.0:80 [::]:22 203.0.113.5:22"
    );
    assert_eq!(only_ipv6, "ipv6-only");
    assert!(streams(&["[::]:0"]).is_err());
}

#[test]
fn an_edited_unit_is_known() {
    let sealed = seal(
        "service install home",
        "cloudless-home.service",
        "[Unit]\nA=b\n",
    );
    assert_eq!(look(&sealed), Found::Sealed);
    for edited in [
        sealed.replace("A=b", "A=c"),
        format!("{sealed}B=c\n"),
        sealed.replace("sha256", "sum"),
        "[Unit]\nA=b\n".to_owned(),
        String::new(),
    ] {
        assert_eq!(look(&edited), Found::Edited, "{edited}");
    }
}

#[test]
fn every_role_has_its_system_user() {
    for role in ROLES {
        assert!(
            role.system_user_line()
                .starts_with(&format!("u {} - ", role.system_user()))
        );
        let (_, text) = role.shipped(Scope::System)[0];
        assert!(text.contains(&format!("\nUser={}\n", role.system_user())));
    }
}
