//! A relay on free ports, and those who talk to it.

mod client;
mod home;
mod log;
mod relay;
mod slow_path;
mod ssh_home;
mod web_server;

use std::time::Duration;

pub(crate) use client::{Visitor, client_hello};
pub(crate) use home::{
    HomeKey, HomeStream, Tunnel, connect_tls, long_tunnel_hello, tls_builder, tls_config,
    tunnel_hello,
};
pub(crate) use log::Log;
pub(crate) use relay::{RELAY_NAME, TestRelay, over_ipv6, test_config};
pub(crate) use slow_path::SlowPath;
pub(crate) use ssh_home::{SshHome, ssh_key_line, ssh_key_of};
pub(crate) use web_server::WebServer;

/// Runs these tests of a file over IPv6, too.
macro_rules! over_ipv6 {
    ($($test:ident,)*) => {
        mod over_ipv6 {
            $(
                #[test]
                fn $test() {
                    crate::support::over_ipv6(super::$test);
                }
            )*
        }
    };
}

/// The name that most tests register.
pub(crate) const HOME_NAME: &str = "home.example.test";

/// A fatal `internal_error` alert.
pub(crate) const ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 80];

/// Waits for what must happen soon.
pub(crate) async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), event)
        .await
        .expect("this takes too long")
}
