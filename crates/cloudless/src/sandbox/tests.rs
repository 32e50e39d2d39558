use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::Command;
use std::thread;

use super::*;

/// Says to the test that it is the process in the sandbox, and which files are its own.
const FOLDER: &str = "CLOUDLESS_TEST_SANDBOX";

#[test]
fn what_a_relay_gives_up_is_gone_for_good() {
    let test = "sandbox::tests::what_a_relay_gives_up_is_gone_for_good";
    in_a_process_of_its_own(test, |folder| {
        attempt(folder, &Needs::of_relay(&folder.join("state")));
    });
}

#[test]
fn what_a_home_gives_up_is_gone_for_good() {
    let test = "sandbox::tests::what_a_home_gives_up_is_gone_for_good";
    in_a_process_of_its_own(test, |folder| {
        let certificate = folder.join("certificates").join("cert.pem");
        fs::create_dir(certificate.parent().unwrap()).unwrap();
        fs::write(&certificate, "old").unwrap();
        let server = folder.join("server");
        fs::create_dir(&server).unwrap();
        let _server = UnixListener::bind(server.join("socket")).unwrap();
        let state = folder.join("state");
        let certificates = std::slice::from_ref(&certificate);
        let needs = Needs::of_home(&state, certificates, &[server.join("socket")]);
        let in_force = attempt(folder, &needs);
        UnixStream::connect(server.join("socket")).unwrap();
        // Such as the bus of a session.
        let others = UnixStream::connect(folder.join("bus"));
        match in_force.sockets {
            Sockets::All => assert_eq!(others.unwrap_err().kind(), ErrorKind::PermissionDenied),
            _ => eprintln!(
                "NOT TESTED, as this kernel's Landlock has no rule for it: sockets of others in the \
                 file system"
            ),
        }
        // What a home needs beside its state, it has.
        assert_eq!(fs::read_to_string(&certificate).unwrap(), "old");
        assert!(fs::write(&certificate, "new").is_err());
        assert!(fs::read("/etc/hosts").is_ok());
    });
}

/// Runs `inside` in a process that has nothing but this test, with a folder of its own.
fn in_a_process_of_its_own(test: &str, inside: impl FnOnce(&Path)) {
    if let Some(folder) = env::var_os(FOLDER) {
        return inside(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("own"), "own").unwrap();
    fs::write(folder.path().join("outside"), "secret").unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg(test)
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}");
}

/// What a role that somebody has taken over would try, on this thread and on one that it starts.
fn attempt(folder: &Path, needs: &Needs) -> InForce {
    let (state, outside) = (folder.join("state"), folder.join("outside"));
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| error.kind());
    assert_eq!(read(&outside).unwrap(), "secret");
    assert!(Command::new("true").status().unwrap().success());
    let name = folder.as_os_str().as_bytes();
    let bus = SocketAddr::from_abstract_name(name).unwrap();
    let _bus = UnixListener::bind_addr(&bus).unwrap();
    let _other = UnixListener::bind(folder.join("bus")).unwrap();
    UnixStream::connect_addr(&bus).unwrap();
    UnixStream::connect(folder.join("bus")).unwrap();
    let parent = rustix::process::getppid().unwrap();
    rustix::process::test_kill_process(parent).unwrap();

    let in_force = enter(needs).unwrap();
    assert!(in_force.landlock, "these tests need a kernel with Landlock");

    let attempts = || {
        assert_eq!(read(&outside), Err(ErrorKind::PermissionDenied));
        let link = state.join("link");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        assert_eq!(read(&link), Err(ErrorKind::PermissionDenied));
        assert!(fs::write(folder.join("new"), "").is_err());
        assert!(fs::rename(&outside, state.join("moved")).is_err());
        assert!(fs::hard_link(&outside, state.join("linked")).is_err());
        if in_force.seccomp {
            let refused = Command::new("true").status().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
            let refused = rustix::process::chroot(&state).unwrap_err();
            assert_eq!(refused, rustix::io::Errno::PERM);
        }
        if in_force.sockets >= Sockets::Abstract {
            let refused = UnixStream::connect_addr(&bus).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
            let refused = rustix::process::test_kill_process(parent).unwrap_err();
            assert_eq!(refused, rustix::io::Errno::PERM);
        } else {
            eprintln!(
                "NOT TESTED, as this kernel's Landlock has no scopes: abstract sockets, signals"
            );
        }
        // What home makes itself it reaches, and its own threads.
        let own = state.join("own.sock");
        let _ = fs::remove_file(&own);
        let _listening = UnixListener::bind(&own).unwrap();
        UnixStream::connect(&own).unwrap();
        rustix::process::test_kill_process(rustix::process::getpid()).unwrap();
        assert!(rustix::thread::no_new_privs().unwrap());
        assert_eq!(read(&state.join("own")).unwrap(), "own");
        fs::write(state.join("new"), "new").unwrap();
        fs::rename(state.join("new"), state.join("own.new")).unwrap();
        assert!(fs::read_dir("/proc/self/fd").is_ok());
    };
    attempts();
    thread::scope(|scope| scope.spawn(attempts).join().unwrap());
    in_force
}

#[test]
fn a_service_manager_with_an_abstract_socket_is_told_of() {
    assert!(is_abstract(b"@/org/freedesktop/systemd1/notify"));
    assert!(!is_abstract(b"/run/systemd/notify") && !is_abstract(b""));
}
