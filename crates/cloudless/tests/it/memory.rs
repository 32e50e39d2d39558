//! Memory of home does not follow the size of the address book, of an answer or of an import.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::Request;

use crate::binary;
use crate::client::BOOK;
use crate::pair::Pair;

/// What glibc reads when a program starts.
#[cfg(target_env = "gnu")]
const ARENAS: &str = "MALLOC_ARENA_MAX";
const PHOTO: usize = 20 * 1024;
const MIB: u64 = 1024;
/// What an answer, and all that is stalled, may add to a home that has answered before, in KiB. The
/// answers are larger.
const GROWTH_MAX: u64 = 20 * MIB;
/// What a first import may add, caches included, in KiB.
const IMPORT_MAX: u64 = 48 * MIB;
/// The most that home takes altogether, in KiB, apart from its program.
const ANONYMOUS_MAX: u64 = 80 * MIB;
/// Nothing may be read for this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Without that it holds a third more, see docs/performance.md.
#[test]
#[cfg(target_env = "gnu")]
fn home_runs_with_two_arenas_unless_somebody_says_how_many() {
    let mut pair = Pair::start();
    for (given, runs_with) in [(None, "2"), (Some("5"), "5")] {
        pair.kill_home();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudless"));
        match given {
            None => command.env_remove(ARENAS),
            Some(arenas) => command.env(ARENAS, arenas),
        };
        pair.start_home_by(command);
        // Answered by the very process that was started.
        pair.await_tunnel();
        let environment = fs::read(format!("/proc/{}/environ", pair.home_pid())).unwrap();
        let arenas = format!("{ARENAS}={runs_with}");
        let mut variables = environment.split(|byte| *byte == 0);
        assert!(variables.any(|variable| variable == arenas.as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn photos_are_imported_listed_and_streamed_in_bounded_memory() {
    let n_cards = crate::rounds(1_000);
    let pair = Pair::start();
    let file = pair.folder("import").join("photos.vcf");
    write_cards(&file, n_cards);
    let home = Home(pair.home_pid());
    let before = home.kib("VmRSS");
    let path = file.to_str().unwrap();
    let import = ["contacts", "import", path, "--user", "me"];
    binary::on(&pair.folder("home"), &import).expect(0);
    let growth = home.kib("VmHWM").saturating_sub(before);
    assert!(
        growth < IMPORT_MAX,
        "an import: {growth} KiB more than {before}"
    );
    let hrefs: Vec<_> = (0..n_cards)
        .map(|number| format!("{BOOK}photo-{number:05}.vcf"))
        .collect();
    let all = multiget(&hrefs);
    let size = n_cards as u64 * PHOTO as u64 * 4 / 3;
    assert!(
        size / 1024 > GROWTH_MAX,
        "a whole answer would not be noticed"
    );

    // The first answers fill caches that stay.
    for body in [multiget(&hrefs[..100]), multiget(&hrefs[..100])] {
        drain(ask(&pair, "REPORT", &body));
    }
    let told = |answer: u64| assert!(answer > size, "{answer} bytes for photos of {size}");

    home.grows_little("a multiget of all", || {
        told(drain(ask(&pair, "REPORT", &all)))
    });
    home.grows_little("a sync of all", || told(drain(ask(&pair, "REPORT", SYNC))));
    home.grows_little("a query for all", || {
        told(drain(ask(&pair, "REPORT", QUERY)))
    });
    home.grows_little("a list", || {
        assert!(drain(ask(&pair, "PROPFIND", LIST)) > n_cards as u64 * 100);
    });

    // Eight clients ask for all, read a little and no more, while another one reads all of it.
    home.forget_peak();
    let before = home.kib("VmRSS");
    let mut stalled: Vec<_> = (0..8).map(|_| ask(&pair, "REPORT", &all)).collect();
    for connection in &mut stalled {
        connection.read_exact(&mut [0; 1024]).unwrap();
    }
    told(drain(ask(&pair, "REPORT", &all)));
    home.assert_grew_little("eight stalled clients", before);
    drop(stalled);

    // Through TLS and the relay.
    home.forget_peak();
    let before = home.kib("VmRSS");
    let request = Request::builder().method("REPORT").uri(BOOK);
    let request = request.header("depth", "1");
    let body = Bytes::from(multiget(&hrefs[..1_000]));
    let answer = pair
        .phone()
        .send(request.body(body).unwrap())
        .await
        .unwrap();
    assert!(answer.body.len() > 1_000 * PHOTO * 4 / 3);
    home.assert_grew_little("a multiget through the relay", before);

    let anonymous = home.kib("RssAnon");
    assert!(anonymous < ANONYMOUS_MAX, "home takes {anonymous} KiB");
}

struct Home(u32);

impl Home {
    /// A line of `/proc/PID/status`.
    fn kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let value = line.and_then(|line| line.strip_prefix(':')?.trim().strip_suffix(" kB"));
        value.expect("the field is there").parse().unwrap()
    }

    /// Begins the peak of memory, `VmHWM`, anew.
    fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.0), "5").unwrap();
    }

    #[track_caller]
    fn grows_little(&self, what: &str, work: impl FnOnce()) {
        self.forget_peak();
        let before = self.kib("VmRSS");
        work();
        self.assert_grew_little(what, before);
    }

    #[track_caller]
    fn assert_grew_little(&self, what: &str, before: u64) {
        let growth = self.kib("VmHWM").saturating_sub(before);
        assert!(
            growth < GROWTH_MAX,
            "{what}: {growth} KiB more than {before}"
        );
    }
}

