//! Real servers behind home, through the relay.

pub(crate) mod backpressure;
pub(crate) mod peer;
pub(crate) mod php;
mod radicale;
mod reload;
pub(crate) mod web;

use std::process::{Command, Output, Stdio};

use crate::pair::{HOSTNAME, Pair};

/// curl, through the relay, as a program that somebody else wrote.
struct Curl<'a> {
    pair: &'a Pair,
    arguments: Vec<String>,
}

/// What curl was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// Head and body.
    text: String,
}

impl<'a> Curl<'a> {
    fn new(pair: &'a Pair, method: &str) -> Self {
        let limit = ["--silent", "--show-error", "--max-time", "120", "--request"];
        let arguments = limit
            .into_iter()
            .chain([method])
            .map(str::to_owned)
            .collect();
        Self { pair, arguments }
    }

    fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|it| (*it).to_owned()));
        self
    }

    fn header(self, line: &str) -> Self {
        self.with(&["--header", line])
    }

    fn ask(self, path: &str) -> Answer {
        let output = self.with(&["--include"]).run(path);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // What stands before the last head is that of 100 Continue, or of a proxy.
        let heads = text
            .split("\r\n\r\n")
            .take_while(|it| it.starts_with("HTTP/"));
        let head = heads.last().unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {text}"));
        Answer { status, text }
    }

    fn run(self, path: &str) -> Output {
        let url = format!("https://{HOSTNAME}:{}{path}", self.pair.relay_port());
        Command::new("curl")
            .arg("--cacert")
            .arg(self.pair.ca_file())
            .args(["--ipv4", "--path-as-is"])
            .args(self.arguments)
            .arg(url)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}
