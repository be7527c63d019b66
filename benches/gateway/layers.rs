//! Where the instructions of a profile go, layer by layer; together the layers are all of it.

use crate::callgrind::Profile;

/// A layer, and the parts of function names by which it is known. The first layer that fits counts.
struct Layer {
    name: &'static str,
    known_by: &'static [&'static str],
}

const ALLOCATOR: usize = 0;
const STORING: usize = 1;
const CLOCK: usize = 2;
/// What is counted apart: it goes on behind the answers, or at its time, however many requests there are.
const APART: [usize; 2] = [STORING, CLOCK];
const OTHER: usize = LAYERS.len();

/// What fits none of these is work for whoever called it, and counts there: most of hyper's HTTP/1, of `http`, of the
/// standard library.
const LAYERS: &[Layer] = &[
    Layer { name: "allocator", known_by: &[] },
    Layer {
        name: "behind the answers: records into SQLite, files of the journal",
        known_by: &[
            "vllm_gateway_journal::writer::shipping",
            "vllm_gateway_journal::writer::files",
            "vllm_gateway_journal::keeper",
            "vllm_gateway_store::",
            "rusqlite::",
            "=sqlite3",
        ],
    },
    Layer {
        // Requests go another way: reqwest is for what is asked now and then.
        name: "by the clock: looks at endpoints",
        known_by: &[
            "vllm_gateway::upstream::watch",
            "vllm_gateway::gateway::membership",
            "reqwest::",
            "hyper_util::client",
            "hyper::client",
        ],
    },
    Layer { name: "journal", known_by: &["vllm_gateway_journal::"] },
    Layer { name: "filter access-log", known_by: &["vllm_gateway_access_log::"] },
    Layer {
        name: "filter auth, with the directory of apps",
        known_by: &["vllm_gateway_auth::", "vllm_gateway_directory::"],
    },
    Layer { name: "filter model-route", known_by: &["vllm_gateway_model_route::"] },
    Layer {
        name: "reading the request",
        known_by: &["vllm_gateway_sdk::body", "vllm_gateway_wire::peek", "vllm_gateway_wire::edit"],
    },
    Layer {
        name: "reading the answer",
        known_by: &[
            "vllm_gateway_sdk::answer",
            "vllm_gateway_sdk::events",
            "vllm_gateway_sdk::decode",
            "vllm_gateway_wire::",
        ],
    },
    Layer { name: "metrics", known_by: &["vllm_gateway::telemetry", "prometheus::"] },
    Layer {
        name: "upstream client",
        known_by: &["vllm_gateway::upstream", "vllm_gateway_client::", "tower::", "tower_http::", "=url::"],
    },
    Layer { name: "proxy and server of our own", known_by: &["vllm_gateway::"] },
    Layer { name: "pipeline (sdk)", known_by: &["vllm_gateway_sdk::"] },
    Layer { name: "salvo", known_by: &["salvo"] },
    Layer { name: "connection (hyper's server)", known_by: &["hyper::server", "hyper_util::server"] },
    Layer { name: "runtime (tokio)", known_by: &["tokio::runtime::", "tokio::task", "mio::poll"] },
];

/// Functions that give memory, of glibc and of jemalloc.
const ALLOCATING: &[&str] = &[
    "malloc",
    "calloc",
    "realloc",
    "memalign",
    "posix_memalign",
    "aligned_alloc",
    "_rjem_malloc",
    "_rjem_mallocx",
    "_rjem_calloc",
    "_rjem_realloc",
    "_rjem_rallocx",
    "_rjem_aligned_alloc",
    "_rjem_posix_memalign",
];
/// Those that take it back.
const FREEING: &[&str] = &["free", "cfree", "_rjem_free", "_rjem_dallocx", "_rjem_sdallocx"];

/// A profile, divided.
pub(crate) struct Division {
    /// Instructions of each layer, and at last of what belongs to none.
    instructions: Vec<f64>,
    /// Calls that gave memory, by the layer that asked.
    allocations: Vec<f64>,
}

