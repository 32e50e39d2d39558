//! PROPPATCH, and what PROPFIND gives back of it.

use crate::harness::{Answer, BOOK, HOME_SET, PRINCIPAL, Server, card};

const OK: &str = "HTTP/1.1 200 OK";
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden";
const FAILED_DEPENDENCY: &str = "HTTP/1.1 424 Failed Dependency";

async fn proppatch(server: &Server, path: &str, updates: &str) -> Answer {
    let body = format!(
        "<D:propertyupdate xmlns:D='DAV:' xmlns:C='urn:ietf:params:xml:ns:carddav' \
         xmlns:X='urn:example'>{updates}</D:propertyupdate>"
    );
    server.send("PROPPATCH", path, &[], body).await
}

fn set(properties: &str) -> String {
    format!("<D:set><D:prop>{properties}</D:prop></D:set>")
}

fn remove(properties: &str) -> String {
    format!("<D:remove><D:prop>{properties}</D:prop></D:remove>")
}

#[tokio::test]
async fn dead_properties_are_kept_with_books_and_cards() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let card = format!("{BOOK}a.vcf");
    for path in [BOOK, &card] {
        let value = "<X:color X:of='sky'>blue<X:dark/></X:color><X:other/>";
        let answer = proppatch(&server, path, &set(value)).await.multistatus();
        assert_eq!(answer.hrefs(), [path]);
        assert_eq!(answer.row(path).names(OK), ["X:color", "X:other"]);
        let found = server.propfind(path, "0", &["X:color", "X:none"]).await;
        let found = found.multistatus();
        assert_eq!(found.row(path).text("X:color"), "blue");
        assert_eq!(found.row(path).inside("X:color"), ["X:dark"]);
        assert_eq!(found.row(path).names("HTTP/1.1 404 Not Found"), ["X:none"]);
        assert!(found.row(path).found("X:other").is_none());

        let all = server.send("PROPFIND", path, &[("depth", "0")], "").await;
        assert_eq!(all.multistatus().row(path).text("X:color"), "blue");
        let names = "<D:propfind xmlns:D='DAV:'><D:propname/></D:propfind>";
        let names = server
            .send("PROPFIND", path, &[("depth", "0")], names)
            .await;
        assert_eq!(names.multistatus().row(path).text("X:color"), "");

        // In the order of the request.
        let updates = set("<X:color>red</X:color>")
            + &remove("<X:color/><X:other/>")
            + &set("<X:color>green</X:color>");
        let answer = proppatch(&server, path, &updates).await.multistatus();
        assert_eq!(answer.row(path).names(OK), ["X:color", "X:other"]);
        let found = server.propfind(path, "0", &["X:color", "X:other"]).await;
        let found = found.multistatus();
        assert_eq!(found.row(path).text("X:color"), "green");
        assert!(found.row(path).found("X:other").is_none());
    }
    let list = server.propfind(BOOK, "1", &["X:color"]).await.multistatus();
    assert_eq!(list.row(&card).text("X:color"), "green");
}

#[tokio::test]
async fn an_address_book_is_renamed_and_described() {
    let server = Server::start();
    let updates = set("<D:displayname>Friends &amp; co</D:displayname>\
         <C:addressbook-description xml:lang='en'>All of them</C:addressbook-description>");
    let answer = proppatch(&server, BOOK, &updates).await.multistatus();
    let names = ["D:displayname", "C:addressbook-description"];
    assert_eq!(answer.row(BOOK).names(OK), names);
    let found = server.propfind(BOOK, "0", &names).await.multistatus();
    assert_eq!(found.row(BOOK).text("D:displayname"), "Friends & co");
    assert_eq!(
        found.row(BOOK).text("C:addressbook-description"),
        "All of them"
    );
    assert_eq!(server.book().display_name, "Friends & co");
    let updates = remove("<C:addressbook-description/>");
    proppatch(&server, BOOK, &updates).await.multistatus();
    assert_eq!(server.book().display_name, "Friends & co");
    assert_eq!(server.book().description, "");
}

#[tokio::test]
async fn a_protected_property_refuses_all() {
    let server = Server::start();
    server.put("a.vcf", card("a", "Ann")).await;
    let card = format!("{BOOK}a.vcf");
    for path in [BOOK, &card] {
        for protected in [
            "D:getetag",
            "D:resourcetype",
            "C:supported-address-data",
            "C:address-data",
            "D:owner",
        ] {
            for update in [
                set(&format!("<{protected}/>")),
                remove(&format!("<{protected}/>")),
            ] {
                let updates =
                    set("<X:color>blue</X:color><D:displayname>New</D:displayname>") + &update;
                let answer = proppatch(&server, path, &updates).await;
                assert!(
                    answer
                        .text()
                        .contains("<D:cannot-modify-protected-property/>")
                );
                let answer = answer.multistatus();
                let row = answer.row(path);
                assert_eq!(row.names(FORBIDDEN), [protected]);
                assert_eq!(row.names(FAILED_DEPENDENCY), ["X:color", "D:displayname"]);
                assert_eq!(row.names(OK), [""; 0]);
            }
        }
        let found = server.propfind(path, "0", &["X:color"]).await.multistatus();
        assert!(found.row(path).found("X:color").is_none());
    }
    assert_eq!(server.book().display_name, "Contacts");
}

#[tokio::test]
async fn too_much_is_refused_as_a_whole() {
    let server = Server::start();
    let big = format!(
        "<X:color/><D:displayname>{}</D:displayname>",
        "x".repeat(20_000)
    );
    let answer = proppatch(&server, BOOK, &set(&big)).await.multistatus();
    let row = answer.row(BOOK);
    assert_eq!(
        row.names("HTTP/1.1 507 Insufficient Storage"),
        ["D:displayname"]
    );
    assert_eq!(row.names(FAILED_DEPENDENCY), ["X:color"]);
    let many: String = (0..100).map(|number| format!("<X:p{number}/>")).collect();
    let answer = proppatch(&server, BOOK, &set(&many)).await.multistatus();
    let row = answer.row(BOOK);
    assert_eq!(row.names("HTTP/1.1 507 Insufficient Storage").len(), 100);
    assert_eq!(server.book().display_name, "Contacts");
}

#[tokio::test]
async fn bad_bodies_and_missing_resources_are_refused() {
    let server = Server::start();
    for body in [
        "",
        "nonsense",
        "<propfind xmlns='DAV:'><allprop/></propfind>",
    ] {
        let answer = server.send("PROPPATCH", BOOK, &[], body).await;
        assert_eq!(answer.status, 400, "{body}");
    }
    let update = set("<X:color/>");
    let missing = format!("{BOOK}no.vcf");
    assert_eq!(proppatch(&server, &missing, &update).await.status, 404);
}

/// What the server makes up takes no property, and says so of each.
#[tokio::test]
async fn home_set_and_principal_refuse_each_property() {
    let server = Server::start();
    for path in ["/", "/dav/", HOME_SET, PRINCIPAL, "/dav/files/"] {
        let update = set("<X:color>red</X:color><D:displayname>me</D:displayname>");
        let answer = proppatch(&server, path, &update).await.multistatus();
        let row = answer.row(path);
        assert_eq!(row.names(FORBIDDEN), ["X:color", "D:displayname"], "{path}");
    }
    let missing = "/dav/principals/you/";
    let update = set("<X:color/>");
    assert_eq!(proppatch(&server, missing, &update).await.status, 404);
}
