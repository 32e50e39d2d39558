use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use tempfile::TempDir;
use tokio::time::sleep;

use cloudless_store::Timestamp;

use super::*;
use crate::config::Relay;
use crate::status::RelayState;

const HOUR: Duration = Duration::from_secs(3600);

/// A store with the phone of somebody, which has a certificate.
struct Bed {
    directory: TempDir,
    store: Store,
}

impl Bed {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.create_user("me", Timestamp(1)).unwrap();
        let bed = Self { directory, store };
        bed.add(1, "phone", Some([1; 32]));
        bed
    }

    fn add(&self, number: u8, name: &str, certificate: Option<[u8; 32]>) {
        let secret = [number; 32];
        self.store
            .add_device_with_certificate("me", name, secret, certificate, Timestamp(1))
            .unwrap();
    }

    fn log_in(&self, number: u8, at: i64) {
        let login = self
            .store
            .authenticate("me", &[number; 32], Timestamp(at))
            .unwrap();
        assert!(login.is_some());
        // Any write is behind the note that it was seen.
        let _ = self.store.create_user("me", Timestamp(1));
    }

    /// Home is started.
    fn open(&self) -> Silence {
        Silence::open(3 * HOUR, self.directory.path())
    }

    /// Looks after an hour with a tunnel.
    fn hour(&self, silence: &Silence) -> usize {
        let n_new = silence.count(self.store.devices(None).unwrap(), HOUR);
        silence.save(UNSAVED_MAX);
        n_new
    }

    /// The first look of a run.
    fn first(&self, silence: &Silence) -> usize {
        let n_new = silence.count(self.store.devices(None).unwrap(), Duration::ZERO);
        silence.save(UNSAVED_MAX);
        n_new
    }

    fn file(&self) -> PathBuf {
        kept::file_in(self.directory.path())
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }
}

fn phone(last_seen_at: i64) -> SilentDevice {
    SilentDevice {
        user: "me".to_owned(),
        name: "phone".to_owned(),
        created_at: 1,
        last_seen_at: Some(last_seen_at),
    }
}

#[test]
fn silence_counts_while_the_way_is_open_and_ends_when_the_device_comes() {
    let bed = Bed::new();
    bed.add(3, "plain", None);
    bed.log_in(1, 1_000);
    bed.log_in(3, 1_000);
    let silence = bed.open();
    let count = || bed.hour(&silence);
    assert_eq!([count(), count()], [0, 0]);
    assert_eq!(silence.devices(), []);
    assert_eq!([count(), count()], [1, 0], "told once");
    assert_eq!(silence.devices(), [phone(1_000)]);
    bed.log_in(1, 3_600_000);
    assert_eq!(count(), 0);
    assert_eq!(silence.devices(), []);
    assert_eq!([count(), count()], [0, 1]);
    bed.store
        .revoke_device("me", "phone", Timestamp(9))
        .unwrap();
    count();
    assert_eq!(silence.devices(), []);
}

/// Something imitates the name towards it from the day on which it was set up.
#[test]
fn a_device_that_never_came_is_told_too() {
    let bed = Bed::new();
    let never = SilentDevice {
        last_seen_at: None,
        ..phone(0)
    };
    let silence = bed.open();
    let count = || bed.hour(&silence);
    assert_eq!([count(), count()], [0, 0]);
    assert_eq!(silence.devices(), [], "it may be set up yet");
    // Also over a restart.
    let silence = bed.open();
    assert_eq!(bed.hour(&silence), 1);
    assert_eq!(silence.devices(), [never]);
    bed.log_in(1, 3_600_000);
    assert_eq!(bed.hour(&silence), 0);
    assert_eq!(silence.devices(), []);
    assert_eq!([(); 2].map(|()| bed.hour(&silence)), [0, 1]);
    assert_eq!(silence.devices(), [phone(3_600_000)]);
}

