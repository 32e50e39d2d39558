//! Cards as real programs write them: in and out byte for byte, in valid XML.

use std::path::{Path, PathBuf};

use crate::harness::{BOOK, Server, multiget, sync_collection};

/// The cards of the corpus. Without it, and outside CI, one loud line and none.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/vcards");
    let mut cards = Vec::new();
    for folder in ["calcard", "ez-vcard"] {
        let Ok(files) = std::fs::read_dir(root.join(folder)) else {
            let message = format!("MISSING: the test cards in {}", root.display());
            assert!(std::env::var_os("CI").is_none(), "{message}");
            #[expect(
                clippy::print_stderr,
                reason = "a missing corpus must not go unnoticed"
            )]
            {
                eprintln!("{message}");
            }
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "vcf"));
        files.sort();
        for path in files {
            let name = format!("{folder}-{}", path.file_name().unwrap().to_str().unwrap());
            cards.push((name, std::fs::read(path).unwrap()));
        }
    }
    assert!(
        cards.len() > 40,
        "the corpus in {} is not complete",
        root.display()
    );
    cards
}

/// Cards that are hard on an XML document or on a text decoder.
fn odd_cards() -> Vec<(String, Vec<u8>)> {
    let wrap = |inside: &[u8], newline: &[u8]| {
        let lines = [
            b"BEGIN:VCARD",
            &b"VERSION:3.0"[..],
            b"FN:Odd",
            inside,
            b"END:VCARD",
            b"",
        ];
        lines.join(newline)
    };
    let every_byte: Vec<u8> = (1..=255)
        .filter(|byte| ![b'\r', b'\n'].contains(byte))
        .collect();
    let bom = [b"\xef\xbb\xbf", wrap(b"NOTE:bom", b"\r\n").as_slice()].concat();
    [
        ("control.vcf", wrap(b"NOTE:a\x0bb\x00c\x1fd\x7fe", b"\r\n")),
        (
            "every-byte.vcf",
            wrap(&[b"NOTE:", every_byte.as_slice()].concat(), b"\r\n"),
        ),
        (
            "cdata.vcf",
            wrap(b"NOTE:]]> <!-- &amp; &#0; <x> \"'", b"\r\n"),
        ),
        (
            "noncharacter.vcf",
            wrap(
                "NOTE:\u{fffe}\u{ffff}\u{fffd}\u{10ffff}".as_bytes(),
                b"\r\n",
            ),
        ),
        (
            "surrogate.vcf",
            wrap(b"NOTE:\xed\xa0\x80 \xc0\x80 \xf5", b"\r\n"),
        ),
        ("latin1.vcf", wrap(b"NOTE:caf\xe9", b"\r\n")),
        ("lf.vcf", wrap(b"NOTE:line feeds", b"\n")),
        ("cr.vcf", wrap(b"NOTE:carriage returns", b"\r")),
        (
            "blank.vcf",
            [b"\r\n\r\n", wrap(b"NOTE:x", b"\r\n").as_slice(), b"\n \t\n"].concat(),
        ),
        ("bom.vcf", bom),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

/// What an XML parser can give back of these bytes.
fn as_xml_text(bytes: &[u8]) -> String {
    let legal = |character: char| {
        matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
            || character >= '\u{10000}'
    };
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .map(|it| if legal(it) { it } else { '\u{fffd}' })
        .collect()
}

#[tokio::test]
async fn every_card_comes_back_byte_for_byte_and_breaks_no_multistatus() {
    let server = Server::start();
    let mut stored = Vec::new();
    let mut refused = Vec::new();
    for (name, bytes) in corpus().into_iter().chain(odd_cards()) {
        let path = format!("{BOOK}{name}");
        let headers = [("content-type", "text/vcard")];
        let put = server.send("PUT", &path, &headers, bytes.clone()).await;
        match put.status {
            201 => stored.push((path, bytes, put.header("etag").to_owned())),
            // The files of ez-vcard with more than one card, and the same UID in two files.
            403 | 409 => refused.push(name),
            status => panic!("{status} for {name}"),
        }
    }
    assert!(
        odd_cards().iter().all(|(name, _)| !refused.contains(name)),
        "{refused:?}"
    );
    assert!(refused.len() <= 12, "{refused:?}");
    assert!(stored.len() > refused.len());
    for (path, bytes, etag) in &stored {
        let get = server.send("GET", path, &[], "").await;
        assert_eq!(get.body, bytes, "{path}");
        assert_eq!(get.header("etag"), etag, "{path}");
    }
    let hrefs: Vec<_> = stored.iter().map(|(path, ..)| path.as_str()).collect();
    let properties = ["D:getetag", "C:address-data"];
    for body in [
        multiget(&properties, &hrefs),
        sync_collection(&properties, "", ""),
    ] {
        let answer = server
            .send("REPORT", BOOK, &[("depth", "1")], body)
            .await
            .multistatus();
        assert_eq!(answer.rows.len(), stored.len());
        for (path, bytes, etag) in &stored {
            let listed = answer
                .rows
                .iter()
                .find(|row| row.text("D:getetag") == etag)
                .unwrap();
            assert_eq!(listed.text("C:address-data"), as_xml_text(bytes), "{path}");
        }
    }
}
