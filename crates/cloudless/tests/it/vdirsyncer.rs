//! A real client, vdirsyncer, syncs two folders through relay and home, configured as
//! `docs/clients.md` says.

mod kept_out;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::cards;
use crate::corpus;
use crate::documented;
use crate::pair::Pair;

/// Cards that no phone wrote in one folder, byte for byte.
type Contents = BTreeMap<String, Vec<u8>>;

const GENERATED: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_folders_agree_byte_for_byte() {
    let Some(program) = program() else { return };
    let Some(corpus) = corpus::cards() else {
        return;
    };
    let pair = Pair::start();
    let account = Account::at_home(&pair);
    let laptop = Folder::new(&program, pair.folder("laptop"), account.clone());
    let desktop = Folder::new(&program, pair.folder("desktop"), account);

    // Up from one folder, down into another.
    let special = [
        ("with-photo".to_owned(), cards::with_photo("with-photo")),
        ("club".to_owned(), cards::group("club", &["with-photo"])),
    ];
    let generated = cards::varied(GENERATED);
    for (name, card) in corpus.iter().chain(&generated).chain(&special) {
        laptop.write(name, card);
    }
    let total = corpus.len() + GENERATED + special.len();
    assert_eq!(
        laptop.read().len(),
        total,
        "each card has a name of its own"
    );
    laptop.discover();
    laptop.sync();
    assert_eq!(pair.local_program().names().await.len(), total);
    desktop.discover();
    desktop.sync();
    assert_eq!(desktop.read().len(), total);
    assert_same(&laptop, &desktop);

    // Edits and deletions on both sides.
    for number in 0..5 {
        laptop.edit(&format!("card-{number}"), "NOTE:edited on the laptop");
    }
    for number in 5..9 {
        desktop.edit(&format!("card-{number}"), "NOTE:edited on the desktop");
    }
    for number in 10..13 {
        laptop.remove(&format!("card-{number}"));
    }
    for number in 13..15 {
        desktop.remove(&format!("card-{number}"));
    }
    laptop.write("new-one", &cards::small("new-one"));
    laptop.sync();
    desktop.sync();
    laptop.sync();
    let agreed = assert_same(&laptop, &desktop);
    assert_eq!(agreed.len(), total - 5 + 1);
    assert_eq!(pair.local_program().names().await.len(), agreed.len());
    let with = |text: &str| agreed.values().filter(|card| contains(card, text)).count();
    assert_eq!(with("NOTE:edited on the laptop"), 5);
    assert_eq!(with("NOTE:edited on the desktop"), 4);
    let cards: Vec<_> = desktop.read().into_values().collect();
    for (name, card) in special {
        assert!(cards.contains(&card), "{name}, byte for byte");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_is_seen_and_loses_nothing() {
    let Some(program) = program() else { return };
    let pair = Pair::start();
    let account = Account::at_home(&pair);
    let laptop = Folder::new(&program, pair.folder("laptop"), account.clone());
    let desktop = Folder::new(&program, pair.folder("desktop"), account);
    for (name, card) in cards::varied(3) {
        laptop.write(&name, &card);
    }
    laptop.discover();
    laptop.sync();
    desktop.discover();
    desktop.sync();
    assert_eq!(assert_same(&laptop, &desktop).len(), 3);

    laptop.edit("card-1", "NOTE:the laptop's word");
    desktop.edit("card-1", "NOTE:the desktop's word");
    laptop.sync();
    let refused = desktop.vdirsyncer(&["sync"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success(),
        "a conflict must not pass silently: {told}"
    );
    assert!(told.contains("conflict"), "{told}");
    let server = pair
        .phone()
        .connect()
        .await
        .unwrap()
        .get("card-1.vcf")
        .await
        .unwrap();
    assert!(contains(&server.body, "NOTE:the laptop's word"));
    assert!(contains(
        &desktop.read()["card-1"],
        "NOTE:the desktop's word"
    ));

    // The server wins, and both agree again.
    desktop.configure("\"b wins\"");
    desktop.sync();
    let agreed = assert_same(&laptop, &desktop);
    assert_eq!(agreed.len(), 3);
    assert!(contains(&agreed["card-1"], "NOTE:the laptop's word"));
}

/// A server and a login there.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) url: String,
    pub(crate) user: &'static str,
    pub(crate) password: String,
    pub(crate) ca_file: PathBuf,
}

impl Account {
    pub(crate) fn at_home(pair: &Pair) -> Self {
        Self {
            url: format!("https://localhost:{}/", pair.relay_port()),
            user: "me",
            password: pair.password().to_owned(),
            ca_file: pair.ca_file(),
        }
    }
}

/// A folder of cards on some machine, with a vdirsyncer that knows its password.
pub(crate) struct Folder {
    program: PathBuf,
    directory: PathBuf,
    account: Account,
}

impl Folder {
    pub(crate) fn new(program: &Path, directory: PathBuf, account: Account) -> Self {
        let folder = Self {
            program: program.to_owned(),
            directory,
            account,
        };
        std::fs::create_dir_all(folder.cards()).unwrap();
        folder.configure("null");
        folder
    }

    fn configure(&self, conflict_resolution: &str) {
        let directory = self.directory.display();
        let Account {
            url,
            user,
            password,
            ca_file,
        } = &self.account;
        let block = documented::block("clients.md", "## vdirsyncer", "ini");
        let config = documented::here(
            block,
            &[
                (
                    "~/.local/share/vdirsyncer/status",
                    &format!("{directory}/status"),
                ),
                ("~/.local/share/contacts", &format!("{directory}/cards")),
                ("https://contacts.example.org/", url),
                ("USER", user),
                ("PASSWORD", password),
                ("~/ca.pem", &ca_file.display().to_string()),
                (
                    "conflict_resolution = null",
                    &format!("conflict_resolution = {conflict_resolution}"),
                ),
            ],
        );
        std::fs::write(self.directory.join("config"), config).unwrap();
    }

    /// Finds the address book, starting at the bare host.
    pub(crate) fn discover(&self) {
        self.succeed(&["discover"]);
    }

    pub(crate) fn sync(&self) {
        self.succeed(&["sync"]);
    }

    fn succeed(&self, arguments: &[&str]) {
        let output = self.vdirsyncer(arguments);
        assert!(
            output.status.success(),
            "vdirsyncer {arguments:?}:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn vdirsyncer(&self, arguments: &[&str]) -> Output {
        Command::new(&self.program)
            .arg("--config")
            .arg(self.directory.join("config"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn cards(&self) -> PathBuf {
        self.directory.join("cards").join("contacts")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.cards().join(format!("{name}.vcf"))
    }

    pub(crate) fn write(&self, name: &str, card: &[u8]) {
        std::fs::create_dir_all(self.cards()).unwrap();
        std::fs::write(self.path(name), card).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    /// Puts a line behind the version of a card.
    pub(crate) fn edit(&self, name: &str, line: &str) {
        let card = String::from_utf8(std::fs::read(self.path(name)).unwrap()).unwrap();
        let at = card.find("UID:").expect("every generated card has a UID");
        let edited = format!("{}{line}\r\n{}", &card[..at], &card[at..]);
        std::fs::write(self.path(name), edited).unwrap();
    }

    pub(crate) fn read(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.cards())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .filter(|path| path.extension().is_some_and(|it| it == "vcf"))
            .map(|path| {
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                (name, std::fs::read(path).unwrap())
            })
            .collect()
    }
}

/// Both folders hold the same bytes, whatever the files are called; returns the first's.
fn assert_same(left: &Folder, right: &Folder) -> Contents {
    let sorted = |folder: &Folder| {
        let mut cards: Vec<_> = folder.read().into_values().collect();
        cards.sort();
        cards
    };
    let (left_cards, right_cards) = (sorted(left), sorted(right));
    for (one, other) in left_cards.iter().zip(&right_cards) {
        assert_eq!(String::from_utf8_lossy(one), String::from_utf8_lossy(other));
    }
    assert_eq!(left_cards, right_cards);
    left.read()
}

fn contains(card: &[u8], text: &str) -> bool {
    card.windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// vdirsyncer, which `cargo xtask test` installs.
pub(crate) fn program() -> Option<PathBuf> {
    let program = std::env::var_os("CLOUDLESS_VDIRSYNCER").map(PathBuf::from);
    if program.is_none() {
        corpus::missing("vdirsyncer: run `cargo xtask test`, which installs it");
    }
    program
}
