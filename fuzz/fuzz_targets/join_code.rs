#![no_main]

use cloudless_fuzz::join_code::check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));
