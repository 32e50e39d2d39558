//! Cards to measure with: all of one size, every tenth with a photo.

use data_encoding::BASE64;

/// Bytes of a card without a photo.
pub(crate) const SIZE: usize = 565;
/// Every card whose number is divisible by this has a photo.
pub(crate) const PHOTO_EVERY: usize = 10;
const PHOTO_SIZE: usize = 20 * 1024;

/// The name of a card's resource.
pub(crate) fn name(number: usize) -> String {
    format!("bench-{number:06}.vcf")
}

/// A vCard 3.0. Equal arguments give equal bytes.
pub(crate) fn card(number: usize) -> String {
    let mut card = format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:bench-{number:06}\r\n\
         FN:Ada Number {number:06}\r\nN:Number {number:06};Ada;;;\r\n\
         ORG:Analytical Engines;Department {number:06}\r\nTITLE:Countess\r\n\
         TEL;TYPE=CELL:+44 20 {number:08}\r\nTEL;TYPE=HOME:+44 30 {number:08}\r\n\
         EMAIL;TYPE=HOME:ada.{number:06}@example.org\r\n\
         ADR;TYPE=HOME:;;{number} St James's Square;London;;SW1Y 4JH;United Kingdom\r\n\
         BDAY:1815-12-10\r\nCATEGORIES:Friends,Mathematics\r\n"
    );
    let end = "END:VCARD\r\n";
    let padding = SIZE.saturating_sub(card.len() + "NOTE:\r\n".len() + end.len());
    card.push_str("NOTE:");
    card.extend("note ".chars().cycle().take(padding));
    card.push_str("\r\n");
    if number.is_multiple_of(PHOTO_EVERY) {
        card.push_str(&photo(number));
    }
    card.push_str(end);
    card
}

/// A folded PHOTO property; noise stands for the picture, which does not compress either.
fn photo(number: usize) -> String {
    let mut state = number as u64 * 2 + 1;
    let noise: Vec<u8> = (0..PHOTO_SIZE)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    let mut property = String::from("PHOTO;ENCODING=b;TYPE=JPEG:");
    for (index, character) in BASE64.encode(&noise).chars().enumerate() {
        if index % 72 == 0 {
            property.push_str("\r\n ");
        }
        property.push(character);
    }
    property.push_str("\r\n");
    property
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_have_one_size() {
        for number in [1, 999, 123_456] {
            assert_eq!(card(number).len(), SIZE);
        }
    }

    #[test]
    fn every_tenth_card_has_a_photo() {
        let unfolded = card(20).replace("\r\n ", "");
        let photo = unfolded
            .lines()
            .find_map(|it| it.strip_prefix("PHOTO;ENCODING=b;TYPE=JPEG:"));
        let bytes = BASE64.decode(photo.expect("card 20 has a photo").as_bytes());
        assert_eq!(bytes.expect("the photo is base64").len(), PHOTO_SIZE);
        assert!(!card(21).contains("PHOTO"));
    }

    #[test]
    fn cards_differ() {
        assert_ne!(card(1), card(2));
    }
}
