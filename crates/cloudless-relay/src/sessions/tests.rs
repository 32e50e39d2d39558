use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use cloudless_proto::PublicKey;
use cloudless_proto::takeover::Instance;

use super::*;

const HOLD: Duration = Duration::from_secs(60);

fn key(n: u8) -> HomeKey {
    PublicKey([n; 32]).into()
}

/// The home of `key` comes online.
async fn come(sessions: &Arc<Sessions>, key: HomeKey) -> Installed {
    let id = SessionId {
        instance: Instance::new([1; 16]),
        epoch: 1,
    };
    let newcomer = sessions.newcomer(key, id);
    let session = Session::idle(newcomer.number, key);
    let welcome = || Ok::<_, Infallible>(());
    let installed = sessions.install(newcomer, &session, 9, Duration::ZERO, welcome);
    let Ok(Ok(installed)) = installed.await else {
        panic!("refused");
    };
    installed
}

/// Counts how often somebody is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A visitor that waits for its home.
struct Waiting<'a> {
    wait: Pin<Box<dyn Future<Output = Option<Arc<Session>>> + 'a>>,
    wakes: Arc<Wakes>,
}

impl<'a> Waiting<'a> {
    /// One that waits already.
    fn new(sessions: &'a Sessions, key_of: impl Fn() -> Option<HomeKey> + 'a) -> Self {
        let mut waiting = Self::wanting(sessions, key_of, |_| true);
        assert!(waiting.look().is_none());
        waiting
    }

    fn wanting(
        sessions: &'a Sessions,
        key_of: impl Fn() -> Option<HomeKey> + 'a,
        wanted: impl Fn(&Session) -> bool + 'a,
    ) -> Self {
        Self {
            wait: Box::pin(sessions.wait(key_of, wanted, Instant::now() + HOLD)),
            wakes: Arc::default(),
        }
    }

    /// Whose session it got, if it need not wait any longer.
    fn look(&mut self) -> Option<HomeKey> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        match self.wait.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(session) => Some(session.unwrap().key),
            Poll::Pending => None,
        }
    }

    fn n_wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_home_that_comes_wakes_its_own_visitors_alone() {
    let sessions = Sessions::new();
    let mut own = Waiting::new(&sessions, || Some(key(1)));
    let mut other = Waiting::new(&sessions, || Some(key(2)));
    let _installed = come(&sessions, key(1)).await;
    assert_eq!((own.n_wakes(), other.n_wakes()), (1, 0));
    assert_eq!(own.look(), Some(key(1)));
    sessions.announce(&key(1));
    assert_eq!(other.n_wakes(), 0);
    let _installed = come(&sessions, key(2)).await;
    assert_eq!(other.look(), Some(key(2)));
}

#[tokio::test(start_paused = true)]
async fn a_visitor_that_the_home_does_not_take_waits_until_it_says_more() {
    let sessions = Sessions::new();
    let _installed = come(&sessions, key(1)).await;
    let takes = AtomicBool::new(false);
    let wanted = |_: &Session| takes.load(Ordering::Relaxed);
    let mut waiting = Waiting::wanting(&sessions, || Some(key(1)), wanted);
    assert_eq!(waiting.look(), None);
    takes.store(true, Ordering::Relaxed);
    sessions.announce(&key(1));
    assert_eq!(waiting.n_wakes(), 1);
    assert_eq!(waiting.look(), Some(key(1)));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_moves_takes_those_along_who_wait() {
    let sessions = Sessions::new();
    let _installed = come(&sessions, key(2)).await;
    for by_reload in [true, false] {
        let has_moved = AtomicBool::new(false);
        let key_of = || Some(key(1 + u8::from(has_moved.load(Ordering::Relaxed))));
        let mut waiting = Waiting::new(&sessions, key_of);
        has_moved.store(true, Ordering::Relaxed);
        match by_reload {
            true => sessions.names_changed(),
            false => assert!(!sessions.close(&key(1))),
        }
        assert_eq!(waiting.n_wakes(), 1);
        assert_eq!(waiting.look(), Some(key(2)));
    }
    // From one home that is away to another one, which comes then.
    let has_moved = AtomicBool::new(false);
    let key_of = || Some(key(3 + u8::from(has_moved.load(Ordering::Relaxed))));
    let mut waiting = Waiting::new(&sessions, key_of);
    has_moved.store(true, Ordering::Relaxed);
    sessions.names_changed();
    assert_eq!(waiting.look(), None);
    let _installed = come(&sessions, key(4)).await;
    assert_eq!(waiting.look(), Some(key(4)));
}

#[tokio::test(start_paused = true)]
async fn what_happens_between_the_look_and_the_wait_is_not_missed() {
    let sessions = Sessions::new();
    let _installed = come(&sessions, key(2)).await;
    // The name moves as soon as it was looked whose it is; nobody waits yet who could be woken.
    let n_looks = AtomicUsize::new(0);
    let key_of = || match n_looks.fetch_add(1, Ordering::Relaxed) {
        0 => Some(key(1)),
        _ => Some(key(2)),
    };
    let mut waiting = Waiting::wanting(&sessions, key_of, |_| true);
    assert_eq!(waiting.look(), Some(key(2)));
}
