//! A name server that knows one SRV record.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use crate::corpus;
use crate::pair::{HOSTNAME, Pair};

/// No other can be said in resolv.conf.
const PORT: u16 = 53;
/// Where a header ends and the question begins (RFC 1035 section 4.1).
const HEADER_LEN: usize = 12;
const SRV: [u8; 2] = [0, 33];

/// Ends with the test's process.
pub(super) struct NameServer {
    resolver: PathBuf,
}

impl NameServer {
    /// Starts one that leads to the relay's port; None where no address has the port free for it.
    pub(super) fn start(pair: &Pair) -> Option<Self> {
        // Each test that runs at this moment has its own.
        let mut addresses = (1..255).map(|host| Ipv4Addr::new(127, 53, 0, host));
        let socket = addresses.find_map(|address| UdpSocket::bind((address, PORT)).ok());
        let Some(socket) = socket else {
            corpus::missing("the port of name servers, which root may bind");
            return None;
        };
        let address = socket.local_addr().unwrap().ip();
        let resolver = pair.folder("name-server").join("resolv.conf");
        fs::write(&resolver, format!("nameserver {address}\n")).unwrap();
        let port = pair.relay_port();
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut question) {
                if let Some(answer) = answer(&question[..length], port) {
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Some(Self { resolver })
    }

    /// A file like resolv.conf that names it.
    pub(super) fn resolver(&self) -> &Path {
        &self.resolver
    }
}

/// Answers with the port of the name's address books (RFC 6764), or that there is no such record.
fn answer(question: &[u8], port: u16) -> Option<Vec<u8>> {
    let asked = question.get(HEADER_LEN..)?;
    let name_len = asked.iter().position(|byte| *byte == 0)? + 1;
    let (name, kind) = (asked.get(..name_len)?, asked.get(name_len..name_len + 2)?);
    let labels = ["_carddavs", "_tcp", HOSTNAME].map(label).concat();
    let is_known = name.strip_suffix(&[0]) == Some(&labels) && *kind == SRV;
    let mut answer = question.get(..HEADER_LEN + name_len + 4)?.to_vec();
    answer[2..HEADER_LEN].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_known), 0, 0, 0, 0]);
    if is_known {
        let target = [label(HOSTNAME), vec![0]].concat();
        let length = u8::try_from(6 + target.len()).unwrap();
        // The name of the question, SRV, IN, no time to live; then priority, weight and port.
        answer.extend([0xc0, 0x0c, 0, 33, 0, 1, 0, 0, 0, 0, 0, length, 0, 0, 0, 1]);
        answer.extend(port.to_be_bytes());
        answer.extend(target);
    }
    Some(answer)
}

fn label(text: &str) -> Vec<u8> {
    let mut label = vec![u8::try_from(text.len()).unwrap()];
    label.extend(text.as_bytes());
    label
}
