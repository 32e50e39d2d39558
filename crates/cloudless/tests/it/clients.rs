//! The sessions of clients over TLS, through a relay process to a home process.

use std::fmt::Write as _;
use std::fs;

use bytes::Bytes;
use http::Request;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::answer::Answer;
use crate::binary::on;
use crate::client::{Client, Connection};
use crate::pair::Pair;
use crate::sessions::{Account, Lost, Program, Transport, prepared};

const PROGRAMS: [Program; 7] = [
    Program::Davx5,
    Program::Evolution,
    Program::Ios,
    Program::Kde,
    Program::Macos,
    Program::Thunderbird,
    Program::Vdirsyncer,
];

/// A client that keeps its connection, unless it says otherwise.
pub(crate) struct Network {
    /// The server may be found elsewhere when it was started again.
    client: watch::Receiver<Client>,
    connection: Option<Connection>,
}

impl Network {
    pub(crate) fn new(client: watch::Receiver<Client>) -> Self {
        Self {
            client,
            connection: None,
        }
    }
}

impl From<Client> for Network {
    fn from(client: Client) -> Self {
        Self::new(watch::channel(client).1)
    }
}

impl Transport for Network {
    async fn exchange(&mut self, request: Request<Bytes>) -> Result<Answer, Lost> {
        let closes = request.headers().get("connection").is_some();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let client = self.client.borrow().clone();
                client.connect().await.map_err(|_| Lost)?
            }
        };
        let answer = connection.exchange(request).await.map_err(|_| Lost)?;
        if !closes {
            self.connection = Some(connection);
        }
        Ok(Answer {
            status: answer.status.as_u16(),
            headers: answer.headers,
            body: answer.body,
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_syncs_through_the_relay() {
    let pair = Pair::start();
    let file = pair.folder("cards").join("prepared.vcf");
    let mut cards = String::new();
    for (_, text) in prepared() {
        cards.write_str(&text).unwrap();
    }
    fs::write(&file, cards).unwrap();
    let mut sessions = JoinSet::new();
    for program in PROGRAMS {
        for (version, client) in [("h1", pair.phone()), ("h2", pair.phone().over_http2())] {
            let user = format!("{program:?}-{version}").to_lowercase();
            let home = pair.folder("home");
            let add = ["device", "add", &user, "phone", "--create-user", "--json"];
            let added = on(&home, &add).expect(0).json();
            let password = added["password"].as_str().unwrap().to_owned();
            let import = [
                "contacts",
                "import",
                file.to_str().unwrap(),
                "--user",
                &user,
            ];
            on(&home, &import).expect(0);
            let account = Account { user, password };
            sessions.spawn(program.session(account, Network::from(client)));
        }
    }
    while let Some(ended) = sessions.join_next().await {
        ended.unwrap();
    }
}
