//! Plain collections and plain resources.

use cloudless_store::{
    DeadProperty, ETag, NewContent, Precondition, PropertiesOutcome, PropertyChanges,
    PropertyTarget, RESOURCE_BYTES_MAX, RESOURCE_DEPTH_MAX, RESOURCES_MAX, ResourceError,
    ResourceOutcome, ResourceTransfer, ResourceTransferKind, Store, Timestamp, UserId,
};

use crate::OWNER;

/// A tree of one user.
struct Tree {
    store: Store,
    user: UserId,
    _directory: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let user = store.create_user("anna", Timestamp(0)).unwrap();
        Self {
            store,
            user,
            _directory: directory,
        }
    }

    fn make(&self, path: &str) -> Result<(), ResourceError> {
        let (path, none) = (names(path), Precondition::None);
        self.store
            .make_collection(self.user, path, Vec::new(), none, OWNER)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<ResourceOutcome, ResourceError> {
        let content = NewContent {
            bytes: bytes.to_vec(),
            content_type: Some("text/x-test".to_owned()),
        };
        let none = Precondition::None;
        self.store
            .put_resource(self.user, names(path), content, none, OWNER)
            .map(|(outcome, _)| outcome)
    }

    fn transfer(
        &self,
        kind: ResourceTransferKind,
        from: &str,
        to: &str,
    ) -> Result<ResourceOutcome, ResourceError> {
        let transfer = ResourceTransfer {
            user: self.user,
            from: names(from),
            to: names(to),
            kind,
            overwrite: true,
            precondition: Precondition::None,
        };
        self.store.transfer_resource(transfer, OWNER)
    }

    fn delete(&self, path: &str) -> Result<(), ResourceError> {
        self.store
            .delete_resource(self.user, names(path), Precondition::None, OWNER)
    }

    fn color(&self, path: &str, value: &str) -> PropertiesOutcome {
        let changes = PropertyChanges {
            dead: vec![color(value)],
            ..PropertyChanges::default()
        };
        let none = Precondition::None;
        self.store
            .change_properties(self.target(path), changes, none, OWNER)
            .unwrap()
    }

    fn target(&self, path: &str) -> PropertyTarget {
        let resource = self.store.resource(self.user, &names(path)).unwrap();
        PropertyTarget::Resource(resource.unwrap().id)
    }

    /// The paths of everything below a collection, and the bytes of what is none.
    fn list(&self, path: &str) -> Vec<String> {
        let top = self.store.resource(self.user, &names(path)).unwrap();
        let mut found = Vec::new();
        for member in self.store.resource_members(top.unwrap().id).unwrap() {
            let path = format!("{path}/{}", member.name);
            let (_, bytes) = self
                .store
                .resource_with_bytes(self.user, &names(&path))
                .unwrap()
                .unwrap();
            match member.content {
                Some(content) => {
                    assert_eq!(content.etag, ETag::of(&bytes));
                    assert_eq!(content.size, bytes.len() as u64);
                    assert_eq!(content.content_type.as_deref(), Some("text/x-test"));
                    found.push(format!("{path}={}", String::from_utf8(bytes).unwrap()));
                }
                None => {
                    let below = self.list(&path);
                    found.push(format!("{path}/"));
                    found.extend(below);
                }
            }
        }
        found
    }
}

