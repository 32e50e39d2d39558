#![no_main]

use cloudless_fuzz::http2::check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));
