//! System calls that a server never needs, and that who has taken it over would want.

/// Why system calls cannot be denied.
#[derive(Debug, thiserror::Error)]
pub(super) enum DenyError {
    /// Numbers of system calls are known for other processors only.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    #[error("there is no list of system calls for this processor")]
    Processor,
    /// The list makes no filter.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[error("the filter of system calls is wrong")]
    Filter(#[from] seccompiler::BackendError),
    /// The kernel takes no filter.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[error("the kernel takes no filter of system calls")]
    Kernel(#[from] seccompiler::Error),
}

/// Denies them to this process, on all of its threads: each fails with EPERM.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) fn deny() -> Result<(), DenyError> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

    let filter = |rules, errno: i32| -> Result<BpfProgram, DenyError> {
        let architecture = if cfg!(target_arch = "x86_64") {
            TargetArch::x86_64
        } else {
            TargetArch::aarch64
        };
        let errno = SeccompAction::Errno(errno.unsigned_abs());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, architecture)?;
        Ok(filter.try_into()?)
    };
    let mut rules: std::collections::BTreeMap<_, _> =
        DENIED.iter().map(|number| (*number, Vec::new())).collect();
    rules.insert(libc::SYS_clone, namespaces()?);
    seccompiler::apply_filter_all_threads(&filter(rules, libc::EPERM)?)?;
    // Its flags are in memory, which no filter reads. The C library then takes clone(2).
    let rules = std::iter::once((libc::SYS_clone3, Vec::new())).collect();
    Ok(seccompiler::apply_filter_all_threads(&filter(
        rules,
        libc::ENOSYS,
    )?)?)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn deny() -> Result<(), DenyError> {
    Err(DenyError::Processor)
}

/// clone(2) with a new namespace of any kind.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn namespaces() -> Result<Vec<seccompiler::SeccompRule>, seccompiler::BackendError> {
    use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

    let flags = [
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWUTS,
    ];
    let rule = |flag: libc::c_int| {
        let flag = u64::from(flag.unsigned_abs());
        let is_set = SeccompCmpOp::MaskedEq(flag);
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, is_set, flag)?;
        SeccompRule::new(vec![condition])
    };
    flags.into_iter().map(rule).collect()
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const DENIED: &[libc::c_long] = &[
    // Other programs and other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    // Another view of the system.
    libc::SYS_chroot,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_setns,
    libc::SYS_umount2,
    libc::SYS_unshare,
    // Parts of the kernel that have had many holes.
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_fanotify_init,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    // The machine itself.
    libc::SYS_acct,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    #[cfg(not(all(target_arch = "aarch64", target_env = "musl")))]
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_personality,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];
