//! cadaver, the command line of WebDAV, on files and cards at home, through the relay.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binary::on;
use crate::corpus;
use crate::pair::{HOSTNAME, Pair};
use crate::{cards, documented};

/// Where the system keeps whom its programs trust.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A person at its prompt.
struct Person {
    /// Where they work, and their home directory.
    folder: PathBuf,
    port: u16,
    /// Whom their system trusts, beside nobody.
    ca_file: PathBuf,
}

impl Person {
    fn new(pair: &Pair, password: &str) -> Option<Self> {
        let is_there = Command::new("cadaver").arg("--version").output().is_ok();
        if !is_there {
            corpus::missing("cadaver: run `cargo xtask test`, which installs it");
            return None;
        }
        if !rustix::process::geteuid().is_root() || !Path::new(TRUSTED).exists() {
            corpus::missing("root and ca-certificates: nobody makes cadaver trust a home");
            return None;
        }
        let person = Self {
            folder: pair.folder("person"),
            port: pair.relay_port(),
            ca_file: pair.ca_file(),
        };
        person.log_in_with(password);
        Some(person)
    }

    fn log_in_with(&self, password: &str) {
        let file = self.folder.join(".netrc");
        let line = format!("machine {HOSTNAME} login me password {password}\n");
        fs::write(&file, line).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// What it says to these lines.
    fn says(&self, path: &str, lines: &str) -> String {
        let url = format!("https://{HOSTNAME}:{}{path}", self.port);
        let input = self.folder.join("lines");
        fs::write(&input, lines).unwrap();
        // As after update-ca-certificates, and for this process alone.
        let script = r#"mount --bind "$1" "$2" && exec cadaver "$3""#;
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(&self.ca_file)
            .args([TRUSTED, &url])
            .env("HOME", &self.folder)
            .current_dir(&self.folder)
            .stdin(Stdio::from(fs::File::open(&input).unwrap()))
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_put_listed_moved_fetched_and_deleted() {
    let pair = Pair::start();
    let Some(person) = Person::new(&pair, pair.password()) else {
        return;
    };
    let large: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    fs::write(person.folder.join("large"), &large).unwrap();
    fs::write(person.folder.join("small"), "small\n").unwrap();
    let files = "/dav/files/me/";
    let said = person.says(
        files,
        "put large\nput small\nmkcol folder\ncopy small copied\nmove copied folder/moved\n\
         propset small color blue\npropget small color\nget large fetched\nls\nls folder\n\
         lock small\ndelete small\nls\nrmcol folder\ndelete large\nls\nquit\n",
    );
    assert_eq!(fs::read(person.folder.join("fetched")).unwrap(), large);
    for words in [
        "Uploading large to `/dav/files/me/large'",
        "Creating `folder': succeeded.",
        "Value of color is: blue",
        "Coll:   folder",
        "moved                                  6",
        // Locks are not offered.
        "Locking `small': failed:\n405 Method Not Allowed",
        "Deleting `small': succeeded.",
        "Deleting collection `folder': succeeded.",
        "Listing collection `/dav/files/me/': collection is empty.",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(said.matches("failed").count(), 1, "{said}");

    // Cards are files to it.
    let card = cards::with_photo("with-photo");
    let mut phone = pair.phone().connect().await.unwrap();
    let put = phone.put("with-photo.vcf", &card).await.unwrap();
    assert!(put.status.is_success(), "{put:?}");
    let book = "/dav/addressbooks/me/contacts/";
    let said = person.says(book, "ls\nget with-photo.vcf card\nquit\n");
    assert!(said.contains("with-photo.vcf"), "{said}");
    assert_eq!(fs::read(person.folder.join("card")).unwrap(), card);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cards_are_listed_made_changed_and_deleted_on_both_sides() {
    let pair = Pair::start();
    let Some(person) = Person::new(&pair, pair.password()) else {
        return;
    };
    let book = "/dav/addressbooks/me/contacts/";
    let mut phone = pair.phone().connect().await.unwrap();
    for (name, card) in cards::varied(1000) {
        let put = phone.put(&format!("{name}.vcf"), &card).await.unwrap();
        assert_eq!(put.status, 201);
    }
    let said = person.says(book, "ls\nquit\n");
    assert_eq!(said.matches(".vcf").count(), 1000, "{said}");

    let club = cards::group("club", &["new"]);
    phone.put("club.vcf", &club).await.unwrap();
    let new = person.folder.join("new.vcf");
    let edited = |note: &str| {
        let card = String::from_utf8(cards::small("new")).unwrap();
        let end = format!("NOTE:{note}\r\nEND:VCARD");
        card.replace("END:VCARD", &end).into_bytes()
    };
    fs::write(&new, cards::small("new")).unwrap();
    let said = person.says(book, "put new.vcf\nget club.vcf club\nquit\n");
    assert!(!said.contains("failed"), "{said}");
    assert_eq!(fs::read(person.folder.join("club")).unwrap(), club);
    assert_eq!(
        phone.get("new.vcf").await.unwrap().body,
        cards::small("new")
    );
    fs::write(&new, edited("here")).unwrap();
    let said = person.says(book, "put new.vcf\nquit\n");
    assert!(!said.contains("failed"), "{said}");
    assert_eq!(phone.get("new.vcf").await.unwrap().body, edited("here"));
    phone.put("new.vcf", &edited("there")).await.unwrap();
    phone.delete("club.vcf").await.unwrap();
    let said = person.says(book, "get new.vcf theirs\nls\ndelete new.vcf\nquit\n");
    assert!(
        !said.contains("failed") && !said.contains("club.vcf"),
        "{said}"
    );
    assert_eq!(
        fs::read(person.folder.join("theirs")).unwrap(),
        edited("there")
    );
    assert_eq!(phone.get("new.vcf").await.unwrap().status, 404);
    // What is no card does not become one.
    fs::write(&new, "no card\n").unwrap();
    let said = person.says(book, "put new.vcf\nquit\n");
    assert!(said.contains("failed"), "{said}");
    assert_eq!(phone.get("new.vcf").await.unwrap().status, 404);
    // From the bare name the way is there to be walked.
    let said = person.says("/", "ls\ncd dav/addressbooks/me/contacts\nls\nquit\n");
    assert!(said.contains("Coll:   dav "), "{said}");
    assert_eq!(said.matches(".vcf").count(), 1000, "{said}");
}

#[test]
fn a_stranger_s_certificate_a_wrong_password_and_a_revoked_device_are_told() {
    let mut pair = Pair::start();
    let Some(mut person) = Person::new(&pair, pair.password()) else {
        return;
    };
    let files = "/dav/files/me/";
    let fails = |person: &Person, words: &str| {
        let said = person.says(files, "ls\nquit\n");
        assert!(said.contains("Could not open collection:"), "{said}");
        assert!(said.contains(words), "{words}: {said}");
    };
    let works = |person: &Person| {
        let said = person.says(files, "ls\nquit\n");
        assert!(said.contains("collection is empty."), "{said}");
    };
    works(&person);
    let trusted = std::mem::replace(&mut person.ca_file, PathBuf::from("/dev/null"));
    fails(&person, "issuer is not trusted");
    person.ca_file = trusted;

    person.log_in_with("wrong");
    fails(&person, "Could not authenticate to server");
    let home = pair.folder("home");
    let add = ["device", "add", "me", "laptop", "--json"];
    let added = on(&home, &add).expect(0).json();
    person.log_in_with(added["password"].as_str().unwrap());
    works(&person);

    let relay = pair.folder("relay");
    documented::set(&relay.join("relay.toml"), "hold = \"100ms\"\n");
    on(&relay, &["relay", "reload"]).expect(0);
    fs::write(person.folder.join("small"), "small\n").unwrap();
    let said = person.says(files, "put small\nquit\n");
    assert!(said.contains("succeeded."), "{said}");
    pair.kill_home();
    fails(&person, "");
    // Whoever goes on all the same is told, and nothing comes of it.
    let said = person.says(files, "put small lost\nget small gotten\nls\nquit\n");
    assert!(!said.contains("succeeded."), "{said}");
    assert!(!person.folder.join("gotten").exists());
    pair.start_home();
    pair.await_tunnel();
    let said = person.says(files, "ls\nget small gotten\nput small again\nls\nquit\n");
    assert!(!said.contains("lost") && !said.contains("failed"), "{said}");
    assert!(said.contains("again"), "{said}");
    assert_eq!(fs::read(person.folder.join("gotten")).unwrap(), b"small\n");

    on(&home, &["device", "revoke", "me", "laptop"]).expect(0);
    fails(&person, "Could not authenticate to server");
}
