//! Nothing stays.

use std::fs;
use std::path::Path;
use std::process::Command;

use cloudless_testbed::Namespace;

use crate::can_run;

#[test]
fn a_namespace_goes_with_its_files_also_after_a_panic() {
    if !can_run() {
        return;
    }
    let panicked = std::thread::spawn(|| {
        let namespace = Namespace::new("short-lived");
        namespace.set_resolver("nameserver 192.0.2.53\n");
        let mut cat = namespace.command("cat");
        let output = cat.arg("/etc/resolv.conf").output().unwrap();
        assert_eq!(output.stdout, b"nameserver 192.0.2.53\n");
        std::panic::resume_unwind(Box::new(namespace.name().to_owned()));
    });
    let name = panicked.join().unwrap_err().downcast::<String>().unwrap();
    assert!(!exists(&name));
}

#[test]
fn what_a_killed_process_left_goes_and_what_others_made_stays() {
    if !can_run() {
        return;
    }
    // No process has a number this high.
    let left = "cloudless-4194305-0-left";
    let foreign = format!("foreign-{}", std::process::id());
    for name in [left, &foreign] {
        let added = Command::new("ip").args(["netns", "add", name]).status();
        assert!(added.unwrap().success());
    }
    // The sweep comes before the first one of a process, which another test may have made here.
    let listed = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "leftovers::a_namespace_goes_with_its_files_also_after_a_panic",
        ])
        .output();
    assert!(listed.unwrap().status.success());
    assert!(!exists(left));
    assert!(exists(&foreign));
    let deleted = Command::new("ip")
        .args(["netns", "delete", &foreign])
        .status();
    assert!(deleted.unwrap().success());
}

fn exists(name: &str) -> bool {
    ["/run/netns", "/etc/netns"]
        .iter()
        .any(|folder| fs::exists(Path::new(folder).join(name)).unwrap())
}
