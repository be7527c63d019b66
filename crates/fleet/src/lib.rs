//! Which server of an upstream gets a request, and when.
//!
//! A [`Fleet`] is the list of servers as it stands; of each, a [`Server`] holds what is known of it and outlives every
//! list: what runs there, its [`Health`], its own [`Report`]. [`Fleet::choose`] takes no lock and allocates nothing.
//! Where all are busy, requests stand in a [`Line`].

mod balance;
mod fleet;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod health;
mod key;
mod line;
mod moment;
mod pace;
mod report;
mod server;
mod tried;
mod turns;

pub use balance::{Policy, PrefixTable};
pub use fleet::{Choice, Fleet, Member};
pub use health::{Health, Sleepers, State, Tolerance, Verdict};
pub use key::{Key, PrefixHasher};
pub use line::{Line, LineFull, Place, Turn};
pub use moment::Moment;
pub use pace::{Pace, Start};
pub use report::{Report, Reported};
pub use server::Server;
pub use tried::Tried;