fn names(path: &str) -> Vec<String> {
    let names = path.split('/').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn color(value: &str) -> DeadProperty {
    DeadProperty {
        namespace: "urn:x".to_owned(),
        local: "color".to_owned(),
        value: Some(value.to_owned()),
    }
}

#[test]
fn a_tree_is_copied_moved_and_deleted_as_a_whole() {
    let tree = Tree::new();
    tree.make("/a").unwrap();
    tree.make("/a/b").unwrap();
    assert_eq!(tree.put("/a/b/c", b"1").unwrap(), ResourceOutcome::Created);
    assert_eq!(tree.put("/a/b/c", b"2").unwrap(), ResourceOutcome::Replaced);
    assert_eq!(tree.color("/a", "red"), PropertiesOutcome::Updated);
    assert_eq!(tree.color("/a/b/c", "blue"), PropertiesOutcome::Updated);
    assert_eq!(tree.list(""), ["/a/", "/a/b/", "/a/b/c=2"]);

    use ResourceTransferKind::{Copy, CopyAlone, Move};
    let copied = tree.transfer(Copy, "/a", "/d").unwrap();
    assert_eq!(copied, ResourceOutcome::Created);
    tree.put("/a/b/c", b"3").unwrap();
    assert_eq!(tree.list("/d"), ["/d/b/", "/d/b/c=2"]);
    let properties = |path: &str| tree.store.properties(&tree.target(path)).unwrap();
    assert_eq!(properties("/d"), [color("red")]);
    assert_eq!(properties("/d/b/c"), [color("blue")]);

    let replaced = tree.transfer(CopyAlone, "/a", "/d").unwrap();
    assert_eq!(replaced, ResourceOutcome::Replaced);
    assert_eq!(tree.list("/d"), [""; 0]);
    assert_eq!(properties("/d"), [color("red")]);

    let moved = tree.transfer(Move, "/a/b", "/d/e").unwrap();
    assert_eq!(moved, ResourceOutcome::Created);
    assert_eq!(tree.list(""), ["/a/", "/d/", "/d/e/", "/d/e/c=3"]);
    assert_eq!(properties("/d/e/c"), [color("blue")]);

    let usage = tree.store.resource_usage(tree.user).unwrap();
    assert_eq!(usage.count, 5, "with the root");
    tree.delete("/d").unwrap();
    assert_eq!(tree.list(""), ["/a/"]);
    tree.delete("/a").unwrap();
    let usage = tree.store.resource_usage(tree.user).unwrap();
    assert_eq!((usage.count, usage.bytes), (1, 0));
}

#[test]
fn what_is_in_the_way_is_said_and_nothing_happens() {
    use ResourceTransferKind::{Copy, CopyAlone, Move};
    let tree = Tree::new();
    tree.make("/a").unwrap();
    tree.make("/a/b").unwrap();
    tree.put("/f", b"1").unwrap();
    let before = tree.list("");
    let long = "x".repeat(256);
    assert!(matches!(tree.make("/a"), Err(ResourceError::Exists)));
    assert!(matches!(tree.make("/f"), Err(ResourceError::Exists)));
    assert!(matches!(
        tree.make("/n/a"),
        Err(ResourceError::NoCollection)
    ));
    assert!(matches!(
        tree.make("/f/a"),
        Err(ResourceError::NoCollection)
    ));
    assert!(matches!(tree.make(&long), Err(ResourceError::InvalidName)));
    assert!(matches!(tree.make(""), Err(ResourceError::Root)));
    assert!(matches!(tree.put("/a", b""), Err(ResourceError::Exists)));
    assert!(matches!(
        tree.put("/n/a", b""),
        Err(ResourceError::NoCollection)
    ));
    assert!(matches!(tree.delete("/n"), Err(ResourceError::NotFound)));
    assert!(matches!(tree.delete(""), Err(ResourceError::Root)));
    for kind in [Copy, Move] {
        let into = |from: &str, to: &str| tree.transfer(kind, from, to);
        for (from, to) in [("/a", "/a"), ("/a", "/a/b/c"), ("/a/b", "/a")] {
            assert!(matches!(into(from, to), Err(ResourceError::IntoItself)));
        }
        assert!(matches!(into("/n", "/m"), Err(ResourceError::NotFound)));
        assert!(matches!(
            into("/a", "/n/a"),
            Err(ResourceError::NoCollection)
        ));
        assert!(matches!(into("/a", "/"), Err(ResourceError::Root)));
    }
    assert_eq!(tree.list(""), before);
    tree.transfer(CopyAlone, "/a", "/a/b/c").unwrap();
    assert_eq!(tree.list("/a/b"), ["/a/b/c/"]);
}

#[test]
fn a_tree_is_bounded_in_depth_number_and_bytes() {
    use ResourceTransferKind::{Copy, CopyAlone, Move};
    let tree = Tree::new();
    let path = |depth: usize| "/d".repeat(depth);
    for depth in 1..=RESOURCE_DEPTH_MAX {
        tree.make(&path(depth)).unwrap();
    }
    let deeper = path(RESOURCE_DEPTH_MAX + 1);
    assert!(matches!(tree.make(&deeper), Err(ResourceError::TooDeep)));
    tree.make("/e").unwrap();
    for kind in [Copy, Move] {
        let refused = tree.transfer(kind, "/d", "/e/d");
        assert!(
            matches!(refused, Err(ResourceError::TooDeep)),
            "{refused:?}"
        );
    }
    let moved = tree.transfer(Move, "/d/d", "/e/d").unwrap();
    assert_eq!(moved, ResourceOutcome::Created);
    tree.delete("/d").unwrap();
    tree.delete("/e").unwrap();

    let part = usize::try_from(RESOURCE_BYTES_MAX / 8).unwrap();
    let large = vec![0; part];
    tree.make("/a").unwrap();
    for n in 0..7 {
        tree.put(&format!("/a/{n}"), &large).unwrap();
    }
    let half = vec![0; part / 2];
    tree.put("/b", &half).unwrap();
    let refused = tree.put("/c", &large);
    assert!(matches!(refused, Err(ResourceError::QuotaExceeded)));
    let refused = tree.transfer(Copy, "/a", "/c");
    assert!(matches!(refused, Err(ResourceError::QuotaExceeded)));
    let alone = tree.transfer(CopyAlone, "/a", "/c").unwrap();
    assert_eq!(alone, ResourceOutcome::Created, "its members take no room");
    tree.delete("/c").unwrap();
    tree.put("/b", &large).unwrap();
    assert_eq!(
        tree.color("/b", "red"),
        PropertiesOutcome::QuotaExceeded,
        "properties count"
    );
    // What is replaced makes room, and a move needs none.
    tree.put("/b", &large).unwrap();
    tree.transfer(Copy, "/b", "/a/1").unwrap();
    tree.transfer(Move, "/a", "/c").unwrap();
    tree.delete("/c").unwrap();
    tree.delete("/b").unwrap();

    tree.make("/a").unwrap();
    tree.make("/a/b").unwrap();
    // Each copy of a collection into itself doubles what is there.
    let mut number = 0;
    loop {
        number += 1;
        if tree.make(&format!("/a/b/{number}")).is_err() {
            break;
        }
        if let Err(error) = tree.transfer(Copy, "/a/b", &format!("/a/copy{number}")) {
            assert!(matches!(error, ResourceError::QuotaExceeded), "{error:?}");
            break;
        }
    }
    let usage = tree.store.resource_usage(tree.user).unwrap();
    assert!(usage.count <= RESOURCES_MAX && usage.count > RESOURCES_MAX / 2);
}
