#![cfg(target_os = "linux")]

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use super::*;

/// A socket with something to read in it.
fn source() -> (UnixStream, UnixStream) {
    let (mut near, far) = UnixStream::pair().unwrap();
    near.write_all(b"bytes").unwrap();
    (near, far)
}

/// The pipe's inode, by which the system tells it from every other one.
fn inode(lease: &Lease<'_>) -> u64 {
    let pipe = lease.pipe.as_ref().unwrap();
    rustix::fs::fstat(pipe.read_end()).unwrap().st_ino
}

/// How many file descriptors of this process are of this pipe.
fn n_descriptors(inode: u64) -> usize {
    let name = format!("pipe:[{inode}]");
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = descriptors.filter_map(|it| std::fs::read_link(it.unwrap().path()).ok());
    links.filter(|link| link.as_os_str() == &*name).count()
}

#[test]
fn an_empty_pipe_is_used_again() {
    let pipes = Pipes::new(2);
    let (_near, far) = source();
    let (_other, sink) = UnixStream::pair().unwrap();
    let mut lease = pipes.take().unwrap();
    let first = inode(&lease);
    assert_eq!(lease.fill(&far), Ok(5));
    assert_eq!(lease.drain(&sink), Ok(5));
    drop(lease);
    assert_eq!(inode(&pipes.take().unwrap()), first);
}

#[test]
fn a_pipe_with_bytes_in_it_is_closed() {
    let pipes = Pipes::new(1);
    let (_near, far) = source();
    let mut lease = pipes.take().unwrap();
    assert_eq!(lease.fill(&far), Ok(5));
    let inode = inode(&lease);
    assert_eq!(n_descriptors(inode), 2);
    drop(lease);
    assert_eq!(n_descriptors(inode), 0);
    let next = pipes.take().unwrap();
    assert!(next.is_empty());
}

#[test]
fn there_are_never_more_pipes_than_allowed() {
    let pipes = Pipes::new(IDLE_MAX + 2);
    let leases: Vec<_> = std::iter::from_fn(|| pipes.take()).collect();
    assert_eq!(leases.len(), IDLE_MAX + 2);
    drop(leases);
    let state = pipes.lock();
    assert_eq!((state.idle.len(), state.n_open), (IDLE_MAX, IDLE_MAX));
}

#[test]
fn who_has_a_part_leaves_others_to_the_rest() {
    let pipes = Pipes::new(4);
    let part = pipes.part(2);
    let in_use: Vec<_> = std::iter::from_fn(|| part.take()).collect();
    assert_eq!(in_use.len(), 2);
    let other = pipes.part(4);
    let rest: Vec<_> = std::iter::from_fn(|| other.take()).collect();
    assert_eq!(rest.len(), 2);
    drop(in_use);
    // What was tried in vain does not count.
    assert!(part.take().is_some() && other.take().is_some());
}

#[test]
fn a_pipe_that_is_too_small_is_none() {
    let pipe = Pipe::with_len(4096, 64 * 1024);
    assert_eq!(pipe.unwrap_err(), io::Errno::NOBUFS);
}
