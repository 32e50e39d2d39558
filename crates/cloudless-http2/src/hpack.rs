//! HPACK, the compression of header fields (RFC 7541).
//!
//! The [`Decoder`] understands all of it, for the peer chooses what it sends. [`encode`] uses the
//! least of it that is worth its while: it keeps no state, so what we send cannot leak through its
//! size what another request held (section 7.1).

mod decoder;
mod encoder;
mod huffman;
mod table;

pub(crate) use decoder::{DecodeError, Decoder};
pub(crate) use encoder::encode;

#[cfg(test)]
mod tests {
    use super::{DecodeError, Decoder, encode};

    type Field = (&'static str, &'static str);

    /// A dynamic table size update to 256 bytes, the size in C.5 and C.6 and enough for the others.
    const SIZE_UPDATE_256: &str = "3fe101";

    #[test]
    fn header_field_representations_of_appendix_c_2() {
        let custom: &[Field] = &[("custom-key", "custom-header")];
        check(
            &["400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"],
            &[custom],
            &[custom],
        );
        check(
            &["040c 2f73 616d 706c 652f 7061 7468"],
            &[&[(":path", "/sample/path")]],
            &[&[]],
        );
        check(
            &["1008 7061 7373 776f 7264 0673 6563 7265 74"],
            &[&[("password", "secret")]],
            &[&[]],
        );
        check(&["82"], &[&[(":method", "GET")]], &[&[]]);
    }

    #[test]
    fn requests_without_huffman_of_appendix_c_3() {
        let blocks = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        check(&blocks, REQUESTS, TABLES_AFTER_REQUESTS);
    }

    #[test]
    fn requests_with_huffman_of_appendix_c_4() {
        let blocks = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        check(&blocks, REQUESTS, TABLES_AFTER_REQUESTS);
    }

    #[test]
    fn responses_without_huffman_of_appendix_c_5() {
        let blocks = [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
             2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
             6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
             54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
             5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
             3d31",
        ];
        check(&blocks, RESPONSES, TABLES_AFTER_RESPONSES);
    }

    #[test]
    fn responses_with_huffman_of_appendix_c_6() {
        let blocks = [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
             2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
             77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
             9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ];
        check(&blocks, RESPONSES, TABLES_AFTER_RESPONSES);
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let mut random = Random(0x5eed);
        let mut decoder = Decoder::new();
        for _ in 0..2_000 {
            let fields: Vec<_> = (0..random.below(8))
                .map(|_| (random.name(), random.bytes(300)))
                .collect();
            let mut block = Vec::new();
            encode(
                fields.iter().map(|(name, value)| (&name[..], &value[..])),
                &mut block,
            );
            assert_eq!(decode(&mut decoder, &block), Ok(fields));
        }
    }

    #[test]
    fn no_bytes_panic() {
        let mut random = Random(0xbad);
        for _ in 0..50_000 {
            let mut decoder = Decoder::new();
            let block = random.bytes(64);
            while decode(&mut decoder, &block).is_ok() && random.below(4) > 0 {}
        }
    }

