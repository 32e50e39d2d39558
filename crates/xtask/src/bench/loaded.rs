//! Address books of the peers, written to their disk as they would have written them: putting
//! thousands of cards would take them hours.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::client::Target;
use super::{cards, dav};
use crate::python::PEERS;
use crate::step;
use crate::workspace::Workspace;

/// Builds Radicale's caches and its first sync token, without the thousands of fsyncs with which it
/// would do so when it is first asked.
const BUILD_CACHES: &str = "\
import sys
from radicale import config, storage
configuration = config.load()
settings = {'filesystem_folder': sys.argv[1], '_filesystem_fsync': 'False'}
configuration.update({'storage': settings}, 'loaded', privileged=True)
opened = storage.load(configuration)
with opened.acquire_lock('w'):
    book = next(opened.discover('/bench/contacts/'))
    sum(1 for card in book.get_all())
    book.sync()
";
/// Xandikos commits each change; the same library commits all of them at once here.
const COMMIT: &str = "\
import sys
from dulwich import porcelain
porcelain.add(sys.argv[1])
porcelain.commit(sys.argv[1], message=b'Load', author=b'bench <>', committer=b'bench <>')
";

/// Makes Radicale's address book in its `storage`, one file for each card.
pub(crate) fn radicale(workspace: &Workspace, storage: &Path, size: usize) -> Result<()> {
    let folder = storage.join("collection-root/bench/contacts");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let properties = folder.join(".Radicale.props");
    fs::write(&properties, r#"{"tag": "VADDRESSBOOK"}"#)
        .with_context(|| format!("write {}", properties.display()))?;
    write_cards(&folder, size)?;
    run_python(workspace, BUILD_CACHES, storage)
}

/// Fills Xandikos' address book, a repository that it has made.
pub(crate) fn xandikos(workspace: &Workspace, repository: &Path, size: usize) -> Result<()> {
    write_cards(repository, size)?;
    run_python(workspace, COMMIT, repository)
}

fn write_cards(folder: &Path, size: usize) -> Result<()> {
    for number in 0..size {
        let path = folder.join(cards::name(number));
        fs::write(&path, cards::card(number))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn run_python(workspace: &Workspace, script: &str, folder: &Path) -> Result<()> {
    let python = PEERS.prepare(workspace)?.join("python");
    step::run(Command::new(python).args(["-c", script]).arg(folder))
}

/// Asks once for the list of all cards and for the changes since nothing, so that a server builds
/// what it keeps in memory or in a cache.
pub(crate) async fn warm(target: &Target, size: usize) -> Result<Duration> {
    let started = Instant::now();
    let mut connection = target.connect().await?;
    let list = dav::propfind(&mut connection, "1", dav::LIST).await?;
    let n_cards = dav::hrefs(&list).len();
    ensure!(n_cards == size, "{n_cards} cards instead of {size}");
    let body = dav::sync_collection("", "<resourcetype/>");
    dav::report(&mut connection, "0", &body).await?;
    Ok(started.elapsed())
}
