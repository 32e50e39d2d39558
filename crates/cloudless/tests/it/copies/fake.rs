//! A CardDAV server of the tests, which does what it is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    body: String,
}

/// Answers in place of the server, if it does.
type Before = Box<dyn FnMut(&Request) -> Option<String> + Send>;

#[derive(Default)]
struct State {
    cards: BTreeMap<String, Vec<u8>>,
    also: Vec<String>,
    before: Option<Before>,
    /// Multigets until one is held.
    until_held: Option<usize>,
    /// Told when one is held, and who then waits.
    hold: Option<(Sender<()>, Receiver<()>)>,
}

/// It has one address book at `/book/`, and serves until the test ends.
pub(super) struct Fake {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    hold: Mutex<Option<(Receiver<()>, Sender<()>)>>,
}

impl Fake {
    pub(super) fn with_cards(cards: &BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            cards: cards.clone(),
            ..State::default()
        }));
        let shared = state.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let shared = shared.clone();
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self {
            address,
            state,
            hold: Mutex::default(),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(super) fn before(&self, before: impl FnMut(&Request) -> Option<String> + Send + 'static) {
        self.state.lock().unwrap().before = Some(Box::new(before));
    }

    /// Lists these too.
    pub(super) fn list_also(&self, hrefs: &[&str]) {
        let hrefs = hrefs.iter().map(|it| (*it).to_owned());
        self.state.lock().unwrap().also = hrefs.collect();
    }

    /// Holds this multiget, counted from 1.
    pub(super) fn hold_multiget(&self, number: usize) {
        let ((told, is_held), (go_on, waits)) = (channel(), channel());
        let mut state = self.state.lock().unwrap();
        state.until_held = Some(number);
        state.hold = Some((told, waits));
        *self.hold.lock().unwrap() = Some((is_held, go_on));
    }

    /// Waits until one is held.
    pub(super) fn held(&self) {
        let hold = self.hold.lock().unwrap();
        hold.as_ref().unwrap().0.recv_timeout(PATIENCE).unwrap();
    }

    pub(super) fn let_go(&self) {
        let hold = self.hold.lock().unwrap().take();
        let _ = hold.unwrap().1.send(());
    }
}

/// A row with properties, without the body around it.
fn row(href: &str, properties: &str) -> String {
    format!(
        "<response><href>{href}</href><propstat><prop>{properties}</prop>\
         <status>HTTP/1.1 200 OK</status></propstat></response>"
    )
}

fn whole(rows: &str) -> String {
    format!(
        "<multistatus xmlns=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:carddav\">{rows}</multistatus>"
    )
}

/// A multistatus of one row.
pub(super) fn multistatus(href: &str, properties: &str) -> String {
    whole(&row(href, properties))
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(request) = read(&mut reader) {
        let before = state
            .lock()
            .unwrap()
            .before
            .as_mut()
            .and_then(|it| it(&request));
        let answer = before.unwrap_or_else(|| answer(&request, state));
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    Some(Request { method, path, body })
}

fn answer(request: &Request, state: &Mutex<State>) -> String {
    let (status, body) = match (request.method.as_str(), request.path.as_str()) {
        ("PROPFIND", "/") => {
            let principal = "<current-user-principal><href>/me/</href></current-user-principal>";
            ("207 Multi-Status", multistatus("/", principal))
        }
        ("PROPFIND", "/me/") => {
            let home = "<C:addressbook-home-set><href>/homes/</href></C:addressbook-home-set>";
            ("207 Multi-Status", multistatus("/me/", home))
        }
        ("PROPFIND", "/homes/") => {
            let kind = "<resourcetype><collection/><C:addressbook/></resourcetype>";
            ("207 Multi-Status", multistatus("/book/", kind))
        }
        ("PROPFIND", "/book/") => ("207 Multi-Status", whole(&list(&state.lock().unwrap()))),
        ("REPORT", "/book/") => ("207 Multi-Status", whole(&multiget(request, state))),
        ("GET", path) => {
            let state = state.lock().unwrap();
            let card = name(path).and_then(|name| state.cards.get(name));
            match card {
                Some(card) => ("200 OK", String::from_utf8(card.clone()).unwrap()),
                None => ("404 Not Found", String::new()),
            }
        }
        _ => ("404 Not Found", String::new()),
    };
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn name(path: &str) -> Option<&str> {
    path.strip_prefix("/book/")?.strip_suffix(".vcf")
}

fn list(state: &State) -> String {
    let mut rows = row("/book/", "<resourcetype><collection/></resourcetype>");
    let own = state.cards.keys().map(|name| format!("/book/{name}.vcf"));
    for href in own.chain(state.also.iter().cloned()) {
        rows += &row(&href, "<getetag>\"1\"</getetag><resourcetype/>");
    }
    rows
}

fn multiget(request: &Request, state: &Mutex<State>) -> String {
    let held = {
        let mut state = state.lock().unwrap();
        let until_held = state.until_held.take().map(|count| count - 1);
        match until_held {
            Some(0) => state.hold.take(),
            until_held => {
                state.until_held = until_held;
                None
            }
        }
    };
    if let Some((told, waits)) = held {
        told.send(()).unwrap();
        let _ = waits.recv_timeout(PATIENCE);
    }
    let state = state.lock().unwrap();
    let mut rows = String::new();
    for href in request.body.split("<href>").skip(1) {
        let href = href.split('<').next().unwrap();
        let Some(card) = name(href).and_then(|name| state.cards.get(name)) else {
            continue;
        };
        let text = std::str::from_utf8(card).unwrap();
        let text = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('\r', "&#13;");
        let data = format!("<getetag>\"1\"</getetag><C:address-data>{text}</C:address-data>");
        write!(rows, "{}", row(href, &data)).unwrap();
    }
    rows
}
