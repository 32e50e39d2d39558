//! Cards for the tests: varied, and the same in each run.

/// `count` cards with a UID each, as many different programs would write them.
pub(crate) fn varied(count: usize) -> Vec<(String, Vec<u8>)> {
    (0..count)
        .map(|number| (format!("card-{number}"), card(number).into_bytes()))
        .collect()
}

/// A card of about half a kilobyte.
pub(crate) fn small(uid: &str) -> Vec<u8> {
    let note = "met at the harbor ".repeat(20);
    format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:Small {uid}\r\nNOTE:{note}\r\nEND:VCARD\r\n"
    )
    .into_bytes()
}

/// A card with a photo of 150 KiB that means nothing.
pub(crate) fn with_photo(uid: &str) -> Vec<u8> {
    let photo = "/9j/4AAQSkZJRgABAQAB".repeat(150 * 1024 / 20);
    let photo = chunks(&photo, 74).join("\r\n ");
    format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:Paul Photo\r\nN:Photo;Paul;;;\r\n\
         item1.EMAIL;type=INTERNET:paul@example.org\r\nitem1.X-ABLabel:Club\r\n\
         X-CUSTOM:kept\r\nPHOTO;ENCODING=b;TYPE=JPEG:{photo}\r\nEND:VCARD\r\n"
    )
    .into_bytes()
}

/// A group as Apple's programs and DAVx5 write it into version 3.0.
pub(crate) fn group(uid: &str, members: &[&str]) -> Vec<u8> {
    let members: String = members
        .iter()
        .map(|member| format!("X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:{member}\r\n"))
        .collect();
    format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:The Club\r\nN:The Club;;;;\r\n\
         X-ADDRESSBOOKSERVER-KIND:group\r\n{members}END:VCARD\r\n"
    )
    .into_bytes()
}

/// What every large card holds again and again.
pub(crate) const LARGE_NOTE: &str = "met at the harbor, ";

/// A card of a quarter of a megabyte, another one for each number: in dozens of TLS records, of
/// which the first go through the tunnel and the others over a leg.
pub(crate) fn large(number: usize) -> Vec<u8> {
    let note = LARGE_NOTE.repeat(13_000);
    format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:l\r\nFN:L {number}\r\nNOTE:{note}\r\nEND:VCARD\r\n")
        .into_bytes()
}

fn card(number: usize) -> String {
    let pick = |choices: &[&'static str]| choices[number % choices.len()];
    let version = pick(&["3.0", "4.0", "3.0", "2.1", "4.0"]);
    let line_end = if number % 7 == 3 { "\n" } else { "\r\n" };
    let name = pick(&[
        "Zoë Ångström",
        "山田 太郎",
        "أمل حداد",
        "Мария Иванова",
        "Séán Ó Briain",
        "🦊 Fox & Söhne <GmbH>",
        "שרה לוי",
        "Nguyễn Văn An",
        "O'Neil; Jr., \"Bob\"",
        "김철수",
        "  spaces  ",
    ]);
    let mut lines = vec![
        "BEGIN:VCARD".to_owned(),
        format!("VERSION:{version}"),
        format!("UID:card-{number}"),
        format!("FN:{name} {number}"),
        format!("N:{};{};;;", name.replace(';', "\\;"), number),
    ];
    if number.is_multiple_of(2) {
        lines.push(format!(
            "TEL;TYPE=\"cell,voice\";X-E164=5550{number:03},\"+47\":+1 555 0{number:03}"
        ));
    }
    if number.is_multiple_of(3) {
        lines.push(format!(
            "item1.EMAIL;type=INTERNET;type=pref:person{number}@example.org"
        ));
        lines.push("item1.X-ABLabel:_$!<HomePage>!$_".to_owned());
    }
    if number.is_multiple_of(4) {
        let note = format!("Line one\\nline two \\, with\\; escapes, and 'quotes' ]]> {number} ");
        let folded: Vec<_> = chunks(&note.repeat(5), 60);
        lines.push(format!("NOTE:{}", folded.join(&format!("{line_end} "))));
    }
    if number.is_multiple_of(5) {
        lines.push("BDAY;VALUE=date;X-APPLE-OMIT-YEAR=1604:1604-05-12".to_owned());
        lines.push("ADR;TYPE=home:;;1 Rue de l'Église;Genève;;1204;Suisse".to_owned());
    }
    if number.is_multiple_of(10) {
        let photo = "/9j/4AAQSkZJRgABAQ".repeat(40 + number);
        let folded: Vec<_> = chunks(&photo, 74);
        lines.push(format!(
            "PHOTO;ENCODING=b;TYPE=JPEG:{}",
            folded.join(&format!("{line_end} "))
        ));
    }
    if number.is_multiple_of(11) {
        lines.push("X-UNKNOWN;X-PARAM=\"a:b;c\":kept as it is\ttab".to_owned());
    }
    lines.push("END:VCARD".to_owned());
    let mut text = lines.join(line_end);
    // Some programs leave the last line open.
    if !number.is_multiple_of(13) {
        text.push_str(line_end);
    }
    text
}

fn chunks(text: &str, length: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters
        .chunks(length)
        .map(|chunk| chunk.iter().collect())
        .collect()
}