impl Division {
    pub(crate) fn of(profile: &Profile) -> Self {
        let names: Vec<&str> =
            profile.names.iter().map(|name| name.split('\'').next().unwrap_or(name)).collect();
        let fixed: Vec<Option<usize>> = names.iter().map(|name| layer_of(name)).collect();
        let shares = shares(profile, &fixed);
        let mut this = Self { instructions: vec![0.0; OTHER + 1], allocations: vec![0.0; OTHER + 1] };
        for (own, shares) in profile.own.iter().zip(&shares) {
            this.instructions.iter_mut().zip(shares).for_each(|(sum, share)| *sum += *own as f64 * share);
        }
        for call in &profile.calls {
            // Memory for what is counted apart is part of it.
            if fixed[call.callee] == Some(ALLOCATOR) && fixed[call.caller] != Some(ALLOCATOR) {
                for apart in APART {
                    let cost = call.cost as f64 * shares[call.caller][apart];
                    this.instructions[ALLOCATOR] -= cost;
                    this.instructions[apart] += cost;
                }
            }
            // `realloc` may call `malloc`: one piece of memory all the same.
            if ALLOCATING.contains(&names[call.callee]) && fixed[call.caller] != Some(ALLOCATOR) {
                let sums = this.allocations.iter_mut().zip(&shares[call.caller]);
                sums.for_each(|(sum, share)| *sum += call.times as f64 * share);
            }
        }
        this
    }

    /// Instructions of all but the storing of records, which goes on behind the answers in batches of any size, and of
    /// what happens by the clock.
    pub(crate) fn hot(&self) -> f64 {
        self.instructions.iter().sum::<f64>()
            - APART.map(|apart| self.instructions[apart]).iter().sum::<f64>()
    }

    pub(crate) fn storing(&self) -> f64 {
        self.instructions[STORING]
    }

    /// Allocations of the same.
    pub(crate) fn allocations(&self) -> f64 {
        self.allocations.iter().sum::<f64>() - APART.map(|apart| self.allocations[apart]).iter().sum::<f64>()
    }

    /// A table for so many requests or events, the dearest layer first.
    pub(crate) fn table(&self, count: u64) -> String {
        let names = LAYERS.iter().map(|layer| layer.name).chain(["other"]);
        let per = |sum: f64| sum / count as f64;
        let rows = names.zip(self.instructions.iter().zip(&self.allocations));
        let mut rows: Vec<_> =
            rows.map(|(name, (own, allocations))| (name, per(*own), per(*allocations))).collect();
        rows.retain(|(_, own, _)| *own >= 0.5);
        rows.sort_by(|one, other| other.1.total_cmp(&one.1));
        let mut table = String::from("| layer | instructions | allocations |\n|---|---|---|\n");
        for (name, own, allocations) in rows {
            table += &format!("| {name} | {own:.0} | {allocations:.1} |\n");
        }
        let (own, allocations) = (self.instructions.iter().sum(), self.allocations.iter().sum());
        table + &format!("| all | {:.0} | {:.1} |\n", per(own), per(allocations))
    }
}

/// The layer to which this function belongs, whoever calls it.
fn layer_of(name: &str) -> Option<usize> {
    if ALLOCATING.contains(&name) || FREEING.contains(&name) {
        return Some(ALLOCATOR);
    }
    let fits = |known_by: &&str| match known_by.strip_prefix('=') {
        Some(start) => name.starts_with(start),
        None => name.contains(known_by),
    };
    LAYERS.iter().position(|layer| layer.known_by.iter().any(fits))
}

/// Which share of each function's work is which layer's. A function of no layer works for its callers, for each as much
/// as its calls cost.
fn shares(profile: &Profile, fixed: &[Option<usize>]) -> Vec<Vec<f64>> {
    let only = |layer: usize| {
        let mut shares = vec![0.0; OTHER + 1];
        shares[layer] = 1.0;
        shares
    };
    let mut shares: Vec<Vec<f64>> = fixed.iter().map(|layer| only(layer.unwrap_or(OTHER))).collect();
    // Enough for the deepest chain of calls between two layers.
    for _ in 0..60 {
        let mut next = vec![vec![0.0; OTHER + 1]; shares.len()];
        let mut weights = vec![0.0; shares.len()];
        for call in &profile.calls {
            if fixed[call.callee].is_none() && call.caller != call.callee {
                let weight = (call.cost + call.times) as f64;
                weights[call.callee] += weight;
                let sums = next[call.callee].iter_mut().zip(&shares[call.caller]);
                sums.for_each(|(sum, share)| *sum += weight * share);
            }
        }
        for (at, (sums, weight)) in next.into_iter().zip(weights).enumerate() {
            if weight > 0.0 {
                shares[at] = sums.into_iter().map(|sum| sum / weight).collect();
            }
        }
    }
    shares
}
