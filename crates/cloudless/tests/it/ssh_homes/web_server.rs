//! The web server on home's machine, which answers everything as a prober wants.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};

use super::{Bed, HOSTNAME, Running};
use crate::corpus;

const NGINX: &str = "/usr/sbin/nginx";

pub(super) fn is_installed() -> bool {
    let is_installed = Path::new(NGINX).exists();
    if !is_installed {
        corpus::missing("nginx: run `cargo xtask test`, which installs it");
    }
    is_installed
}

/// Starts it with a new certificate, in `web.pem`.
pub(super) fn start(bed: &Bed, address: SocketAddr) -> Running {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([HOSTNAME.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(bed.path("web.pem"), certificate.pem()).unwrap();
    fs::write(bed.path("web.key"), key.serialize_pem()).unwrap();
    let at = bed.directory.path().display();
    let text = format!(
        "daemon off; user root; worker_processes 1; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p;\n\
         fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
         server {{ listen {address} ssl; ssl_certificate {at}/web.pem; ssl_certificate_key {at}/web.key;\n\
         return 207; }} }}\n"
    );
    fs::write(bed.path("nginx.conf"), text).unwrap();
    let mut command = bed.place.home.command(NGINX);
    command
        .args(["-e", "stderr", "-c"])
        .arg(bed.path("nginx.conf"));
    Running::start(&mut command, &bed.path("nginx.log"))
}
