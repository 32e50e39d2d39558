//! New certificates because somebody asks for them.

use std::sync::Arc;

use cloudless_proto::Hostname;
use serde::{Deserialize, Serialize};

use crate::certificate::Certificates;
use crate::certificate::acme::Orders;
use crate::status::CertificateKind;

/// What became of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The name.
    pub hostname: Hostname,
    /// Why there is no new certificate; `None` when there is.
    pub error: Option<String>,
}

/// The parts of a running home that make certificates.
#[derive(Clone)]
pub(crate) struct Renewal {
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) orders: Orders,
}

impl Renewal {
    /// Makes a new certificate for one name, or for all of them but those that devices have pinned.
    /// Blocks on the disk, and waits for orders as long as they take.
    pub(super) async fn renew(&self, hostname: Option<Hostname>) -> Vec<Renewed> {
        let hostnames = match hostname {
            Some(hostname) => vec![hostname],
            None => {
                let rows = self.certificates.status().into_iter();
                let others = rows.filter(|row| row.kind != CertificateKind::Pinned);
                others.map(|row| row.hostname).collect()
            }
        };
        let mut renewed = Vec::new();
        for hostname in hostnames {
            let result = match self.orders.renew(&hostname).await {
                Some(result) => result,
                None => self.certificates.renew(&hostname),
            };
            renewed.push(Renewed {
                hostname,
                error: result.err(),
            });
        }
        renewed
    }
}
