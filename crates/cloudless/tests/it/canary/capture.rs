//! The packets of a process, as tcpdump hears them, and what tshark makes of them with the keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use data_encoding::HEXLOWER_PERMISSIVE;
use rustix::process::{Pid, Signal, kill_process};

/// A running tcpdump on loopback.
pub(super) struct Recorder {
    child: Child,
    said: BufReader<ChildStderr>,
    file: PathBuf,
}

/// Who sends to whom on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flow {
    pub(super) from_port: u16,
    pub(super) to_port: u16,
}

/// All bytes of the recorded connections, one direction each.
pub(super) type Flows = BTreeMap<Flow, Vec<u8>>;

impl Recorder {
    /// Records all that goes from and to these ports, from the return on.
    pub(super) fn start(folder: &Path, ports: &[u16]) -> Self {
        let file = folder.join("packets.pcap");
        let ports: Vec<_> = ports.iter().map(|it| format!("tcp port {it}")).collect();
        // Its own user could not write to the folder.
        let mut command = Command::new("tcpdump");
        command.args(["-Z", "root", "-i", "lo", "-s", "0", "-B", "262144", "-w"]);
        let mut child = command
            .arg(&file)
            .arg(ports.join(" or "))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "tcpdump ended");
        }
        Self { child, said, file }
    }

    /// Ends the recording, which must be complete.
    pub(super) fn stop(mut self) -> PathBuf {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let mut said = String::new();
        self.said.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        assert!(said.contains("\n0 packets dropped by kernel"), "{said}");
        self.file.clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts the segments of a recording together. Connections on loopback lose none.
pub(super) fn flows(file: &Path) -> Flows {
    let recording = fs::read(file).unwrap();
    let mut first: BTreeMap<Flow, u32> = BTreeMap::new();
    let mut segments: BTreeMap<Flow, BTreeMap<u32, &[u8]>> = BTreeMap::new();
    let mut rest = &recording[24..];
    while let Some((header, packets)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        let (packet, next) = packets.split_at(length);
        rest = next;
        // Ethernet, then IPv4 without options, as loopback has it.
        let (ip, total) = (&packet[14..], u16::from_be_bytes([packet[16], packet[17]]));
        assert_eq!(ip[0], 0x45, "IPv4");
        // A length of 0 is a large packet that the kernel did not cut.
        let total = if total == 0 { ip.len() } else { total.into() };
        let tcp = &ip[20..total];
        let flow = Flow {
            from_port: u16::from_be_bytes([tcp[0], tcp[1]]),
            to_port: u16::from_be_bytes([tcp[2], tcp[3]]),
        };
        let number = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
        let is_syn = tcp[13] & 2 != 0;
        if is_syn {
            // A port that is used again begins another connection, which is none of these.
            first.entry(flow).or_insert_with(|| number.wrapping_add(1));
        }
        let data = &tcp[usize::from(tcp[12] >> 4) * 4..];
        if let Some(first) = first.get(&flow).filter(|_| !data.is_empty()) {
            let offset = number.wrapping_sub(*first);
            segments.entry(flow).or_default().insert(offset, data);
        }
    }
    let joined = |segments: BTreeMap<u32, &[u8]>| {
        let mut bytes = Vec::new();
        for (offset, data) in segments {
            let known = bytes.len().checked_sub(offset as usize);
            // What was sent while the process was being killed may be missing.
            let Some(known) = known else { break };
            bytes.extend_from_slice(data.get(known..).unwrap_or_default());
        }
        bytes
    };
    let flows = segments.into_iter();
    flows.map(|(flow, it)| (flow, joined(it))).collect()
}

/// What was said inside the TLS of the connections to this port, in the clear.
pub(super) fn decrypted(file: &Path, key_log: &Path, port: u16) -> Vec<u8> {
    let tls = format!("tcp.port=={port},tls");
    let keys = format!("tls.keylog_file:{}", key_log.display());
    let tshark = |more: &[String]| {
        let mut command = Command::new("tshark");
        command.args(["-r", file.to_str().unwrap(), "-d", &tls, "-o", &keys]);
        let output = command.args(more).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let hellos = format!("tls.handshake.type == 1 && tcp.dstport == {port}");
    let list = ["-Y", &hellos, "-T", "fields", "-e", "tcp.stream"].map(str::to_owned);
    let streams = tshark(&list);
    let streams: BTreeSet<_> = streams.lines().collect();
    let mut follow = vec!["-q".to_owned()];
    for stream in streams {
        follow.extend(["-z".to_owned(), format!("follow,tls,raw,{stream}")]);
    }
    let lines = tshark(&follow);
    let lines = lines.lines().map(|line| line.trim().as_bytes());
    lines
        .filter_map(|line| HEXLOWER_PERMISSIVE.decode(line).ok())
        .flatten()
        .collect()
}
