//! What an owner can do to be protected better.

use cloudless_proto::Hostname;
use cloudless_proto::trust::Level;

/// For whom the account or the method of the next order is another.
pub(super) const PUBLISH: &str = "publish the CAA records that `cloudless home doctor` shows now, before \
                                  the certificate is renewed";

/// In a sentence, for whom one line has to do.
pub(super) fn next(
    level: Level,
    in_force: Level,
    is_served: bool,
    is_signed: bool,
) -> &'static str {
    match level {
        _ if in_force != level && is_served => {
            "do what `cloudless home doctor` says about the certificate that home did not ask for"
        }
        _ if in_force != level => {
            "put right what `cloudless home doctor` shows in red or could not see; home does not serve the \
             name until then"
        }
        Level::HonestRelay => "\"public\" keeps the relay out",
        Level::Public if !is_signed => {
            "turn on DNSSEC for the zone; many DNS providers do it at a click"
        }
        Level::Public => {
            "\"client-certificates\" keeps the stored contacts from who controls your DNS"
        }
        Level::ClientCertificates => "\"pinned\" keeps out the DNS provider and the CAs too",
        Level::Pinned => {
            "nothing is above this, as long as devices trust home's own authority and no other for the name"
        }
    }
}

/// How to get from a level that is in force to the one above, one step after another.
pub(super) fn steps(hostname: &Hostname, level: Level, in_force: Level) -> Vec<String> {
    let another = |prefix: &str| {
        let name = format!("{prefix}.{hostname}");
        let join = format!(
            "a name of its own: on the relay `cloudless relay invite {name}`, here `cloudless home join CODE`"
        );
        (name, join)
    };
    let publish = |name: &str| {
        format!(
            "start home, publish the CAA records that `cloudless home doctor {name}` shows, then A and \
             AAAA records of {name} with the relay's addresses"
        )
    };
    match level {
        _ if in_force != level => Vec::new(),
        Level::HonestRelay => vec![
            format!(
                "in home.toml: certificate = \"acme\" below [hostname.\"{hostname}\"], and no trust = \
                 \"honest-relay\""
            ),
            format!(
                "start home, and publish the CAA records that `cloudless home doctor {hostname}` then shows"
            ),
        ],
        Level::Public => {
            let (name, join) = another("m");
            vec![
                join,
                format!(
                    "in home.toml below [hostname.\"{name}\"]: certificate = \"acme\" and \
                     client_certificates = true"
                ),
                publish(&name),
                "for each device whose app can do it, as DAVx5: `cloudless device add USER NAME \
                 --client-certificate`, then `cloudless device revoke USER OLD-NAME`"
                    .to_owned(),
            ]
        }
        Level::ClientCertificates => {
            let (name, join) = another("p");
            vec![
                join,
                format!("in home.toml below [hostname.\"{name}\"]: certificate = \"pinned\""),
                publish(&name),
                format!(
                    "in DAVx5: \"Distrust system certificates\", then an account at https://{name}/; it asks \
                     about a certificate, whose fingerprint has to be the one of `cloudless home \
                     certificate show {name}`"
                ),
            ]
        }
        Level::Pinned => Vec::new(),
    }
}
