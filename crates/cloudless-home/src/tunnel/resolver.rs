//! One question to DNS for all the dials that wait for its answer.
//!
//! `getaddrinfo` takes a thread, and keeps it when the dial that asked is given up: for up to a
//! minute where no name server answers. Dials follow each other several times a second.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::surroundings::Happened;

/// A question without an answer for so long may be lost, and one more is asked beside it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Questions for one name since the network last changed: one that hangs, and a fresh one.
const QUESTIONS_MAX: usize = 2;
/// With those that hang from before: they say nothing about the network as it is now, and nobody can
/// end them.
const LEFT_OVER_MAX: usize = 4;

/// Asks DNS for the addresses of names, for all tunnels of a home.
#[derive(Default)]
pub(crate) struct Resolver {
    /// `None` where nobody watches the network: for a single dial.
    happened: Option<watch::Receiver<Happened>>,
    /// In the order in which they were asked. Each is there until it is answered, whether somebody
    /// waits for that or not.
    questions: Arc<Mutex<Vec<Question>>>,
    tasks: Mutex<JoinSet<()>>,
}

struct Question {
    /// `host:port`.
    name: String,
    asked: Instant,
    /// What had happened before.
    happened: Option<Happened>,
    answer: Answer,
}

/// What DNS says once it has answered.
#[derive(Clone)]
pub(super) struct Answer(watch::Receiver<Option<Said>>);

type Said = Result<Vec<SocketAddr>, Arc<io::Error>>;

impl Resolver {
    /// Knows from `happened` when an answer may be to what is no longer the question.
    pub(crate) fn new(happened: watch::Receiver<Happened>) -> Self {
        Self {
            happened: Some(happened),
            ..Self::default()
        }
    }

    /// Asks by `resolve`, unless the same was asked a moment ago, or too often. The question is
    /// under way until what `resolve` returns is through.
    pub(super) fn ask<F>(&self, name: &str, resolve: impl FnOnce(String) -> F) -> Answer
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        let happened = self.happened.as_ref().map(|happened| *happened.borrow());
        let mut questions = lock(&self.questions);
        let same: Vec<&Question> = questions.iter().filter(|it| it.name == name).collect();
        let since: Vec<&&Question> = same.iter().filter(|it| it.happened == happened).collect();
        let is_asked = since.last().is_some_and(|it| it.asked.elapsed() < PATIENCE);
        if let Some(newest) = same.last()
            && (is_asked || since.len() >= QUESTIONS_MAX || same.len() >= LEFT_OVER_MAX)
        {
            return newest.answer.clone();
        }
        let (sender, receiver) = watch::channel(None);
        let answer = Answer(receiver);
        questions.push(Question {
            name: name.to_owned(),
            asked: Instant::now(),
            happened,
            answer: answer.clone(),
        });
        let (resolved, under_way) = (resolve(name.to_owned()), self.questions.clone());
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let said = resolved.await.map_err(Arc::new);
            let mut under_way = lock(&under_way);
            sender.send_replace(Some(said));
            drop(sender);
            under_way.retain(|question| question.answer.0.has_changed().is_ok());
        });
        answer
    }
}

impl Answer {
    /// Waits for it.
    pub(super) async fn said(mut self) -> io::Result<Vec<SocketAddr>> {
        let said = self.0.wait_for(Option::is_some).await;
        let said = said.ok().and_then(|said| said.clone());
        let given_up = || Err(Arc::new(io::ErrorKind::Interrupted.into()));
        said.unwrap_or_else(given_up)
            .map_err(|error| io::Error::new(error.kind(), error))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::sync::oneshot;
    use tokio::time::advance;

    use super::*;

    const NAME: &str = "relay.test:443";

    /// A name server that says nothing before it is told to.
    #[derive(Default)]
    struct Dns(RefCell<Vec<oneshot::Sender<io::Result<Vec<SocketAddr>>>>>);

    impl Dns {
        fn asked_by(&self, resolver: &Resolver, name: &str) -> Answer {
            resolver.ask(name, |_| {
                let (sender, receiver) = oneshot::channel();
                self.0.borrow_mut().push(sender);
                async { receiver.await.unwrap() }
            })
        }

        fn n_waiting(&self) -> usize {
            self.0.borrow().len()
        }

        /// The question that is the `number`th of those under way.
        fn say(&self, number: usize, said: io::Result<Vec<SocketAddr>>) {
            self.0.borrow_mut().remove(number).send(said).unwrap();
        }
    }

    fn address(host: u8) -> SocketAddr {
        ([192, 0, 2, host], 443).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_dials_ask_twice_and_all_hear_the_answer() {
        let (resolver, dns) = (Resolver::default(), Dns::default());
        let dial = || dns.asked_by(&resolver, NAME);
        let mut on_first = Vec::new();
        let mut on_second = Vec::new();
        for number in 0..100 {
            let answer = dial();
            match number {
                0..4 => assert_eq!(dns.n_waiting(), 1),
                _ => assert_eq!(dns.n_waiting(), 2),
            }
            // Half of the dials are given up, which ends no question.
            match number {
                0..4 => on_first.push(answer),
                _ if number % 2 == 0 => on_second.push(answer),
                _ => drop(answer),
            }
            advance(Duration::from_millis(250)).await;
        }

        dns.say(1, Ok(vec![address(2)]));
        for answer in on_second {
            assert_eq!(answer.said().await.unwrap(), [address(2)]);
        }
        // The first still hangs, and keeps nobody from asking anew.
        let fresh = dial();
        assert_eq!(dns.n_waiting(), 2);
        dns.say(0, Err(io::ErrorKind::TimedOut.into()));
        for answer in on_first {
            let error = answer.said().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        dns.say(0, Ok(vec![address(3)]));
        assert_eq!(fresh.said().await.unwrap(), [address(3)]);
        assert!(lock(&resolver.questions).is_empty());
        drop(dial());
        assert_eq!(dns.n_waiting(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_since_before_a_change_of_the_network_holds_up_no_fresh_question() {
        let (happen, happened) = watch::channel(Happened::default());
        let (resolver, dns) = (Resolver::new(happened), Dns::default());
        let dial = || dns.asked_by(&resolver, NAME);
        let n_after_dials = async || {
            for _ in 0..10 {
                drop(dial());
                advance(Duration::from_millis(250)).await;
            }
            dns.n_waiting()
        };
        assert_eq!(n_after_dials().await, 2);
        happen.send_modify(|it| it.changes += 1);
        let fresh = dial();
        assert_eq!(dns.n_waiting(), 3);
        dns.say(2, Ok(vec![address(1)]));
        assert_eq!(fresh.said().await.unwrap(), [address(1)]);

        happen.send_modify(|it| it.wakes += 1);
        assert_eq!(n_after_dials().await, 4);
        // However often the network changes.
        for _ in 0..100 {
            happen.send_modify(|it| it.changes += 1);
            assert_eq!(n_after_dials().await, 4);
        }
        let waiting = dial();
        dns.say(3, Ok(vec![address(2)]));
        assert_eq!(waiting.said().await.unwrap(), [address(2)]);
        drop(dial());
        assert_eq!(dns.n_waiting(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn each_name_is_asked_for() {
        let (resolver, dns) = (Resolver::default(), Dns::default());
        let first = dns.asked_by(&resolver, NAME);
        let second = dns.asked_by(&resolver, "another.test:443");
        dns.say(1, Ok(vec![address(2)]));
        dns.say(0, Ok(vec![address(1)]));
        assert_eq!(first.said().await.unwrap(), [address(1)]);
        assert_eq!(second.said().await.unwrap(), [address(2)]);
    }
}
