//! Programs that the tests call, and the Debian packages that bring them.

use std::process::Command;

use anyhow::{Context, Result};

use crate::step;

/// A Debian package, and a command that succeeds once it is installed.
pub(crate) struct Need {
    package: &'static str,
    probe: &'static [&'static str],
}

/// What the tests call.
pub(crate) const TESTS: &[Need] = &[
    Need {
        package: "apache2-bin",
        probe: &["test", "-x", "/usr/sbin/apache2"],
    },
    Need {
        package: "ca-certificates",
        probe: &["test", "-e", "/etc/ssl/certs"],
    },
    Need {
        package: "autossh",
        probe: &["autossh", "-V"],
    },
    Need {
        package: "cadaver",
        probe: &["test", "-x", "/usr/bin/cadaver"],
    },
    Need {
        package: "conntrack",
        probe: &["conntrack", "--version"],
    },
    Need {
        package: "curl",
        probe: &["curl", "--version"],
    },
    Need {
        package: "dbus-daemon",
        probe: &["dbus-run-session", "--version"],
    },
    Need {
        package: "evolution-data-server",
        probe: &["test", "-x", "/usr/libexec/evolution-addressbook-factory"],
    },
    Need {
        package: "dehydrated",
        probe: &["test", "-x", "/usr/bin/dehydrated"],
    },
    Need {
        package: "fish",
        probe: &["fish", "--version"],
    },
    Need {
        package: "gdb",
        probe: &["gdb", "--version"],
    },
    Need {
        package: "gir1.2-ebook-1.2",
        probe: &[
            "/usr/bin/python3",
            "-c",
            "import gi; gi.require_version('EBook', '1.2')",
        ],
    },
    Need {
        package: "haproxy",
        probe: &["/usr/sbin/haproxy", "-v"],
    },
    Need {
        package: "iproute2",
        probe: &["ip", "-V"],
    },
    Need {
        package: "knot",
        probe: &["/usr/sbin/knotd", "--version"],
    },
    Need {
        package: "libnginx-mod-stream",
        probe: &["test", "-e", "/usr/lib/nginx/modules/ngx_stream_module.so"],
    },
    Need {
        package: "libnss3-tools",
        probe: &["test", "-x", "/usr/bin/pk12util"],
    },
    Need {
        package: "litmus",
        probe: &["litmus", "--version"],
    },
    Need {
        package: "man-db",
        probe: &["man", "--version"],
    },
    Need {
        package: "nftables",
        probe: &["nft", "--version"],
    },
    Need {
        package: "openssh-client",
        probe: &["ssh", "-V"],
    },
    Need {
        package: "openssl",
        probe: &["openssl", "version"],
    },
    Need {
        package: "openssh-server",
        probe: &["test", "-x", "/usr/sbin/sshd"],
    },
    Need {
        package: "pebble",
        probe: &["sh", "-c", "command -v pebble"],
    },
    Need {
        package: "php-cli",
        probe: &["php", "--version"],
    },
    Need {
        package: "php-sabre-dav",
        probe: &["test", "-e", "/usr/share/php/Sabre/autoload.php"],
    },
    Need {
        package: "php-sqlite3",
        probe: &["php", "-r", "new PDO('sqlite::memory:');"],
    },
    Need {
        package: "php-xml",
        probe: &["php", "-r", "new DOMDocument();"],
    },
    Need {
        package: "python3",
        probe: &["python3", "--version"],
    },
    Need {
        package: "python3-gi",
        probe: &["/usr/bin/python3", "-c", "import gi"],
    },
    Need {
        package: "python3-venv",
        probe: &["python3", "-c", "import ensurepip, venv"],
    },
    Need {
        package: "sniproxy",
        probe: &["/usr/sbin/sniproxy", "-V"],
    },
    Need {
        package: "strace",
        probe: &["strace", "-qq", "-o", "/dev/null", "true"],
    },
    Need {
        package: "tcpdump",
        probe: &["tcpdump", "--version"],
    },
    Need {
        package: "thunderbird",
        probe: &["test", "-x", "/usr/lib/thunderbird/thunderbird"],
    },
    Need {
        package: "tinyproxy-bin",
        probe: &["tinyproxy", "-v"],
    },
    Need {
        package: "tshark",
        probe: &["tshark", "--version"],
    },
    Need {
        package: "systemd",
        probe: &["systemd-socket-activate", "--version"],
    },
    Need {
        package: "zsh",
        probe: &["zsh", "--version"],
    },
];

