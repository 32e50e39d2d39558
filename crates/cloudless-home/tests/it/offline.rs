//! A home that does not run: its store and the commands on it.

use cloudless_home::admin::{
    CardChoice, CardOutcome, Command, Facts, ImportCard, ImportOutcome, Reply, execute,
};
use cloudless_store::{Actor, BookId, DeleteOutcome, DeviceId, Precondition, Store, Timestamp};
use data_encoding::BASE64;
use tempfile::TempDir;

use crate::fixture::{HOST, now};

/// A store with the user `me`.
pub(crate) struct Offline {
    _directory: TempDir,
    pub(crate) store: Store,
}

impl Offline {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let offline = Self {
            _directory: directory,
            store,
        };
        offline.run(Command::UserAdd { name: "me".into() });
        offline
    }

    pub(crate) fn run(&self, command: Command) -> Reply {
        self.run_at(command, now().0)
    }

    /// Runs a command at a moment.
    pub(crate) fn run_at(&self, command: Command, at: i64) -> Reply {
        let facts = Facts {
            hostnames: vec![HOST.parse().unwrap()],
            public_port: 8443,
            ..Facts::default()
        };
        execute(&self.store, &facts, command, Timestamp(at), [9; 16])
    }

    pub(crate) fn import(
        &self,
        cards: &[(Option<&str>, &str)],
    ) -> Vec<(Option<String>, ImportOutcome)> {
        self.import_at(cards, now().0)
    }

    pub(crate) fn import_at(
        &self,
        cards: &[(Option<&str>, &str)],
        at: i64,
    ) -> Vec<(Option<String>, ImportOutcome)> {
        let cards = cards.iter().map(|(name, card)| ImportCard {
            name: name.map(str::to_owned),
            bytes_base64: BASE64.encode(card.as_bytes()),
        });
        let command = Command::CardsPut {
            user: Some("me".into()),
            book: "contacts".into(),
            cards: cards.collect(),
        };
        match self.run_at(command, at) {
            Reply::CardsPut { outcomes } => outcomes
                .into_iter()
                .map(|CardOutcome { name, outcome }| (name, outcome))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    /// What a command that cannot be done says.
    pub(crate) fn error(&self, command: Command) -> String {
        match self.run(command) {
            Reply::Error { message } => message,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn device(&self, name: &str) -> DeviceId {
        self.store.add_device("me", name, [1; 32], now()).unwrap()
    }

    /// The address book of that slug.
    pub(crate) fn book(&self, slug: &str) -> BookId {
        let me = self.store.users().unwrap().remove(0);
        self.store.address_book(me.id, slug).unwrap().unwrap().id
    }

    /// A device deletes a card.
    pub(crate) fn delete(&self, name: &str, device: Option<DeviceId>, at: i64) {
        let actor = Actor {
            device,
            at: Timestamp(at),
        };
        let deleted =
            self.store
                .delete_card(self.book("contacts"), name, Precondition::None, actor);
        assert_eq!(deleted.unwrap(), DeleteOutcome::Deleted);
    }

    /// The names of the cards that are there.
    pub(crate) fn names(&self) -> Vec<String> {
        let rows = self.store.card_rows(self.book("contacts")).unwrap();
        rows.into_iter().map(|row| row.name).collect()
    }

    /// The bytes of a card that is there.
    pub(crate) fn text(&self, name: &str) -> String {
        let card = self.store.card(self.book("contacts"), name).unwrap();
        String::from_utf8(card.unwrap().bytes).unwrap()
    }
}

pub(crate) fn card(uid: &str, full_name: &str) -> String {
    format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{full_name}\r\nEND:VCARD\r\n")
}

pub(crate) fn named(name: &str) -> CardChoice {
    CardChoice::Name(name.to_owned())
}
