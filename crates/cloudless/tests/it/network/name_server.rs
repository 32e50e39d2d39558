//! The DNS that home asks: one name, whose address changes.

use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex};

use cloudless_testbed::Bed;

/// The only name there is.
pub(crate) const NAME: &str = "relay.test";

const A: [u8; 2] = [0, 1];
const AAAA: [u8; 2] = [0, 28];

/// A name server on the router, which programs on home's machine use. Ends with the test's process.
pub(crate) struct NameServer(Arc<Mutex<IpAddr>>);

impl NameServer {
    pub(crate) fn start(bed: &Bed, address: IpAddr) -> Self {
        bed.home.set_resolver("nameserver 192.168.1.1\n");
        let answer = Arc::new(Mutex::new(address));
        let socket = bed
            .router
            .enter(|| UdpSocket::bind("192.168.1.1:53"))
            .unwrap();
        std::thread::spawn({
            let answer = Arc::clone(&answer);
            move || {
                let mut query = [0; 512];
                while let Ok((length, client)) = socket.recv_from(&mut query) {
                    let response = respond(&query[..length], *answer.lock().unwrap());
                    // The client asks again.
                    let _ = socket.send_to(&response, client);
                }
            }
        });
        Self(answer)
    }

    /// The name has this address from now on, and no other.
    pub(crate) fn answer(&self, address: IpAddr) {
        *self.0.lock().unwrap() = address;
    }
}

/// Answers a query of one question (RFC 1035 §4.1) with an address, or with no record of the type
/// that was asked for.
fn respond(query: &[u8], address: IpAddr) -> Vec<u8> {
    let name_length = query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question_end = 12 + name_length + 4;
    let asked = &query[12 + name_length..12 + name_length + 2];
    let (record_type, data) = match address {
        IpAddr::V4(address) => (A, address.octets().to_vec()),
        IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
    };
    let has_answer = asked == record_type;
    let mut response = query[..2].to_vec();
    // A response, recursion desired and available; one question, perhaps one answer.
    response.extend([0x81, 0x80, 0, 1, 0, u8::from(has_answer), 0, 0, 0, 0]);
    response.extend(&query[12..question_end]);
    if has_answer {
        // The name of the question, the class IN, no time to live.
        response.extend([
            0xc0,
            12,
            record_type[0],
            record_type[1],
            0,
            1,
            0,
            0,
            0,
            0,
            0,
        ]);
        response.push(u8::try_from(data.len()).unwrap());
        response.extend(data);
    }
    response
}
