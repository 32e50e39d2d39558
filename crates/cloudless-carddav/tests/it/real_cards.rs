//! Cards as real programs write them, and odd ones: in and out byte for byte, in valid XML.

use std::path::{Path, PathBuf};

use crate::sessions::{Account, Transport};

/// A card that was stored.
pub(crate) struct Stored {
    path: String,
    bytes: Vec<u8>,
    etag: String,
}

/// Names and bytes of cards.
pub(crate) type Cards = Vec<(String, Vec<u8>)>;

/// All files of the corpus, each card of those that hold several, and the odd cards. Without the
/// corpus, and outside CI, one loud line and the odd cards alone.
pub(crate) fn all() -> Cards {
    let mut cards = Cards::new();
    for (name, bytes) in corpus() {
        let parts: Vec<_> = cloudless_vcard::split(&bytes).flatten().collect();
        if parts.len() > 1 {
            let part =
                |(number, part): (usize, &&[u8])| (format!("{number}-{name}"), part.to_vec());
            cards.extend(parts.iter().enumerate().map(part));
        }
        cards.push((name, bytes));
    }
    cards.extend(odd_cards());
    cards
}

/// Puts all cards into an empty book and checks that each comes back. Gives what was stored and
/// what was refused.
pub(crate) async fn put<T: Transport>(
    account: &Account,
    transport: &mut T,
    cards: Cards,
) -> (Vec<Stored>, Cards) {
    let (mut stored, mut refused) = (Vec::new(), Cards::new());
    for (name, bytes) in cards {
        let path = format!("{}{name}", account.book());
        let headers = [("content-type", "text/vcard")];
        let request = account.request("PUT", &path, &headers, &bytes);
        let put = transport.exchange(request).await.expect("an answer");
        match put.status {
            201 => {
                let etag = put.header("etag").to_owned();
                stored.push(Stored { path, bytes, etag });
            }
            // Several cards in one, none, or the UID of another card.
            403 | 409 => refused.push((name, bytes)),
            status => panic!("{status} for {name}"),
        }
    }
    for Stored { path, bytes, etag } in &stored {
        let request = account.request("GET", path, &[], "");
        let get = transport.exchange(request).await.expect("an answer");
        assert!(get.body == bytes, "{path} is not as it was");
        assert_eq!(get.header("etag"), etag, "{path}");
    }
    for (name, _) in odd_cards() {
        assert!(refused.iter().all(|(it, _)| *it != name), "{name}");
    }
    assert!(stored.len() > 2 * refused.len());
    (stored, refused)
}

/// Checks that the whole book comes as XML that every parser takes, by multiget and by
/// sync-collection with the cards in it.
pub(crate) async fn sync<T: Transport>(account: &Account, transport: &mut T, stored: &[Stored]) {
    let asked = "<D:prop><D:getetag/><C:address-data/></D:prop>";
    let hrefs = stored.iter().map(|card| &card.path);
    let hrefs: String = hrefs
        .map(|path| format!("<D:href>{path}</D:href>"))
        .collect();
    let namespaces = r#"xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav""#;
    let multiget =
        format!("<C:addressbook-multiget {namespaces}>{asked}{hrefs}</C:addressbook-multiget>");
    let sync_collection = format!(
        "<D:sync-collection {namespaces}><D:sync-token/><D:sync-level>1</D:sync-level>{asked}\
         </D:sync-collection>"
    );
    for body in [multiget, sync_collection] {
        let headers = [("depth", "1"), ("content-type", "text/xml")];
        let request = account.request("REPORT", &account.book(), &headers, body);
        let answer = transport.exchange(request).await.expect("an answer");
        let answer = answer.multistatus();
        assert_eq!(answer.rows.len(), stored.len());
        for Stored { path, bytes, etag } in stored {
            let row = answer.row(path);
            assert_eq!(row.text("D:getetag"), etag, "{path}");
            let text = row.text("C:address-data");
            assert!(text == as_xml_text(bytes), "{path} is not as it was");
        }
    }
}

fn corpus() -> Cards {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/vcards");
    let mut cards = Cards::new();
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
            return Cards::new();
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

/// Cards that are hard on an XML document, on a text decoder or on a buffer.
fn odd_cards() -> Cards {
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
    // Two megabytes of picture, in lines of 74 characters.
    let picture = "\r\n /9j/4AAQSkZJRgABAQEASABIAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQY";
    let photo = format!(
        "PHOTO;ENCODING=b;TYPE=JPEG:{}",
        picture.repeat(2 * 1024 * 1024 * 4 / 3 / 73)
    );
    let old = b"BEGIN:VCARD\nVERSION:2.1\nN;CHARSET=ISO-8859-1:B\xf6rg;\n\
                NOTE;ENCODING=QUOTED-PRINTABLE:a=0D=0A=\nb\nEND:VCARD\n";
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
        ("old.vcf", old.to_vec()),
        ("photo.vcf", wrap(photo.as_bytes(), b"\r\n")),
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
