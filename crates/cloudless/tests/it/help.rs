//! What a newcomer reads first.

use crate::binary::cloudless;

pub(crate) const COMMANDS: [&str; 55] = [
    "relay",
    "relay init",
    "relay invite",
    "relay allow-ssh",
    "relay run",
    "relay homes",
    "relay status",
    "relay reload",
    "relay revoke",
    "relay rotate-key",
    "relay ssh-key",
    "relay doctor",
    "home",
    "home join",
    "home run",
    "home status",
    "home ssh",
    "home ssh key",
    "home ssh trust",
    "home certificate",
    "home certificate show",
    "home certificate renew",
    "home trust",
    "home doctor",
    "home backup",
    "user add",
    "user list",
    "device",
    "device add",
    "device list",
    "device revoke",
    "contacts import",
    "contacts export",
    "contacts history",
    "contacts show",
    "contacts restore",
    "contacts undo-deletion",
    "contacts search",
    "contacts duplicates",
    "contacts merge",
    "contacts prune",
    "book",
    "book list",
    "book add",
    "book rename",
    "book remove",
    "book restore",
    "book share",
    "book unshare",
    "service",
    "service install",
    "service uninstall",
    "service status",
    "completions",
    "demo",
];

#[test]
fn every_command_has_help_with_examples_that_fits_a_terminal() {
    for name in COMMANDS {
        let arguments: Vec<&str> = name.split(' ').chain(["--help"]).collect();
        let help = cloudless(&arguments).expect(0);
        assert!(
            help.stdout.contains(&format!("Usage: cloudless {name}")),
            "{name}: {help:?}"
        );
        assert!(help.stdout.contains("\nExamples:\n"), "{name}: {help:?}");
        assert_eq!(help.stderr, "");
        for line in help.stdout.lines() {
            assert!(line.chars().count() <= 100, "{name}: {line}");
        }
    }
}

#[test]
fn every_listing_has_json() {
    for name in [
        "relay homes",
        "relay status",
        "home status",
        "home certificate show",
        "home trust",
        "home doctor",
        "user list",
        "device list",
        "contacts export",
        "contacts history",
        "contacts show",
        "contacts restore",
        "contacts search",
        "contacts duplicates",
        "contacts merge",
        "book list",
        "service status",
    ] {
        let arguments: Vec<&str> = name.split(' ').chain(["--help"]).collect();
        assert!(cloudless(&arguments).stdout.contains("--json"), "{name}");
    }
}

#[test]
fn wrong_usage_is_64_and_says_so_on_standard_error() {
    for arguments in [
        &["frobnicate"][..],
        &["relay"],
        &["relay", "invite"],
        &["relay", "invite", "a_b.example"],
        &["relay", "invite", "a.example", "--expires-in", "soon"],
        &["relay", "init", "--listen", "443"],
        &["home", "join", "no-join-code"],
        &["contacts", "import", "--user", "me"],
        &["contacts", "restore"],
        &["contacts", "search"],
        &["contacts", "merge"],
        &["book", "share", "club", "bob"],
        &["contacts", "restore", "--at", "yesterday"],
        &["contacts", "restore", "--at", "9999-01-01"],
        &["contacts", "restore", "--dry-run"],
    ] {
        let refused = cloudless(arguments).expect(64);
        assert_eq!(refused.stdout, "", "{arguments:?}");
        assert!(!refused.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_version_is_told() {
    let version = cloudless(&["--version"]).expect(0);
    assert_eq!(
        version.stdout,
        format!("cloudless {}\n", env!("CARGO_PKG_VERSION"))
    );
}
