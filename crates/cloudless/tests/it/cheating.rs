//! A relay that cheats, and others on the way: what they get is what docs/security.md says.

mod bed;
mod between;
pub(crate) mod certificate;
mod impostor;
mod levels;
mod method;
mod on_the_way;
mod order;
mod records;
mod relay;
mod validation;

// The name server and the logs of certificates stand with the tests of home's trust.
#[expect(dead_code, reason = "the tests of home ask for more")]
#[path = "../../../cloudless-home/src/trust/dns/tests/knot.rs"]
mod knot;
#[expect(dead_code, reason = "the tests of home ask for more")]
#[path = "../../../cloudless-home/src/trust/transparency/tests/log_server.rs"]
mod log_server;
