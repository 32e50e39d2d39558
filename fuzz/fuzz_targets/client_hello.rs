#![no_main]

use cloudless_fuzz::client_hello::check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));
