//! Names in paths.

use cloudless_dav_proto::href::{HrefError, decode_path, encode_segment};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_name_comes_back(names in vec(any::<String>(), 0..4)) {
        let is_segment = |name: &String| !matches!(name.as_str(), "" | "." | "..");
        let names: Vec<String> = names.into_iter().filter(is_segment).collect();
        let path: String = names.iter().map(|name| format!("/{}", encode_segment(name))).collect();
        let unreserved = |byte| matches!(byte, b'/' | b'%' | b'-' | b'.' | b'_' | b'~')
            || byte.is_ascii_alphanumeric();
        prop_assert!(path.bytes().all(unreserved), "{path}");
        if names.is_empty() {
            prop_assert_eq!(decode_path("/"), Ok(vec![]));
        } else {
            prop_assert_eq!(decode_path(&path), Ok(names.clone()));
        }
        prop_assert_eq!(decode_path(&format!("https://h:1{path}/?q#f")), Ok(names));
    }

    #[test]
    fn every_spelling_of_a_name_is_the_name(name in "[^/?#%\0]{1,12}", lower in any::<bool>()) {
        prop_assume!(name != "." && name != "..");
        let all: String = name
            .bytes()
            .map(|byte| if lower { format!("%{byte:02x}") } else { format!("%{byte:02X}") })
            .collect();
        prop_assert_eq!(decode_path(&format!("/{all}")), Ok(vec![name.clone()]));
        prop_assert_eq!(decode_path(&format!("/{name}")), Ok(vec![name]));
    }
}

#[test]
fn one_spelling() {
    assert_eq!(encode_segment("aZ09-._~"), "aZ09-._~");
    assert_eq!(
        encode_segment("a b@c+d&é/%"),
        "a%20b%40c%2Bd%26%C3%A9%2F%25"
    );
    assert_eq!(
        encode_segment("!$'()*,:;=?#[]"),
        "%21%24%27%28%29%2A%2C%3A%3B%3D%3F%23%5B%5D"
    );
}

#[test]
fn paths() {
    let check = |href: &str, expected: Result<&[&str], HrefError>| {
        let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(decode_path(href), expected, "{href}");
    };
    check("/", Ok(&[]));
    check("/a/b%2Fc/", Ok(&["a", "b/c"]));
    check("//a///b", Ok(&["a", "b"]));
    check("/plus+sign/at@sign", Ok(&["plus+sign", "at@sign"]));
    check("HTTP://user@[::1]:80/a%20b", Ok(&["a b"]));
    check("https://host", Ok(&[]));
    check("https://host?x/y", Ok(&[]));
    check("/a?b/c#d", Ok(&["a"]));
    check("/a%3Fb%23c", Ok(&["a?b#c"]));
    check("", Err(HrefError::Relative));
    check("a/b", Err(HrefError::Relative));
    check("a/https://b/c", Err(HrefError::Relative));
    check("://b/c", Err(HrefError::Relative));
    check("/a/../b", Err(HrefError::DotSegment));
    check("/a/%2E%2e", Err(HrefError::DotSegment));
    check("/./a", Err(HrefError::DotSegment));
    check("/...", Ok(&["..."]));
    for bad in ["/%", "/%4", "/%zz", "/%+1", "/%é"] {
        check(bad, Err(HrefError::PercentEncoding));
    }
    check("/%FF", Err(HrefError::NotUtf8));
    check("/%C3/%A4", Err(HrefError::NotUtf8));
}