/// What the long suites call beside: a system of its own to install the package in, and to boot, and KDE.
pub(crate) const ACCEPTANCE: &[Need] = &[
    Need {
        package: "akonadi-backend-sqlite",
        probe: &["dpkg", "--status", "akonadi-backend-sqlite"],
    },
    Need {
        package: "debootstrap",
        probe: &["test", "-x", "/usr/sbin/debootstrap"],
    },
    Need {
        package: "dpkg-dev",
        probe: &["dpkg-shlibdeps", "--version"],
    },
    Need {
        package: "kdepim-runtime",
        probe: &["test", "-x", "/usr/bin/akonadi_davgroupware_resource"],
    },
    Need {
        package: "libkf5akonadi-dev",
        probe: &["test", "-e", "/usr/include/KF5/AkonadiCore"],
    },
    Need {
        package: "libkf5contacts-dev",
        probe: &["test", "-e", "/usr/include/KF5/KContacts"],
    },
    Need {
        package: "systemd-container",
        probe: &["systemd-nspawn", "--version"],
    },
];

/// The ways to home that the benchmark of the relay compares with.
pub(crate) const RELAY_PEERS: &[Need] = &[
    Need {
        package: "autossh",
        probe: &["autossh", "-V"],
    },
    Need {
        package: "conntrack",
        probe: &["conntrack", "--version"],
    },
    Need {
        package: "haproxy",
        probe: &["/usr/sbin/haproxy", "-v"],
    },
    Need {
        package: "iproute2",
        probe: &["ip", "-V"],
    },
    Need {
        package: "nftables",
        probe: &["nft", "--version"],
    },
    Need {
        package: "openssh-server",
        probe: &["test", "-x", "/usr/sbin/sshd"],
    },
    Need {
        package: "sniproxy",
        probe: &["/usr/sbin/sniproxy", "-V"],
    },
];

/// Installs what is missing where that is allowed; else says what to run.
pub(crate) fn prepare(needs: &[Need]) -> Result<()> {
    let missing = missing_packages(needs, is_present);
    if missing.is_empty() {
        return Ok(());
    }
    let can_install = is_root()? && is_present(&["apt-get", "--version"]);
    if !can_install {
        return step::missing(&format!(
            "more programs are needed; run: sudo apt-get install {}",
            missing.join(" ")
        ));
    }
    println!("installing {}", missing.join(" "));
    step::run(&mut apt_get(&["update", "--quiet=2"]))?;
    let mut arguments = vec!["install", "--yes", "--quiet=2", "--no-install-recommends"];
    arguments.extend(&missing);
    step::run(&mut apt_get(&arguments))?;
    let still_missing = missing_packages(needs, is_present);
    if still_missing.is_empty() {
        return Ok(());
    }
    step::missing(&format!(
        "installed, but still not to be found: {}",
        still_missing.join(" ")
    ))
}

fn missing_packages(needs: &[Need], is_present: impl Fn(&[&str]) -> bool) -> Vec<&'static str> {
    needs
        .iter()
        .filter(|it| !is_present(it.probe))
        .map(|it| it.package)
        .collect()
}

fn is_present(probe: &[&str]) -> bool {
    step::succeeds(Command::new(probe[0]).args(&probe[1..]))
}

pub(crate) fn is_root() -> Result<bool> {
    let output = Command::new("id")
        .arg("-u")
        .output()
        .context("run `id -u`")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_absent_is_missing() {
        let has_curl = |probe: &[&str]| probe[0] == "curl";
        let missing = missing_packages(TESTS, has_curl);
        assert!(!missing.contains(&"curl"));
        assert!(missing.contains(&"openssl"));
    }

    #[test]
    fn a_program_that_does_not_exist_is_absent() {
        assert!(!is_present(&["cloudless-no-such-program"]));
    }
}
