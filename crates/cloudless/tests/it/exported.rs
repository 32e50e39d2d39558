//! What is exported can be read by other programs: vdirsyncer's folders and files, and khard.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::binary::on;
use crate::{cards, corpus, vdirsyncer};

const COUNT: usize = 40;

/// One address book, exported as a folder and as a file.
struct Export {
    directory: TempDir,
}

impl Export {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let export = Self { directory };
        let home = export.path("home");
        on(&home, &["user", "add", "me"]).expect(0);
        let cards = cards::varied(COUNT).into_iter().map(|(_, card)| card);
        let cards: Vec<_> = cards.collect();
        let imported = export.path("imported.vcf");
        std::fs::write(&imported, cards.join(&b"\r\n"[..])).unwrap();
        export.contacts(&["import", imported.to_str().unwrap()]);
        export.contacts(&["export", "--folder", &export.text("folder")]);
        export.contacts(&["export", "--output", &export.text("all.vcf")]);
        export
    }

    fn contacts(&self, arguments: &[&str]) {
        let arguments = [&["contacts"], arguments, &["--user", "me"]].concat();
        on(&self.path("home"), &arguments).expect(0);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Lets vdirsyncer copy from this storage to an empty folder, and tells what arrived.
    fn copied(&self, program: &Path, storage: &str) -> BTreeSet<Vec<u8>> {
        let copy = self.path("copy");
        std::fs::create_dir(&copy).unwrap();
        let (copy_path, status) = (self.text("copy"), self.text("status"));
        let config = self.path("config");
        let text = format!(
            r#"[general]
status_path = "{status}"

[pair copying]
a = "exported"
b = "copy"
collections = null

[storage exported]
{storage}

[storage copy]
type = "filesystem"
path = "{copy_path}"
fileext = ".vcf"
"#
        );
        std::fs::write(&config, text).unwrap();
        for step in ["discover", "sync"] {
            let mut command = Command::new(program);
            let output = command.arg("--config").arg(&config).arg(step);
            let output = output.stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        self.cards("copy")
    }

    /// The cards of a folder.
    fn cards(&self, folder: &str) -> BTreeSet<Vec<u8>> {
        let files = std::fs::read_dir(self.path(folder)).unwrap();
        files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect()
    }

    /// Runs khard on the folder and returns the lines that it prints.
    fn khard(&self, program: &Path, arguments: &[&str]) -> Vec<String> {
        let config = self.path("khard.conf");
        let folder = self.text("folder");
        let text = format!("[addressbooks]\n[[exported]]\npath = {folder}\n");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(program);
        let output = command.arg("--config").arg(&config).args(arguments);
        let output = output.env("PYTHONUTF8", "1").stdin(Stdio::null()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(str::to_owned).collect()
    }
}

fn uids() -> BTreeSet<String> {
    (0..COUNT).map(|it| format!("card-{it}")).collect()
}

#[test]
fn vdirsyncer_reads_an_exported_folder_byte_for_byte() {
    let Some(program) = vdirsyncer::program() else {
        return;
    };
    let export = Export::new();
    let folder = export.text("folder");
    let storage = format!("type = \"filesystem\"\npath = \"{folder}\"\nfileext = \".vcf\"");
    let copied = export.copied(&program, &storage);
    assert_eq!(copied.len(), COUNT);
    assert_eq!(copied, export.cards("folder"));
}

#[test]
fn vdirsyncer_reads_an_exported_file() {
    let Some(program) = vdirsyncer::program() else {
        return;
    };
    let export = Export::new();
    let file = export.text("all.vcf");
    let storage = format!("type = \"singlefile\"\npath = \"{file}\"");
    let copied = export.copied(&program, &storage);
    // It takes the cards apart and puts them together again, so that line ends change.
    let uid = |card: &Vec<u8>| {
        let card = std::str::from_utf8(card).unwrap();
        let uid = card.lines().find_map(|line| line.strip_prefix("UID:"));
        uid.unwrap().to_owned()
    };
    assert_eq!(copied.iter().map(uid).collect::<BTreeSet<_>>(), uids());
}

#[test]
fn khard_lists_and_searches_an_exported_folder() {
    let Some(program) = khard() else { return };
    let export = Export::new();
    let listed = export.khard(&program, &["list", "--parsable", "--fields=uid,name"]);
    let listed: BTreeSet<_> = listed
        .iter()
        .map(|line| line.split('\t').next().unwrap().to_owned())
        .collect();
    assert_eq!(listed, uids());
    let found = export.khard(
        &program,
        &["list", "--parsable", "--fields=uid", "Ó Briain 4"],
    );
    assert_eq!(found, ["card-4"]);
    let found = export.khard(&program, &["email", "--parsable", "person9@example.org"]);
    assert!(
        found.last().unwrap().starts_with("person9@example.org\t"),
        "{found:?}"
    );
}

/// khard, which `cargo xtask test` installs.
pub(crate) fn khard() -> Option<PathBuf> {
    let program = std::env::var_os("CLOUDLESS_KHARD").map(PathBuf::from);
    if program.is_none() {
        corpus::missing("khard: run `cargo xtask test`, which installs it");
    }
    program
}
