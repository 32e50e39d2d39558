#![no_main]

use cloudless_fuzz::response_head::check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));
