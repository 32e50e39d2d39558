//! Which cipher a tunnel has.

use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};

/// The provider for both ends of a tunnel. A server takes what its client names first, so home
/// decides, which may be a small machine: without instructions for AES (RFC 8446 section 9.1 has it
/// first) a Raspberry Pi is several times as fast with `ChaCha20`. With them AES-128 costs less than
/// AES-256, and what is in a tunnel is encrypted once more on the inside.
#[must_use]
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: suites(has_aes()).to_vec(),
        ..aws_lc_rs::default_provider()
    }
}

const fn suites(has_aes: bool) -> [SupportedCipherSuite; 3] {
    if has_aes {
        [
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ]
    } else {
        [
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
        ]
    }
}

fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
    use rustls::CipherSuite;

    use super::*;

    #[test]
    fn the_fastest_is_first_and_each_is_there() {
        for (has_aes, first) in [
            (true, CipherSuite::TLS13_AES_128_GCM_SHA256),
            (false, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
        ] {
            let mut names = suites(has_aes).map(|it| it.suite());
            assert_eq!(names[0], first);
            names.sort_by_key(|it| u16::from(*it));
            assert_eq!(
                names,
                [
                    CipherSuite::TLS13_AES_128_GCM_SHA256,
                    CipherSuite::TLS13_AES_256_GCM_SHA384,
                    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
                ]
            );
        }
    }
}
