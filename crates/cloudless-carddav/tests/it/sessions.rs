//! Whole sessions of clients, request by request as they were seen on the wire.

use crate::harness::{
    Answer, BOOK, HOME_SET, PASSWORD, PRINCIPAL, Server, basic, card, multiget, propfind,
    sync_collection,
};

/// A client that follows redirects and logs in when it is asked to.
struct Client<'a> {
    server: &'a Server,
    authorization: Option<String>,
    log: Vec<String>,
}

impl<'a> Client<'a> {
    fn new(server: &'a Server) -> Self {
        Self {
            server,
            authorization: None,
            log: Vec::new(),
        }
    }

    fn logged_in(server: &'a Server) -> Self {
        Self {
            authorization: Some(basic("me", PASSWORD)),
            ..Self::new(server)
        }
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut path = path.to_owned();
        loop {
            let authorization = self.authorization.as_deref();
            let answer = self
                .server
                .send_as(authorization, method, &path, headers, body.to_owned())
                .await;
            self.log.push(format!("{method} {path} {}", answer.status));
            match answer.status {
                301 => path = answer.header("location").to_owned(),
                401 if self.authorization.is_none() => {
                    assert!(
                        answer
                            .header("www-authenticate")
                            .starts_with("Basic realm=")
                    );
                    self.authorization = Some(basic("me", PASSWORD));
                }
                _ => return answer,
            }
        }
    }

    async fn propfind(&mut self, path: &str, depth: &str, properties: &[&str]) -> Answer {
        self.send("PROPFIND", path, &[("depth", depth)], &propfind(properties))
            .await
    }
}

#[tokio::test]
async fn davx5() {
    let server = Server::start();
    let mut client = Client::new(&server);
    // Discovery.
    let found = client
        .propfind(
            "/.well-known/carddav",
            "0",
            &[
                "D:resourcetype",
                "D:displayname",
                "D:current-user-principal",
                "C:addressbook-home-set",
                "C:addressbook-description",
            ],
        )
        .await
        .multistatus();
    let log = [
        "PROPFIND /.well-known/carddav 301",
        "PROPFIND /dav/ 401",
        "PROPFIND /dav/ 207",
    ];
    assert_eq!(client.log, log);
    let principal = found.rows[0].text("D:current-user-principal");
    let options = client.send("OPTIONS", principal, &[], "").await;
    assert!(
        options
            .header("dav")
            .split(", ")
            .any(|class| class == "addressbook")
    );
    let asked = [
        "D:displayname",
        "D:group-membership",
        "D:resourcetype",
        "C:addressbook-home-set",
    ];
    let found = client.propfind(principal, "0", &asked).await.multistatus();
    assert_eq!(found.rows[0].text("D:displayname"), "me");
    let home_set = found.rows[0].text("C:addressbook-home-set");
    let asked = [
        "D:current-user-privilege-set",
        "D:displayname",
        "D:owner",
        "D:resourcetype",
        "X:transports",
        "X:topic",
        "C:addressbook-description",
    ];
    let found = client.propfind(home_set, "1", &asked).await.multistatus();
    let book = found
        .rows
        .iter()
        .find(|row| row.inside("D:resourcetype").contains(&"C:addressbook"));
    let book = book.unwrap().href.clone();
    // First sync: an upload, a list, batches of ten.
    let asked = [
        "D:supported-report-set",
        "D:sync-token",
        "CS:getctag",
        "C:max-resource-size",
        "C:supported-address-data",
    ];
    let state = client.propfind(&book, "0", &asked).await.multistatus();
    let state = state.row(&book);
    assert!(
        state
            .inside("D:supported-report-set")
            .contains(&"D:sync-collection")
    );
    assert!(
        !state
            .inside("C:supported-address-data")
            .iter()
            .any(|it| it.contains("4.0"))
    );
    let path = format!("{book}5b0d7e0e.vcf");
    let headers = [
        ("if-none-match", "*"),
        ("content-type", "text/vcard;charset=utf-8"),
    ];
    let put = client
        .send("PUT", &path, &headers, &card("5b0d7e0e", "Ann"))
        .await;
    assert_eq!(put.status, 201);
    let body = sync_collection(&["D:getetag", "D:resourcetype"], "", "");
    let list = client
        .send("REPORT", &book, &[("depth", "0")], &body)
        .await
        .multistatus();
    assert_eq!(list.hrefs(), [path.as_str()]);
    assert_eq!(list.row(&path).text("D:getetag"), put.header("etag"));
    let data = "C:address-data content-type='text/vcard'";
    let body = multiget(&["D:getcontenttype", "D:getetag", data], &[&path]);
    let cards = client
        .send("REPORT", &book, &[("depth", "0")], &body)
        .await
        .multistatus();
    assert_eq!(
        cards.row(&path).text("C:address-data"),
        card("5b0d7e0e", "Ann")
    );
    // An edit and a deletion.
    let etag = cards.row(&path).text("D:getetag").to_owned();
    let headers = [
        ("if-match", etag.as_str()),
        ("content-type", "text/vcard;charset=utf-8"),
    ];
    let put = client
        .send("PUT", &path, &headers, &card("5b0d7e0e", "Anna"))
        .await;
    assert_eq!(put.status, 204);
    let gone = client
        .send("DELETE", &path, &[("if-match", put.header("etag"))], "")
        .await;
    assert_eq!(gone.status, 204);
    let body = sync_collection(
        &["D:getetag", "D:resourcetype"],
        list.sync_token.as_deref().unwrap(),
        "",
    );
    let changes = client
        .send("REPORT", &book, &[("depth", "0")], &body)
        .await
        .multistatus();
    let status = changes.row(&path).status.as_deref();
    assert_eq!(status, Some("HTTP/1.1 404 Not Found"));
}

