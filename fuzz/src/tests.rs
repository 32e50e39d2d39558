use std::fs;
use std::path::Path;

/// Runs a target on each of its seeds. A panic shows the file that it came of.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let mut seeds = 0;
    for file in fs::read_dir(&folder).expect("every target has seeds") {
        let path = file.expect("the folder can be read").path();
        eprintln!("{}", path.display());
        check(&fs::read(&path).expect("a seed can be read"));
        seeds += 1;
    }
    assert!(seeds > 0, "{} is empty", folder.display());
}

macro_rules! targets {
    ($($target:ident),*) => {$(
        #[test]
        fn $target() {
            replay(stringify!($target), crate::$target::check);
        }
    )*};
}

targets!(
    answers,
    basic,
    caa,
    client_hello,
    content_lines,
    control,
    convert,
    filters,
    headers,
    hostname,
    hrefs,
    http2,
    join_code,
    leg,
    proxy_protocol,
    request_head,
    response_head,
    ssh,
    tls,
    xml_bodies
);
