#![no_main]

use cloudless_fuzz::content_lines::check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));