#[tokio::test]
async fn thunderbird() {
    let server = Server::start();
    server.put("old.vcf", card("old", "Old")).await;
    let mut client = Client::new(&server);
    let found = client
        .propfind("/.well-known/carddav", "0", &["D:current-user-principal"])
        .await;
    let found = found.multistatus();
    assert_eq!(found.rows[0].text("D:current-user-principal"), PRINCIPAL);
    let found = client
        .propfind(PRINCIPAL, "0", &["C:addressbook-home-set"])
        .await
        .multistatus();
    assert_eq!(found.rows[0].text("C:addressbook-home-set"), HOME_SET);
    let asked = [
        "D:resourcetype",
        "D:displayname",
        "D:current-user-privilege-set",
    ];
    let found = client.propfind(HOME_SET, "1", &asked).await.multistatus();
    let book = found.row(BOOK);
    assert_eq!(book.propstats[0].status, "HTTP/1.1 200 OK");
    assert!(
        book.inside("D:current-user-privilege-set")
            .contains(&"D:write")
    );
    // First sync.
    let asked = ["D:resourcetype", "D:getetag", "CS:getctag"];
    let listed = client.propfind(BOOK, "1", &asked).await.multistatus();
    let hrefs: Vec<_> = listed
        .hrefs()
        .into_iter()
        .filter(|href| *href != BOOK)
        .collect();
    let data = ["D:getetag", "C:address-data"];
    let depth = [("depth", "1")];
    let cards = client
        .send("REPORT", BOOK, &depth, &multiget(&data, &hrefs))
        .await
        .multistatus();
    assert_eq!(cards.hrefs(), hrefs);
    let asked = ["D:displayname", "CS:getctag", "D:sync-token"];
    let state = client.propfind(BOOK, "0", &asked).await.multistatus();
    let token = state.row(BOOK).text("D:sync-token").to_owned();
    // A new card, whose href is taken from the answer to a multiget.
    let path = format!("{BOOK}a@b.vcf");
    let new = card("a@b", "New").replace("VERSION:3.0", "VERSION:4.0");
    let put = client
        .send("PUT", &path, &[("content-type", "text/vcard")], &new)
        .await;
    assert_eq!(put.status, 201);
    let cards = client
        .send("REPORT", BOOK, &depth, &multiget(&data, &[&path]))
        .await
        .multistatus();
    assert_eq!(cards.rows[0].text("C:address-data"), new);
    let body = sync_collection(&data, &token, "");
    let changes = client
        .send("REPORT", BOOK, &depth, &body)
        .await
        .multistatus();
    assert_eq!(changes.hrefs(), cards.hrefs(), "compared as text");
    // A deletion without conditions, and a restart that begins with a sync.
    let gone = client
        .send("DELETE", &path, &[("content-type", "text/xml")], "")
        .await;
    assert_eq!(gone.status, 204);
    let mut client = Client::new(&server);
    let body = sync_collection(&data, changes.sync_token.as_deref().unwrap(), "");
    let changes = client
        .send("REPORT", BOOK, &depth, &body)
        .await
        .multistatus();
    assert_eq!(client.log.len(), 2, "401 first: {:?}", client.log);
    assert_eq!(
        changes.rows[0].status.as_deref(),
        Some("HTTP/1.1 404 Not Found")
    );
    // A token of another server: on 400 it lists again.
    let body = sync_collection(&data, "http://example.org/sync/7", "");
    assert_eq!(client.send("REPORT", BOOK, &depth, &body).await.status, 400);
}

