//! What a gateway holds for its clients: sockets, slots of endpoints, tasks. After everything it is what it was before.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::support::{PATIENCE, Stage};

/// What is held. Each test runs on a runtime of its own, so its tasks are those of its stage.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    tasks: usize,
    from_clients: usize,
    to_upstreams: usize,
    leases: u64,
}

impl Stage {
    /// What is held now. Idle connections to the upstream do not count, so they are closed first.
    pub(crate) async fn held(&self) -> Held {
        self.vllm.hang_up();
        let upstreams = self.admin_get("/api/upstreams").await;
        let leases = leases(&upstreams);
        let [from_clients, to_upstreams] = sockets(self.gateway.data_address().port(), self.vllm.addr.port());
        Held { tasks: Handle::current().metrics().num_alive_tasks(), from_clients, to_upstreams, leases }
    }

    /// Waits until no more is held than before.
    pub(crate) async fn holds_only(&self, before: &Held) {
        let begun = Instant::now();
        loop {
            let now = self.held().await;
            let as_before = Held { tasks: now.tasks.max(before.tasks), ..now };
            if as_before == *before {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "held before: {before:?}; held now: {now:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn leases(upstreams: &serde_json::Value) -> u64 {
    match upstreams {
        serde_json::Value::Array(all) => all.iter().map(leases).sum(),
        serde_json::Value::Object(all) => {
            let own = all.get("inFlight").and_then(serde_json::Value::as_u64).unwrap_or(0);
            own + all.values().map(leases).sum::<u64>()
        }
        _ => 0,
    }
}

/// Open sockets on the gateway's port, and to the upstream's. Ports tell them from those of other tests.
#[cfg(target_os = "linux")]
fn sockets(gateway: u16, upstream: u16) -> [usize; 2] {
    const LISTENING: &str = "0A";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap(), 16).unwrap();
    let mut counts = [0; 2];
    for line in table.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (local, remote, state, inode) = (fields[1], fields[2], fields[3], fields[9]);
        // What no process holds any more, as in TIME_WAIT, has no inode.
        if state != LISTENING && inode != "0" {
            counts[0] += usize::from(port(local) == gateway);
            counts[1] += usize::from(port(remote) == upstream);
        }
    }
    counts
}

#[cfg(not(target_os = "linux"))]
fn sockets(_: u16, _: u16) -> [usize; 2] {
    [0; 2]
}
