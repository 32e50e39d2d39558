//! The sessions of clients against the service itself, with no socket between.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::answer::Answer;
use crate::harness::{PASSWORD, Server};
use crate::sessions::{Account, Lost, Program, Transport, prepared};

impl Transport for Arc<Server> {
    async fn exchange(&mut self, request: Request<Bytes>) -> Result<Answer, Lost> {
        let response = self.carddav.respond(request.map(Full::new)).await;
        Ok(Answer::read(response).await)
    }
}

async fn check(program: Program) {
    let server = Arc::new(Server::start());
    server.fill(prepared().map(|(uid, text)| (format!("{uid}.vcf"), text.into_bytes())));
    let account = Account {
        user: "me".to_owned(),
        password: PASSWORD.to_owned(),
    };
    program.session(account, server).await;
}

#[tokio::test]
async fn davx5() {
    check(Program::Davx5).await;
}

#[tokio::test]
async fn evolution() {
    check(Program::Evolution).await;
}

#[tokio::test]
async fn ios() {
    check(Program::Ios).await;
}

#[tokio::test]
async fn kde() {
    check(Program::Kde).await;
}

#[tokio::test]
async fn macos() {
    check(Program::Macos).await;
}

#[tokio::test]
async fn thunderbird() {
    check(Program::Thunderbird).await;
}

#[tokio::test]
async fn vdirsyncer() {
    check(Program::Vdirsyncer).await;
}