#[tokio::test]
async fn evolution() {
    let server = Server::start();
    server.put("plus+sign.vcf", card("plus", "Plus")).await;
    let mut client = Client::logged_in(&server);
    // It starts at the root and goes to well-known only when that fails.
    let asked = [
        "D:resourcetype",
        "D:current-user-principal",
        "D:principal-URL",
        "C:addressbook-home-set",
    ];
    let found = client.propfind("/", "0", &asked).await.multistatus();
    assert_eq!(found.rows[0].text("D:principal-URL"), PRINCIPAL);
    let found = client
        .propfind(PRINCIPAL, "0", &["C:addressbook-home-set"])
        .await
        .multistatus();
    let home_set = found.rows[0].text("C:addressbook-home-set").to_owned();
    let asked = [
        "D:resourcetype",
        "D:displayname",
        "D:getetag",
        "D:getcontenttype",
        "D:getcontentlength",
        "D:creationdate",
        "D:getlastmodified",
        "C:addressbook-description",
    ];
    let found = client.propfind(&home_set, "1", &asked).await.multistatus();
    assert_eq!(found.row(BOOK).text("D:displayname"), "Contacts");
    // Opening the book.
    let options = client.send("OPTIONS", BOOK, &[], "").await;
    assert!(options.header("dav").contains("addressbook"));
    let found = client
        .propfind(BOOK, "0", &["D:current-user-privilege-set"])
        .await
        .multistatus();
    assert!(
        found
            .row(BOOK)
            .inside("D:current-user-privilege-set")
            .contains(&"D:write-content")
    );
    let ctag = async |client: &mut Client<'_>| {
        let found = client
            .propfind(BOOK, "0", &["CS:getctag"])
            .await
            .multistatus();
        found.row(BOOK).text("CS:getctag").to_owned()
    };
    let before = ctag(&mut client).await;
    assert_eq!(ctag(&mut client).await, before);
    let listed = client
        .propfind(BOOK, "1", &["D:getetag"])
        .await
        .multistatus();
    // The book has no ETag; it must not be taken for a card.
    assert!(listed.row(BOOK).found("D:getetag").is_none());
    let href = format!("{BOOK}plus%2Bsign.vcf");
    assert_eq!(listed.hrefs(), [BOOK, href.as_str()]);
    let body = multiget(&["D:getetag", "C:address-data"], &[&href]);
    let cards = client.send("REPORT", BOOK, &[], &body).await.multistatus();
    assert_eq!(
        cards.row(&href).text("C:address-data"),
        card("plus", "Plus")
    );
    // An edit in its own spelling of the path, and a new card.
    let headers = [
        ("prefer", "return=minimal"),
        ("content-type", "text/vcard; charset=\"utf-8\""),
    ];
    let put = client
        .send("PUT", &href, &headers, &card("plus", "Plus 2"))
        .await;
    assert_eq!(put.status, 204);
    assert!(
        put.header("etag").starts_with('"'),
        "a strong ETag saves it a GET"
    );
    assert_ne!(ctag(&mut client).await, before);
    let new = format!("{BOOK}da39a3ee5e6b4b0d3255bfef95601890afd80709.vcf");
    let headers = [&headers[..], &[("if-none-match", "*")]].concat();
    assert_eq!(
        client
            .send("PUT", &new, &headers, &card("da39", "New"))
            .await
            .status,
        201
    );
    assert_eq!(client.send("DELETE", &new, &[], "").await.status, 204);
}

