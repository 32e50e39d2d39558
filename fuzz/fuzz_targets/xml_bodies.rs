#![no_main]

use cloudless_fuzz::xml_bodies::check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));
