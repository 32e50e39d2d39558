use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use cloudless_store::{OpenError, Store};

#[test]
fn second_open_is_refused_until_the_last_handle_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let clone = store.clone();
    assert_in_use(directory.path());
    drop(store);
    assert_in_use(directory.path());
    drop(clone);
    Store::open(directory.path()).unwrap();
}

#[test]
fn a_command_that_looks_at_it_does_not_keep_a_home_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        let looking = Store::open(directory.path()).unwrap();
        let both = Barrier::new(2);
        thread::scope(|scope| {
            let starting = scope.spawn(|| {
                both.wait();
                Store::open_within(directory.path(), Duration::from_secs(60)).map(drop)
            });
            both.wait();
            drop(looking);
            starting.join().unwrap().unwrap();
        });
    }
}

#[test]
fn new_directory_and_files_are_for_this_user_alone() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("state").join("home");
    let store = Store::open(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&parent.path().join("state")), 0o700);
    let mut files = 0;
    for file in fs::read_dir(&path).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        files += 1;
    }
    assert!(
        files >= 3,
        "database, log and lock are expected, not {files} files"
    );
    drop(store);
}

#[test]
fn file_that_others_can_read_is_closed_to_them() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    let database = directory.path().join("store.sqlite");
    fs::set_permissions(&database, Permissions::from_mode(0o644)).unwrap();
    let _store = Store::open(directory.path()).unwrap();
    assert_eq!(mode(&database), 0o600);
    assert_eq!(mode(&directory.path().join("store.sqlite-wal")), 0o600);
}

#[test]
fn clean_close_leaves_one_file_to_copy() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.users().unwrap();
    drop(store);
    assert!(!directory.path().join("store.sqlite-wal").exists());
}

#[test]
fn file_in_place_of_the_directory_is_named_in_the_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    fs::write(&path, b"").unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(
        matches!(error, OpenError::CreateDirectory { .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
}

fn assert_in_use(path: &Path) {
    let error = Store::open(path).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
