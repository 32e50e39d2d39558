//! ClientHellos that real programs sent for `home.example.test`, read where they are.

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    sync::LazyLock,
};

pub(crate) const HOSTNAME: &str = "home.example.test";

pub(crate) struct Capture {
    pub(crate) file_name: String,
    /// One record with one ClientHello.
    pub(crate) bytes: Vec<u8>,
}

impl Capture {
    /// Where the server name stands in `bytes`.
    pub(crate) fn name_at(&self) -> usize {
        let mut windows = self.bytes.windows(HOSTNAME.len());
        windows
            .position(|window| window == HOSTNAME.as_bytes())
            .expect(&self.file_name)
    }

    /// The same hello for another name of the same length.
    pub(crate) fn with_name(&self, name: &[u8]) -> Vec<u8> {
        assert_eq!(name.len(), HOSTNAME.len());
        let mut bytes = self.bytes.clone();
        let at = self.name_at();
        bytes[at..at + name.len()].copy_from_slice(name);
        bytes
    }
}

/// Every captured hello with a server name; none, with a loud line, when the corpus is missing.
pub(crate) fn hellos() -> impl Iterator<Item = &'static Capture> {
    CAPTURES
        .iter()
        .filter(|capture| !capture.file_name.contains("no_server_name"))
}

/// Every captured hello without a server name.
pub(crate) fn hellos_without_name() -> impl Iterator<Item = &'static Capture> {
    CAPTURES
        .iter()
        .filter(|capture| capture.file_name.contains("no_server_name"))
}

static CAPTURES: LazyLock<Vec<Capture>> = LazyLock::new(read_captures);

fn read_captures() -> Vec<Capture> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/clienthello");
    let Ok(directory) = fs::read_dir(&corpus) else {
        say_missing();
        return Vec::new();
    };
    let mut captures: Vec<_> = directory
        .map(|file| {
            let path = file.unwrap().path();
            let file_name = path.file_name().unwrap().to_string_lossy().into_owned();
            Capture {
                file_name,
                bytes: fs::read(path).unwrap(),
            }
        })
        .filter(|capture| capture.file_name.ends_with(".bin"))
        .collect();
    captures.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    assert!(
        captures.len() >= 8,
        "the corpus has only {} ClientHellos",
        captures.len()
    );
    captures
}

fn say_missing() {
    let message = "MISSING: ../shared/corpus/clienthello, so no real ClientHello is tested";
    assert!(env::var_os("CI").is_none(), "{message}");
    // Not with eprintln, which the test harness hides unless the test fails.
    io::stderr()
        .write_all(format!("{message}\n").as_bytes())
        .unwrap();
}
