//! A cable between two machines.

use crate::namespace::Namespace;
use crate::tool::ip;

/// Joins two namespaces by a pair of `veth` links of these names, both down and without addresses.
/// They go with either namespace.
///
/// # Panics
/// When the system refuses.
pub fn cable(one: &Namespace, link_of_one: &str, other: &Namespace, link_of_other: &str) {
    ip(&[
        "-n",
        one.name(),
        "link",
        "add",
        link_of_one,
        "type",
        "veth",
        "peer",
        "name",
        link_of_other,
        "netns",
        other.name(),
    ]);
}
