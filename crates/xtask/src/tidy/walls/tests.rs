use super::*;

const NONE: [(String, usize, &str); 0] = [];

const LINTS: &str = "[lints]\nworkspace = true\n";

fn member(name: &str, dependencies: &[&str]) -> Member {
    let lines: Vec<String> = dependencies
        .iter()
        .map(|it| format!("{it}.workspace = true\n"))
        .collect();
    Member {
        name: name.to_owned(),
        folder: format!("crates/{name}"),
        description: Some("What it is for".to_owned()),
        manifest: format!("[package]\n{LINTS}[dependencies]\n{}", lines.concat()),
        dependencies: dependencies.iter().map(|it| (*it).to_owned()).collect(),
    }
}

/// Checks members, whose further dependencies are given as `(package, reached)`.
fn rules(members: &[Member], further: &[(&str, &str)]) -> Vec<(String, usize, &'static str)> {
    findings(members, further)
        .into_iter()
        .map(|it| (it.path, it.line, it.rule))
        .collect()
}

fn findings(members: &[Member], further: &[(&str, &str)]) -> Vec<Finding> {
    let mut graph: Graph = members
        .iter()
        .map(|it| (it.name.clone(), it.dependencies.clone()))
        .collect();
    for (package, reached) in further {
        graph
            .entry((*package).to_owned())
            .or_default()
            .insert((*reached).to_owned());
    }
    check(members, &graph)
}

#[test]
fn the_intended_edges_are_clean() {
    let members = [
        member(
            "cloudless",
            &[
                "anyhow",
                "clap",
                "cloudless-home",
                "cloudless-relay",
                "toml",
            ],
        ),
        member(
            "cloudless-home",
            &["cloudless-proto", "cloudless-store", "tokio"],
        ),
        member("cloudless-relay", &["cloudless-proto", "tokio", "toml"]),
        member("cloudless-store", &["rusqlite"]),
        member("cloudless-proto", &["serde"]),
    ];
    assert_eq!(rules(&members, &[("tokio", "mio")]), NONE);
}

#[test]
fn relay_and_home_never_meet() {
    let home = "crates/cloudless-home/Cargo.toml".to_owned();
    let both = [
        member("cloudless-home", &["cloudless-relay"]),
        member("cloudless-relay", &[]),
    ];
    let found = rules(&both, &[]);
    assert!(found.contains(&(home, 5, "crate-wall")), "{found:?}");

    let both = [
        member("cloudless-relay", &["cloudless-home"]),
        member("cloudless-home", &[]),
    ];
    assert!(!rules(&both, &[]).is_empty());
}

#[test]
fn a_core_does_not_reach_a_shell_through_others() {
    for core in ["cloudless-proto", "cloudless-dav-proto", "cloudless-vcard"] {
        for shell in ["tokio", "hyper", "axum", "rusqlite", "rustls"] {
            let found = findings(
                &[member(core, &["serde"])],
                &[("serde", "x"), ("x", "y"), ("y", shell)],
            );
            assert_eq!(found.len(), 1, "{core} {shell}");
            assert_eq!(found[0].line, 5);
            let chain = format!("{core} → serde → x → y → {shell}");
            assert!(found[0].message.contains(&chain), "{}", found[0].message);
        }
    }
}

#[test]
fn the_store_knows_no_http() {
    assert_eq!(
        rules(
            &[member("cloudless-store", &["rusqlite"])],
            &[("rusqlite", "libc")]
        ),
        NONE
    );
    assert_eq!(rules(&[member("cloudless-store", &["http"])], &[]).len(), 1);
}

#[test]
fn reserved_packages_stay_where_they_belong() {
    assert_eq!(rules(&[member("cloudless-vcard", &["calcard"])], &[]), NONE);
    for (name, package) in [
        ("cloudless-carddav", "calcard"),
        ("cloudless-carddav", "rusqlite"),
        ("cloudless-home", "anyhow"),
        ("cloudless-home", "toml"),
        ("cloudless-relay", "clap"),
    ] {
        let found = rules(&[member(name, &[package])], &[]);
        assert!(
            found.iter().any(|it| it.1 == 5 && it.2 == "crate-reserved"),
            "{name} {package}"
        );
    }
}

#[test]
fn a_crate_without_a_wall_is_found() {
    assert_eq!(
        rules(&[member("cloudless-new", &[])], &[]),
        [(
            "crates/cloudless-new/Cargo.toml".to_owned(),
            1,
            "crate-wall"
        )]
    );
}

#[test]
fn the_folder_is_named_as_the_crate() {
    let mut moved = member("cloudless-proto", &[]);
    moved.folder = "crates/proto".to_owned();
    assert_eq!(
        rules(&[moved], &[]),
        [("crates/proto/Cargo.toml".to_owned(), 1, "crate-folder")]
    );
}

#[test]
fn a_manifest_takes_the_lints_and_describes_the_crate() {
    let mut bare = member("cloudless-proto", &[]);
    bare.manifest = "[package]\n\n[lints]\nworkspace = false\n".to_owned();
    bare.description = None;
    let path = "crates/cloudless-proto/Cargo.toml".to_owned();
    assert_eq!(
        rules(&[bare], &[]),
        [
            (path.clone(), 3, "crate-manifest"),
            (path, 1, "crate-manifest")
        ]
    );
}
