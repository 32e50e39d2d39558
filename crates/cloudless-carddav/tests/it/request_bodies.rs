//! XML bodies: what is wrong with one is the client's fault, and told by the status.

use crate::harness::{BOOK, Server, propfind};

#[tokio::test]
async fn a_bad_body_is_the_clients_fault() {
    let server = Server::start();
    let ask = async |headers: &[(&str, &str)], body: String| {
        let headers = [&[("depth", "0")], headers].concat();
        server.send("PROPFIND", BOOK, &headers, body).await
    };
    for body in [
        "nonsense",
        "<propfind",
        r#"<propfind xmlns="urn:other"><allprop/></propfind>"#,
    ] {
        assert_eq!(ask(&[], body.to_owned()).await.status, 400, "{body}");
    }
    let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaa">]><propfind xmlns="DAV:"><allprop/></propfind>"#;
    ask(&[], bomb.to_owned())
        .await
        .assert_condition(403, "DAV:", "no-external-entities");
    let many: String = (0..300).map(|index| format!("<p{index}/>")).collect();
    let many = format!(r#"<propfind xmlns="DAV:"><prop>{many}</prop></propfind>"#);
    assert_eq!(ask(&[], many).await.status, 413);
    let padded = format!("{}{}", propfind(&["D:getetag"]), " ".repeat(16 << 20));
    assert_eq!(ask(&[], padded).await.status, 413);
    let gzip = ask(&[("content-encoding", "gzip")], propfind(&["D:getetag"])).await;
    assert_eq!(
        (gzip.status, gzip.header("accept-encoding")),
        (415, "identity")
    );
    let identity = ask(
        &[("content-encoding", "identity")],
        propfind(&["D:getetag"]),
    )
    .await;
    assert_eq!(identity.status, 207);
}