#[tokio::test]
async fn ios() {
    let server = Server::start();
    server.put("A1B2.vcf", card("A1B2", "Ann")).await;
    let mut client = Client::new(&server);
    let asked = [
        "D:current-user-principal",
        "D:principal-URL",
        "D:resourcetype",
    ];
    let found = client
        .propfind("/.well-known/carddav", "0", &asked)
        .await
        .multistatus();
    let principal = found.rows[0].text("D:current-user-principal").to_owned();
    assert_eq!(
        client.send("OPTIONS", &principal, &[], "").await.status,
        200
    );
    let asked = [
        "C:addressbook-home-set",
        "C:directory-gateway",
        "D:displayname",
        "CS:email-address-set",
        "D:principal-collection-set",
        "D:principal-URL",
        "D:resource-id",
        "D:supported-report-set",
    ];
    let found = client.propfind(&principal, "0", &asked).await.multistatus();
    let home_set = found.rows[0].text("C:addressbook-home-set").to_owned();
    // It needs a slash at the end of each collection.
    assert!(principal.ends_with('/') && home_set.ends_with('/'));
    let asked = [
        "D:add-member",
        "X:bulk-requests",
        "D:current-user-privilege-set",
        "D:displayname",
        "C:max-image-size",
        "C:max-resource-size",
        "X:me-card",
        "D:owner",
        "X:push-transports",
        "D:quota-available-bytes",
        "D:resource-id",
        "D:resourcetype",
        "D:supported-report-set",
        "D:sync-token",
        "CS:getctag",
    ];
    let found = client.propfind(&home_set, "1", &asked).await.multistatus();
    let book = found.row(BOOK);
    // Both would make it send requests that are not served.
    assert!(book.found("D:add-member").is_none() && book.found("X:bulk-requests").is_none());
    assert!(!book.text("CS:getctag").is_empty());
    let body = sync_collection(&["D:getetag"], "", "");
    let listed = client
        .send("REPORT", BOOK, &[("depth", "1")], &body)
        .await
        .multistatus();
    let href = format!("{BOOK}A1B2.vcf");
    assert_eq!(listed.hrefs(), [href.as_str()]);
    // It asks again for ever for an href that the answer leaves out.
    let gone = format!("{BOOK}GONE.vcf");
    let data = "C:address-data content-type='text/vcard' version='3.0'";
    let body = multiget(&["D:getetag", data], &[&href, &gone]);
    let cards = client
        .send("REPORT", BOOK, &[("depth", "1")], &body)
        .await
        .multistatus();
    assert_eq!(cards.hrefs(), [&href, &gone]);
    let headers = [
        ("content-type", "text/vcard; charset=utf-8"),
        ("if-none-match", "*"),
    ];
    let new = card("C3D4", "Cleo").replace(
        "END:",
        "item1.EMAIL;type=INTERNET;type=pref:c@example.org\r\nitem1.X-ABLabel:_$!<Other>!$_\r\n\
         BDAY;X-APPLE-OMIT-YEAR=1604:1604-02-29\r\nEND:",
    );
    let path = format!("{BOOK}C3D4.vcf");
    assert_eq!(client.send("PUT", &path, &headers, &new).await.status, 201);
    assert_eq!(client.send("GET", &path, &[], "").await.text(), new);
}

#[tokio::test]
async fn vdirsyncer() {
    let server = Server::start();
    let mut client = Client::logged_in(&server);
    let found = client
        .propfind("/.well-known/carddav", "0", &["D:current-user-principal"])
        .await;
    assert_eq!(
        client.log,
        ["PROPFIND /.well-known/carddav 301", "PROPFIND /dav/ 207"]
    );
    let found = found.multistatus();
    let principal = found.rows[0].text("D:current-user-principal").to_owned();
    let found = client
        .propfind(&principal, "0", &["C:addressbook-home-set"])
        .await
        .multistatus();
    let home_set = found.rows[0].text("C:addressbook-home-set").to_owned();
    let found = client
        .propfind(&home_set, "1", &["D:resourcetype"])
        .await
        .multistatus();
    assert!(
        found
            .row(BOOK)
            .inside("D:resourcetype")
            .contains(&"C:addressbook")
    );
    let found = client
        .propfind(BOOK, "0", &["D:displayname"])
        .await
        .multistatus();
    assert_eq!(found.row(BOOK).text("D:displayname"), "Contacts");
    // Upload with If-None-Match, list, fetch, change with If-Match, delete with If-Match.
    let path = format!("{BOOK}uid%401.vcf");
    let headers = [("if-none-match", "*"), ("content-type", "text/vcard")];
    let put = client
        .send("PUT", &path, &headers, &card("uid@1", "Ann"))
        .await;
    assert_eq!(put.status, 201);
    let asked = ["D:resourcetype", "D:getcontenttype", "D:getetag"];
    let listed = client.propfind(BOOK, "1", &asked).await.multistatus();
    let row = listed.row(&path);
    assert!(row.text("D:getcontenttype").starts_with("text/vcard"));
    let etag = row.text("D:getetag").to_owned();
    assert_eq!(etag, put.header("etag"));
    let body = multiget(&["D:getetag", "C:address-data"], &[&path]);
    let cards = client.send("REPORT", BOOK, &[], &body).await.multistatus();
    assert_eq!(
        cards.row(&path).text("C:address-data"),
        card("uid@1", "Ann")
    );
    let headers = [("if-match", etag.as_str()), ("content-type", "text/vcard")];
    let put = client
        .send("PUT", &path, &headers, &card("uid@1", "Anna"))
        .await;
    assert_eq!(put.status, 204);
    let stale = client
        .send("DELETE", &path, &[("if-match", &etag)], "")
        .await;
    assert_eq!(stale.status, 412, "a conflict is seen");
    let gone = client
        .send("DELETE", &path, &[("if-match", put.header("etag"))], "")
        .await;
    assert_eq!(gone.status, 204);
}
