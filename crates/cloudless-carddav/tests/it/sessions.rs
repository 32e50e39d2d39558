//! Whole sessions of clients, request by request as they were seen on the wire.

mod davx5;
mod evolution;
mod ios;
mod thunderbird;
mod vdirsyncer;

use crate::harness::{Answer, PASSWORD, Server, basic, propfind};

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
