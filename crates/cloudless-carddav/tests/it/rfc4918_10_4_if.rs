//! The `If` header on requests that change something.

use crate::harness::{BOOK, Server, card};

#[tokio::test]
async fn a_list_of_tags_guards_put_and_delete() {
    let server = Server::start();
    let etag = server.put("a.vcf", card("a", "Ann")).await;
    let path = format!("{BOOK}a.vcf");
    let put = async |condition: &str, text: &str| {
        let headers = [("if", condition), ("content-type", "text/vcard")];
        server
            .send("PUT", &path, &headers, text.to_owned())
            .await
            .status
    };
    let anna = card("a", "Anna");
    for (condition, status) in [
        ("([\"stale\"])", 412),
        (&format!("(<opaquelocktoken:x> [{etag}])"), 412),
        (&format!("(Not [{etag}])"), 412),
        (&format!("</elsewhere> ([{etag}])"), 412),
        ("nonsense", 400),
        (&format!("([\"stale\"]) ([{etag}])"), 204),
    ] {
        assert_eq!(put(condition, &anna).await, status, "{condition}");
    }
    let stale = [("if", format!("([{etag}])"))];
    let stale = [("if", stale[0].1.as_str())];
    assert_eq!(server.send("DELETE", &path, &stale, "").await.status, 412);
    let both = [("if", "(Not <DAV:no-lock>)"), ("if-match", "*")];
    assert_eq!(server.send("DELETE", &path, &both, "").await.status, 400);
    let always = [("if", "(Not <DAV:no-lock>)")];
    assert_eq!(server.send("DELETE", &path, &always, "").await.status, 204);
}
