//! `--guard`: instructions and allocations against `bounds.toml`, as CI does it.

use serde::Deserialize;

use crate::{
    compare::median,
    instructions::{Counted, Counting},
};

/// Requests of one count.
const REQUESTS: u64 = 300;
/// Counts, of which the one in the middle is taken.
const TIMES: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    margin_percent: f64,
    request: Cost,
    event: Cost,
}

/// What one may cost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    instructions: f64,
    allocations: f64,
}

/// Reads one figure of a count.
type Read = fn(&Counted) -> f64;

/// Fails where a request or an event costs more than it did, by more than the margin.
pub(crate) async fn run(program: &str) -> Result<(), String> {
    let bounds: Bounds = toml::from_str(include_str!("bounds.toml")).map_err(|error| error.to_string())?;
    let mut counting = match Counting::start(program, 1).await {
        Ok(counting) => counting,
        Err(missing) => {
            eprintln!("\n*** THE COST OF A REQUEST WAS NOT CHECKED: {missing} ***\n");
            return Ok(());
        }
    };
    let (mut requests, mut events) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        requests.push(counting.requests(REQUESTS).await);
        events.push(counting.events().await);
    }
    let margin = bounds.margin_percent;
    let mut dearer = Vec::new();
    for (what, counted, bound) in [("request", &requests, &bounds.request), ("event", &events, &bounds.event)]
    {
        let figures: [(&str, f64, Read); 2] = [
            ("instructions", bound.instructions, Counted::hot),
            ("allocations", bound.allocations, Counted::allocations),
        ];
        for (unit, bound, of) in figures {
            let seen: Vec<f64> = counted.iter().map(of).collect();
            let (middle, most) = (median(&seen), bound * (1.0 + margin / 100.0));
            let all = seen.iter().map(|seen| format!("{seen:.2}")).collect::<Vec<_>>().join(", ");
            println!("{unit} of one {what}: {middle:.2} ({all}); bound {bound} + {margin} % = {most:.2}");
            // Fractions of an allocation are what goes on besides.
            if middle > most + 0.05 {
                dearer.push(format!(
                    "one {what} takes {middle:.1} {unit}, more than {most:.1} ({bound} + {margin} %)"
                ));
            } else if middle < bound * (1.0 - margin / 100.0) - 0.05 {
                println!(
                    "  cheaper than it was: put {middle:.2} into benches/gateway/bounds.toml, so that it stays so"
                );
            }
        }
    }
    if dearer.is_empty() {
        return Ok(());
    }
    let look = [&requests, &events].map(|counted| counted[0].how_to_look());
    Err(format!(
        "{}\nby layer: cargo bench --bench gateway -- --instructions 300\nby function, of requests: {}\nby function, of \
         events: {}\na cost that is worth its price goes into benches/gateway/bounds.toml, with the reason in the commit",
        dearer.join("\n"),
        look[0],
        look[1]
    ))
}