    #[test]
    fn no_damage_to_an_example_panics() {
        let mut random = Random(0xda);
        let example = bytes(
            "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0
             82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3 4883 640e ffc1 c0bf",
        );
        for _ in 0..50_000 {
            let mut block = example.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(block.len());
                block[at] = random.next() as u8;
            }
            let _ = decode(&mut Decoder::new(), &block);
        }
    }

    const REQUESTS: &[&[Field]] = &[
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
            ("cache-control", "no-cache"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ],
    ];

    const TABLES_AFTER_REQUESTS: &[&[Field]] = &[
        &[(":authority", "www.example.com")],
        &[
            ("cache-control", "no-cache"),
            (":authority", "www.example.com"),
        ],
        &[
            ("custom-key", "custom-value"),
            ("cache-control", "no-cache"),
            (":authority", "www.example.com"),
        ],
    ];

    const DATE_21: Field = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    const DATE_22: Field = ("date", "Mon, 21 Oct 2013 20:13:22 GMT");
    const LOCATION: Field = ("location", "https://www.example.com");
    const PRIVATE: Field = ("cache-control", "private");
    const GZIP: Field = ("content-encoding", "gzip");
    const SET_COOKIE: Field = (
        "set-cookie",
        "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    );

    const RESPONSES: &[&[Field]] = &[
        &[(":status", "302"), PRIVATE, DATE_21, LOCATION],
        &[(":status", "307"), PRIVATE, DATE_21, LOCATION],
        &[
            (":status", "200"),
            PRIVATE,
            DATE_22,
            LOCATION,
            GZIP,
            SET_COOKIE,
        ],
    ];

    const TABLES_AFTER_RESPONSES: &[&[Field]] = &[
        &[LOCATION, DATE_21, PRIVATE, (":status", "302")],
        &[(":status", "307"), LOCATION, DATE_21, PRIVATE],
        &[SET_COOKIE, GZIP, DATE_22],
    ];

    /// Decodes the blocks of one connection in turn: each gives its fields, leaves its dynamic
    /// table, and cut anywhere gives the fields before the cut and no others.
    fn check(blocks: &[&str], fields: &[&[Field]], tables: &[&[Field]]) {
        let before = |count: usize| {
            let mut decoder = Decoder::new();
            for block in [SIZE_UPDATE_256].iter().chain(&blocks[..count]) {
                decode(&mut decoder, &bytes(block)).unwrap();
            }
            decoder
        };
        for (done, (block, fields)) in blocks.iter().zip(fields).enumerate() {
            let block = bytes(block);
            assert_eq!(decode(&mut before(done), &block), Ok(owned(fields)));
            let mut after = before(done + 1);
            let indexes = 62..62 + tables[done].len() as u8;
            let indexed: Vec<_> = indexes.clone().map(|index| 0x80 | index).collect();
            assert_eq!(decode(&mut after, &indexed), Ok(owned(tables[done])));
            assert_eq!(
                decode(&mut after, &[0x80 | indexes.end]),
                Err(DecodeError::UnknownIndex(indexes.end.into()))
            );

            let mut whole = 0;
            for cut in 0..block.len() {
                match decode(&mut before(done), &block[..cut]) {
                    Ok(decoded) => {
                        assert_eq!(decoded, owned(&fields[..whole]), "cut at {cut}");
                        whole += 1;
                    }
                    Err(error) => assert_eq!(error, DecodeError::Truncated, "cut at {cut}"),
                }
            }
            assert_eq!(whole, fields.len());
        }
    }

    type Decoded = Result<Vec<(Vec<u8>, Vec<u8>)>, DecodeError>;

    fn decode(decoder: &mut Decoder, block: &[u8]) -> Decoded {
        let mut fields = Vec::new();
        decoder.decode(block, |name, value| {
            fields.push((name.to_vec(), value.to_vec()));
            true
        })?;
        Ok(fields)
    }

    fn owned(fields: &[Field]) -> Vec<(Vec<u8>, Vec<u8>)> {
        fields
            .iter()
            .map(|&(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits
            .chunks_exact(2)
            .map(|pair| (pair[0] << 4 | pair[1]) as u8)
            .collect()
    }

    /// Xorshift: the same numbers in every run.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, limit: usize) -> usize {
            (self.next() >> 32) as usize % limit
        }

        fn bytes(&mut self, len_limit: usize) -> Vec<u8> {
            (0..self.below(len_limit))
                .map(|_| (self.next() >> 24) as u8)
                .collect()
        }

        fn name(&mut self) -> Vec<u8> {
            let known = [
                ":path",
                ":status",
                "cookie",
                "www-authenticate",
                "x-unknown",
            ];
            match known.get(self.below(known.len() + 1)) {
                Some(name) => name.as_bytes().to_vec(),
                None => self.bytes(300),
            }
        }
    }
}
