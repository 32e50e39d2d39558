//! khard on a folder that vdirsyncer keeps in step with home, as `docs/clients.md` says.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::binary::on;
use crate::pair::Pair;
use crate::vdirsyncer::{self, Account, Folder};
use crate::{cards, documented, exported};

const COUNT: usize = 1000;

struct Khard {
    program: PathBuf,
    directory: PathBuf,
}

impl Khard {
    /// On a folder of vdirsyncer's.
    fn new(program: PathBuf, directory: PathBuf) -> Self {
        let block = documented::block("clients.md", "## khard", "ini");
        let folder = format!("{}/cards", directory.display());
        let config = documented::here(block, &[("~/.local/share/contacts", &folder)]);
        std::fs::write(directory.join("khard.conf"), config).unwrap();
        Self { program, directory }
    }

    /// Runs it, with yes to its questions, and returns the lines that it prints.
    fn run(&self, arguments: &[&str]) -> Vec<String> {
        // A question that it is not meant to ask, it would ask for ever.
        let mut child = Command::new("timeout")
            .arg("60")
            .arg(&self.program)
            .arg("--config")
            .arg(self.directory.join("khard.conf"))
            .args(arguments)
            .env("PYTHONUTF8", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may not have asked.
        let _ = child.stdin.take().unwrap().write_all(&b"yes\n".repeat(3));
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(str::to_owned).collect()
    }

    /// What it reads of a contact that somebody fills in.
    fn form(&self, text: &str) -> String {
        let path = self.directory.join("form.yaml");
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// UID and name of every contact.
    fn list(&self) -> BTreeSet<String> {
        let lines = self.run(&["list", "--parsable", "--fields=uid,name"]);
        lines.into_iter().collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_are_made_edited_and_removed_with_khard_and_elsewhere() {
    let (Some(sync), Some(program)) = (vdirsyncer::program(), exported::khard()) else {
        return;
    };
    let pair = Pair::start();
    let file = pair.folder("import").join("all.vcf");
    let many = (0..COUNT).map(|number| cards::small(&format!("card-{number}")));
    let mut all = many.collect::<Vec<_>>().concat();
    all.extend(cards::with_photo("with-photo"));
    all.extend(cards::group("club", &["with-photo"]));
    std::fs::write(&file, all).unwrap();
    let import = ["contacts", "import", file.to_str().unwrap()];
    on(&pair.folder("home"), &import).expect(0);
    let laptop = Folder::new(&sync, pair.folder("laptop"), Account::at_home(&pair));
    laptop.discover();
    laptop.sync();
    let khard = Khard::new(program, pair.folder("laptop"));
    let listed = khard.list();
    assert_eq!(listed.len(), COUNT + 2);
    assert!(listed.contains("with-photo\tPaul Photo"), "{listed:?}");
    assert!(listed.contains("club\tThe Club"), "{listed:?}");

    // Here: one is new, one is changed, one is gone. A UID that begins others would be asked about.
    let form = "First name : Ann\nLast name : Example\nEmail :\n    home : ann@example.org\n";
    khard.run(&["new", "--input-file", &khard.form(form)]);
    let form = "First name : Paul\nLast name : Photo\nNickname : PP\n\
                Email :\n    Club : paul@example.org\n";
    khard.run(&["edit", "--input-file", &khard.form(form), "uid:with-photo"]);
    khard.run(&["remove", "--force", "uid:card-999"]);
    laptop.sync();
    let desktop = Folder::new(&sync, pair.folder("desktop"), Account::at_home(&pair));
    desktop.discover();
    desktop.sync();
    let all: Vec<_> = desktop.read().into_values().collect();
    assert_eq!(all.len(), COUNT + 2);
    let text = |card: &Vec<u8>| String::from_utf8(card.clone()).unwrap();
    let find = |uid: &str| {
        let line = format!("UID:{uid}\r\n");
        all.iter().map(text).find(|card| card.contains(&line))
    };
    assert!(
        all.iter()
            .map(text)
            .any(|it| it.contains("ann@example.org"))
    );
    assert!(find("card-999").is_none());
    // The photo, and what khard does not know, are as they were.
    let unfolded = |card: &str| card.replace("\r\n ", "");
    let photo = |card: &str| {
        let card = unfolded(card);
        let line = card.lines().find(|line| line.starts_with("PHOTO;"));
        line.map(str::to_owned)
    };
    let edited = find("with-photo").unwrap();
    assert!(edited.contains("NICKNAME:PP\r\n") && edited.contains("X-CUSTOM:kept\r\n"));
    assert_eq!(photo(&edited), photo(&text(&cards::with_photo("x"))));
    assert!(all.contains(&cards::group("club", &["with-photo"])));

    // Elsewhere.
    let change = String::from_utf8(cards::small("card-8")).unwrap();
    desktop.write(
        "changed",
        change.replace("FN:Small", "FN:Changed").as_bytes(),
    );
    for (name, card) in desktop.read() {
        let card = text(&card);
        let is_old = card.contains("UID:card-8\r\n") && name != "changed";
        if is_old || card.contains("UID:card-9\r\n") {
            desktop.remove(&name);
        }
    }
    desktop.sync();
    laptop.sync();
    let listed = khard.list();
    assert_eq!(listed.len(), COUNT + 1);
    assert!(listed.contains("card-8\tChanged card-8"));
    assert!(!listed.iter().any(|it| it.starts_with("card-9\t")));
}
