#![no_main]

use cloudless_fuzz::basic::check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));
