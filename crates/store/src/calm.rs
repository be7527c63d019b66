//! Threads that take the processor only where nobody else wants it.

/// From now on, the calling thread runs when no other thread of the machine's usual kind could run in its place. It cannot
/// be taken back without privileges, so a thread does either all its work so, or none.
///
/// Where the system has no such kind, or forbids it, the thread stays what it was.
pub(crate) fn let_all_others_go_first() {
    #[cfg(target_os = "linux")]
    if let Err(error) = idle() {
        tracing::debug!(%error, "a thread that should let others go first cannot");
    }
}

/// Linux's `SCHED_IDLE`, which whoever wakes up displaces at once: not even a low priority does that, as the scheduler
/// lets everybody end what is left of a slice of milliseconds.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn idle() -> std::io::Result<()> {
    // SAFETY: all fields of `sched_param` are integers, for which zero is a value, and the one that this policy wants.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: 0 is the calling thread; the call reads the parameters, which live until it returns, and nothing else.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The policy of the calling thread, as the kernel tells it; see proc_pid_stat(5), the field `policy`.
    fn policy() -> String {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let behind_the_name = stat.rsplit_once(')').unwrap().1;
        behind_the_name.split_whitespace().nth(38).unwrap().to_owned()
    }

    #[test]
    fn only_the_thread_that_asks_for_it_lets_others_go_first() {
        let calm = std::thread::spawn(|| {
            let_all_others_go_first();
            policy()
        });
        assert_eq!(calm.join().unwrap(), libc::SCHED_IDLE.to_string());
        assert_eq!(policy(), libc::SCHED_OTHER.to_string());
    }
}