#[test]
fn a_home_that_is_off_each_night_counts_on() {
    let bed = Bed::new();
    bed.log_in(1, 1_000);
    for hours in 0..2 {
        let silence = bed.open();
        assert_eq!(bed.first(&silence), 0, "{hours}");
        assert_eq!(bed.hour(&silence), 0, "{hours}");
        assert_eq!(silence.devices(), []);
    }
    assert_eq!(bed.hour(&bed.open()), 1);
    let mode = fs::metadata(bed.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for name in ["phone", "me"] {
        assert!(!bed.text().contains(&format!("\"{name}\"")));
    }

    // Whoever starts home is told, before a tunnel is up.
    let silence = bed.open();
    assert_eq!(bed.first(&silence), 1);
    assert_eq!(silence.devices(), [phone(1_000)]);

    // It came while home looked away.
    bed.log_in(1, 3_600_000);
    let silence = bed.open();
    assert_eq!(bed.first(&silence), 0);
    assert_eq!(silence.devices(), []);
    assert_eq!([(); 3].map(|()| bed.hour(&silence)), [0, 0, 1]);
}

#[test]
fn a_clock_that_goes_back_neither_hides_a_device_nor_accuses_it() {
    let bed = Bed::new();
    bed.log_in(1, 90_000_000_000);
    let silence = bed.open();
    assert_eq!([(); 3].map(|()| bed.hour(&silence)), [0, 0, 1]);
    // It comes, and by the clock it is long before.
    bed.log_in(1, 1_000);
    assert_eq!(bed.hour(&silence), 0);
    assert_eq!(silence.devices(), []);
    let silence = bed.open();
    assert_eq!([(); 2].map(|()| bed.hour(&silence)), [0, 1]);
    assert_eq!(silence.devices(), [phone(1_000)]);
}

#[test]
fn a_revoked_device_leaves_the_file_at_once() {
    let bed = Bed::new();
    bed.log_in(1, 1_000);
    let silence = bed.open();
    bed.hour(&silence);
    assert!(bed.text().contains("\"device\":1"), "{}", bed.text());
    bed.store
        .revoke_device("me", "phone", Timestamp(9))
        .unwrap();
    bed.first(&silence);
    assert_eq!(bed.text(), "[]");

    // Also one that was revoked while home was off.
    bed.add(2, "phone", Some([2; 32]));
    bed.log_in(2, 2_000);
    bed.hour(&silence);
    assert!(bed.text().contains("\"device\":2"), "{}", bed.text());
    bed.store
        .revoke_device("me", "phone", Timestamp(9))
        .unwrap();
    bed.first(&bed.open());
    assert_eq!(bed.text(), "[]");
}

#[test]
fn what_is_no_such_file_is_begun_anew() {
    let bed = Bed::new();
    bed.log_in(1, 1_000);
    let row = "{\"device\":1,\"last_seen_at\":\"1970-01-01T00:00:01.000Z\",\"open_ms\":";
    let end = "18446744073709551615}";
    let damaged = [
        String::new(),
        "[{".to_owned(),
        "{}".to_owned(),
        format!("[{row}-1}}]"),
        // Somebody has made it endless.
        format!("[{row}{end}{}]", format!(",{row}{end}").repeat(10_000)),
    ];
    for text in damaged {
        fs::write(bed.file(), &text).unwrap();
        assert!(kept::read(&bed.file()).is_err(), "{text:.80}");
        let silence = bed.open();
        bed.first(&silence);
        assert!(kept::read(&bed.file()).is_ok(), "told at each start");
        assert_eq!([(); 3].map(|()| bed.hour(&silence)), [0, 0, 1]);
        assert!(bed.text().ends_with("\"open_ms\":10800000}]"));
    }
    // The longest time that there is does not run over.
    fs::write(bed.file(), format!("[{row}{end}]")).unwrap();
    let silence = bed.open();
    assert_eq!([(); 2].map(|()| bed.hour(&silence)), [1, 0]);
    assert_eq!(silence.devices(), [phone(1_000)]);
}

#[test]
fn the_file_is_written_now_and_then_and_has_a_bound() {
    let bed = Bed::new();
    bed.log_in(1, 1_000);
    let silence = bed.open();
    let minute = || {
        silence.count(bed.store.devices(None).unwrap(), HOUR / 60);
        silence.save(UNSAVED_MAX);
        bed.file().exists()
    };
    let written: Vec<_> = (0..10).map(|_| minute()).collect();
    assert_eq!(written, [&[false; 9][..], &[true]].concat());

    let id = bed.store.devices(None).unwrap()[0].id;
    let row = || Kept::new(id, i64::MAX, Duration::MAX);
    kept::write(&bed.file(), (0..5_000).map(|_| row()).collect()).unwrap();
    assert!(kept::read(&bed.file()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn only_time_with_a_tunnel_counts_and_it_is_kept_at_the_end() {
    let bed = Bed::new();
    bed.log_in(1, 1_000);
    let relay = Relay {
        addresses: Vec::new(),
        server_name: "relay.example.org".parse().unwrap(),
        key: cloudless_proto::PublicKey([1; 32]),
    };
    let run = || {
        let board = Board::new(std::slice::from_ref(&relay), &[], Arc::new(SystemTime::now));
        let (silence, stop) = (bed.open(), CancellationToken::new());
        let (store, minute) = (bed.store.clone(), HOUR / 60);
        let task = watch(silence.clone(), store, board.clone(), minute, stop.clone());
        (board, silence, stop, tokio::spawn(task))
    };
    let (board, silence, stop, task) = run();
    sleep(5 * HOUR).await;
    assert_eq!(silence.devices(), [], "no tunnel");
    board.set(0, RelayState::Connected, None);
    sleep(2 * HOUR + HOUR / 2).await;
    assert_eq!(silence.devices(), [], "not yet");
    stop.cancel();
    task.await.unwrap();

    let (board, silence, stop, task) = run();
    sleep(5 * HOUR).await;
    assert_eq!(silence.devices(), [], "no tunnel");
    board.set(0, RelayState::Connected, None);
    sleep(HOUR / 2 + 2 * (HOUR / 60)).await;
    assert_eq!(silence.devices(), [phone(1_000)]);
    stop.cancel();
    task.await.unwrap();
}