const SYNC: &str = r#"<sync-collection xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav">
<sync-token/><sync-level>1</sync-level><prop><getetag/><C:address-data/></prop></sync-collection>"#;
const QUERY: &str = r#"<C:addressbook-query xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav">
<prop><getetag/><C:address-data/></prop><C:filter><C:prop-filter name="FN">
<C:text-match>person</C:text-match></C:prop-filter></C:filter></C:addressbook-query>"#;
const LIST: &str = r#"<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>"#;

fn multiget(hrefs: &[String]) -> String {
    let mut body = String::from(
        r#"<C:addressbook-multiget xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav">
<prop><getetag/><C:address-data/></prop>"#,
    );
    for href in hrefs {
        write!(body, "<href>{href}</href>").unwrap();
    }
    body + "</C:addressbook-multiget>"
}

/// Sends a request to home on loopback.
fn ask(pair: &Pair, method: &str, body: &str) -> TcpStream {
    let url = pair.local_url("");
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut connection = TcpStream::connect(host).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let credentials = BASE64.encode(format!("me:{}", pair.password()).as_bytes());
    let length = body.len();
    let request = format!(
        "{method} {BOOK} HTTP/1.1\r\nhost: {host}\r\nauthorization: Basic {credentials}\r\n\
         depth: 1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    connection.write_all(request.as_bytes()).unwrap();
    connection
}

/// Reads an answer to its end and returns how long it was.
fn drain(mut connection: TcpStream) -> u64 {
    let mut buffer = vec![0; 64 * 1024];
    let mut length = 0;
    loop {
        match connection.read(&mut buffer).unwrap() {
            0 => return length,
            read => length += read as u64,
        }
    }
}

fn write_cards(file: &Path, n_cards: usize) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut cards = std::io::BufWriter::new(fs::File::create(file).unwrap());
    for number in 0..n_cards {
        let photo = BASE64.encode(&vec![number as u8; PHOTO]);
        write!(
            cards,
            "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:photo-{number:05}\r\nFN:Person {number}\r\n\
             PHOTO;ENCODING=b;TYPE=JPEG:{photo}\r\nEND:VCARD\r\n"
        )
        .unwrap();
    }
    cards.flush().unwrap();
}
