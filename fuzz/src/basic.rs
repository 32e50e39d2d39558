//! Basic authentication: no value panics, and whoever has a name without a colon and any password is
//! read as just that.

use cloudless_dav_proto::basic::Basic;
use data_encoding::BASE64;

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(read(bytes).is_none());
        return;
    };
    if let Some(basic) = Basic::parse(text) {
        assert!(!basic.user().contains(':'));
        let login = format!("{}:{}", basic.user(), basic.password());
        let again = read(login.as_bytes()).expect("it was written to be read");
        assert_eq!(again.user(), basic.user());
        assert_eq!(again.password(), basic.password());
    }
    let expected = text.split_once(':');
    let found = read(bytes);
    let found = found.as_ref().map(|it| (it.user(), it.password()));
    assert_eq!(found, expected);
}

/// What these bytes are as a login.
fn read(bytes: &[u8]) -> Option<Basic> {
    Basic::parse(&format!("Basic {}", BASE64.encode(bytes)))
}
