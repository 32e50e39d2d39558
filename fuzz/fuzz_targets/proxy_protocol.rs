#![no_main]

use cloudless_fuzz::proxy_protocol::check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));
