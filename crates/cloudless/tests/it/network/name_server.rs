//! The DNS that home asks: one name, whose address changes.

use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex};

use cloudless_testbed::Bed;

/// The only name there is.
pub(crate) const NAME: &str = "relay.test";

const A: [u8; 2] = [0, 1];
const AAAA: [u8; 2] = [0, 28];

/// What the name server does with a question.
#[derive(Clone, Copy)]
enum Answer {
    /// The name's only address.
    Address(IpAddr),
    /// It says that it cannot tell (SERVFAIL).
    Failure,
    /// Nothing.
    Silence,
}

/// A name server on the router, which programs on home's machine use. Ends with the test's process.
pub(crate) struct NameServer(Arc<Mutex<Answer>>);

impl NameServer {
    pub(crate) fn start(bed: &Bed, address: IpAddr) -> Self {
        bed.home.set_resolver("nameserver 192.168.1.1\n");
        let answer = Arc::new(Mutex::new(Answer::Address(address)));
        let socket = bed.router.enter(|| UdpSocket::bind("0.0.0.0:53")).unwrap();
        std::thread::spawn({
            let answer = Arc::clone(&answer);
            move || {
                let mut query = [0; 512];
                while let Ok((length, client)) = socket.recv_from(&mut query) {
                    let answer = *answer.lock().unwrap();
                    if let Some(response) = respond(&query[..length], answer) {
                        // The client asks again.
                        let _ = socket.send_to(&response, client);
                    }
                }
            }
        });
        Self(answer)
    }

    /// Home leaves the Wi-Fi for another network, which names its own address of the router for DNS.
    pub(crate) fn move_home(&self, bed: &Bed) {
        bed.move_home();
        bed.home.set_resolver("nameserver 192.168.2.1\n");
    }

    /// The name has this address from now on, and no other.
    pub(crate) fn answer(&self, address: IpAddr) {
        *self.0.lock().unwrap() = Answer::Address(address);
    }

    /// Every question is answered with a failure from now on.
    pub(crate) fn fail(&self) {
        *self.0.lock().unwrap() = Answer::Failure;
    }

    /// No question is answered from now on.
    pub(crate) fn fall_silent(&self) {
        *self.0.lock().unwrap() = Answer::Silence;
    }
}

/// Answers a query of one question (RFC 1035 §4.1): with an address, with no record of the type that
/// was asked for, or with a failure.
fn respond(query: &[u8], answer: Answer) -> Option<Vec<u8>> {
    let name_length = query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question_end = 12 + name_length + 4;
    let asked = &query[12 + name_length..12 + name_length + 2];
    let (code, record) = match answer {
        Answer::Silence => return None,
        Answer::Failure => (2, None),
        Answer::Address(IpAddr::V4(address)) => (0, Some((A, address.octets().to_vec()))),
        Answer::Address(IpAddr::V6(address)) => (0, Some((AAAA, address.octets().to_vec()))),
    };
    let record = record.filter(|(record_type, _)| asked == record_type);
    let mut response = query[..2].to_vec();
    // A response, recursion desired and available; one question, perhaps one answer.
    let n_answers = u8::from(record.is_some());
    response.extend([0x81, 0x80 | code, 0, 1, 0, n_answers, 0, 0, 0, 0]);
    response.extend(&query[12..question_end]);
    if let Some(([high, low], data)) = record {
        // The name of the question, the class IN, no time to live.
        response.extend([0xc0, 12, high, low, 0, 1, 0, 0, 0, 0, 0]);
        response.push(u8::try_from(data.len()).unwrap());
        response.extend(data);
    }
    Some(response)
}
