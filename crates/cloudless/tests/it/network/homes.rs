//! Homes that run in this process, with settings that no home.toml has, on one of the machines.

use std::thread::JoinHandle;

use cloudless_home::{Config, Listeners, run};
use cloudless_store::Store;
use cloudless_testbed::Namespace;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Whole homes, which end when this is dropped.
pub(crate) struct Homes {
    end: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Homes {
    /// Starts a home for each of `configs`; all have what is in `store`.
    pub(crate) fn start(machine: &Namespace, configs: Vec<Config>, store: Store) -> Self {
        let end = CancellationToken::new();
        let shutdown = end.clone();
        let thread = machine.spawn(move || {
            Runtime::new().unwrap().block_on(async {
                let home = |config| {
                    run(
                        config,
                        store.clone(),
                        Listeners::default(),
                        shutdown.clone(),
                    )
                };
                let homes: JoinSet<_> = configs.into_iter().map(home).collect();
                for ended in homes.join_all().await {
                    ended.unwrap();
                }
            });
        });
        Self {
            end,
            thread: Some(thread),
        }
    }
}

impl Drop for Homes {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(thread) = self.thread.take() {
            // What it panicked with is printed already.
            let _ = thread.join();
        }
    }
}
