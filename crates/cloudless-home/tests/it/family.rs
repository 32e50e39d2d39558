//! Which version of the Internet Protocol a test is about.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::relay::FakeRelay;

/// Tests once more, with relays that are reached over IPv6.
macro_rules! over_ipv6 {
    ($($test:ident,)*) => {
        mod over_ipv6 {
            $(
                #[test]
                fn $test() {
                    crate::family::over_ipv6(super::$test);
                }
            )*
        }
    };
}

thread_local! {
    /// The index of the address that the test on this thread is about, of one of each version.
    static FAMILY: Cell<usize> = const { Cell::new(0) };
}

pub(crate) fn over_ipv6(test: fn()) {
    FAMILY.set(1);
    test();
    FAMILY.set(0);
}

pub(crate) fn index() -> usize {
    FAMILY.get()
}

impl FakeRelay {
    /// At the address that the test is about.
    pub(crate) async fn bind() -> Self {
        let loopbacks: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        Self::bind_at(loopbacks[index()]).await
    }
}
