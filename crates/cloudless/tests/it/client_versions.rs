//! Whether the programs that the tests run are those of the table in `docs/clients.md`.

use std::process::Command;

use crate::{corpus, documented, exported, is_acceptance, vdirsyncer};

/// The version of a program that the table has it with.
#[track_caller]
fn assert_documented(program: &str, version: &str) {
    let documented = documented::cells("clients.md", program);
    let cell = &documented[1];
    assert_eq!(
        cell, version,
        "docs/clients.md has {program} {cell}, the tests ran {version}"
    );
}

/// What a program says to `--version`, after its name.
fn said(program: &std::path::Path) -> String {
    let output = Command::new(program).arg("--version").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.split_whitespace().last().unwrap().to_owned()
}

/// The version of the program in a package of Debian, without what Debian added; None where it is not
/// installed.
fn packaged(package: &str) -> Option<String> {
    let query = ["--show", "--showformat", "${Version}", package];
    let output = Command::new("dpkg-query").args(query).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text.split_once(':').map_or(&*text, |(_, rest)| rest);
    let (version, _) = version.rsplit_once('-')?;
    let upstream = version.split(['+', '~']).next().unwrap();
    output.status.success().then(|| upstream.to_owned())
}

#[test]
fn those_of_debian_are_those_of_the_table() {
    let programs = [
        ("[cadaver](#cadaver)", "cadaver"),
        ("[Thunderbird](#thunderbird)", "thunderbird"),
        (
            "[Evolution, GNOME Contacts](#evolution-and-gnome-contacts)",
            "evolution-data-server",
        ),
    ];
    for (program, package) in programs {
        match packaged(package) {
            Some(version) if package == "evolution-data-server" => {
                assert_documented(program, &format!("Evolution Data Server {version}"));
            }
            Some(version) => assert_documented(program, &version),
            None => corpus::missing(&format!("the package {package}")),
        }
    }
    // As its tests.
    if !is_acceptance() {
        return;
    }
    match (packaged("akonadi-server"), packaged("libkf5dav5")) {
        (Some(akonadi), Some(kdav)) => {
            assert_documented("[KDE](#kde)", &format!("Akonadi {akonadi}, kdav {kdav}"));
        }
        _ => corpus::missing("the packages akonadi-server and libkf5dav5"),
    }
}

#[test]
fn those_of_the_tests_themselves_are_those_of_the_table() {
    if let Some(program) = vdirsyncer::program() {
        assert_documented("[vdirsyncer](#vdirsyncer)", &said(&program));
    }
    if let Some(program) = exported::khard() {
        assert_documented("[khard](#khard)", &said(&program));
    }
    let lock = include_str!("../../../../Cargo.lock");
    let (_, package) = lock.split_once("name = \"libdav\"\nversion = \"").unwrap();
    let (version, _) = package.split_once('"').unwrap();
    assert_documented("libdav, the library of [pimsync](#pimsync)", version);
}
