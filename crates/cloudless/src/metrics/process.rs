use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use cloudless_proto::exposition::Exposition;
use tokio::runtime::Handle;

/// What either role says of its process.
pub(super) fn process(started: SystemTime, text: &mut Exposition) -> anyhow::Result<()> {
    text.gauges("cloudless_build_info", "Always 1; the version is a label.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let since = started
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    text.gauge(
        "process_start_time_seconds",
        "When the process started, Unix time.",
        since,
    );
    text.gauge(
        "cloudless_tasks",
        "Tasks of the runtime that have not ended.",
        Handle::current().metrics().num_alive_tasks(),
    );
    // Without /proc these two are not known, and are left out.
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // One of them is the listing itself.
        let open = files.count().saturating_sub(1);
        text.gauge("process_open_fds", "Open file descriptors.", open);
    }
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = resident.and_then(|it| it.trim().strip_suffix(" kB"));
        let kibibytes: u64 = kibibytes
            .context("/proc/self/status has no VmRSS")?
            .parse()?;
        text.gauge(
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM.",
            kibibytes * 1024,
        );
    }
    Ok(())
}
