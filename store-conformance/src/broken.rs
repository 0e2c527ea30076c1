//! Drivers that are wrong on purpose: what the laws are worth is what they kill.
//!
//! Each is the reference driver with one change, or a codec with one, so whatever a law says of it
//! comes from that change. Not part of the public interface.

mod absent;
mod batches;
mod chunks;
mod codecs;
mod conditions;
mod counters;
mod deadlines;
mod delivery;
mod expired;
mod handles;
mod keys;
mod mixed;
mod network;
mod patterns;
mod races;
mod scans;
mod silent_patterns;
mod subscriptions;
mod ttls;
mod twist;
mod values;

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::harness::Harness;
use crate::laws::Law;
use crate::outcome::Outcome;
use crate::runner::run_law;

pub use network::NetworkHarness;

/// A driver with a flaw.
#[derive(Clone, Copy, Debug)]
pub struct Broken {
    /// Its name in reports.
    pub name: &'static str,
    /// What is wrong with it, in one line.
    pub flaw: &'static str,
    /// Laws that must kill it, as `group::law`, the most telling first.
    pub killed_by: &'static [&'static str],
    /// Groups that it says it does not have.
    pub without: &'static [&'static str],
    /// Makes its harness.
    pub make: fn() -> Arc<dyn Harness>,
}

impl Broken {
    /// Whether `law` finds out, with the inputs of `seed`.
    #[must_use]
    pub fn is_killed_by(&self, law: &'static Law, seed: u64) -> bool {
        let mut config = Config::default().with_seed(seed);
        // Nobody reads the input.
        config.shrink_limit = Duration::ZERO;
        for group in self.without {
            config = config.without(group, "the driver does not have it");
        }
        matches!(run_law(law, &self.make, &config), Outcome::Broken(_))
    }

    /// The laws that are meant to find out.
    pub fn meant(&self) -> impl Iterator<Item = &'static Law> {
        self.killed_by
            .iter()
            .filter_map(|law| law.split_once("::"))
            .filter_map(|(group, name)| Law::find(group, name))
    }
}

/// Every broken driver.
pub fn all() -> impl Iterator<Item = &'static Broken> {
    [
        keys::DRIVERS,
        values::DRIVERS,
        counters::DRIVERS,
        ttls::DRIVERS,
        expired::DRIVERS,
        deadlines::DRIVERS,
        batches::DRIVERS,
        chunks::DRIVERS,
        conditions::DRIVERS,
        scans::DRIVERS,
        races::DRIVERS,
        handles::DRIVERS,
        absent::DRIVERS,
        subscriptions::DRIVERS,
        delivery::DRIVERS,
        patterns::DRIVERS,
        silent_patterns::DRIVERS,
        mixed::DRIVERS,
        network::DRIVERS,
        codecs::DRIVERS,
    ]
    .into_iter()
    .flatten()
}
