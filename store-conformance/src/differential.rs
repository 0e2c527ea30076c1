//! Two drivers side by side: the same operations must answer the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use store_core::{StoreAdapter, async_trait};

use crate::case::ensure;
use crate::clock::Clock;
use crate::config::Config;
use crate::harness::{Harness, HarnessResult};
use crate::laws::{Kind, Law};
use crate::model::Model;
use crate::outcome::Outcome;
use crate::runner::{Run, run_law};
use crate::sequence::{Surface, ask, closing, sequences};

/// Runs the same random sequences of operations on two drivers and compares what they answer:
/// values, counts, ttls and error kinds.
///
/// The sequences are those of the law `kv::model_agrees`. Neither driver is taken for the right
/// one. Time passes in them only if both drivers are on the virtual clock. A group that
/// [`Config::without`] names is left out of the sequences.
pub fn differential(
    first: &dyn Fn() -> Arc<dyn Harness>,
    second: &dyn Fn() -> Arc<dyn Harness>,
    config: &Config,
) -> Outcome {
    let pair = || -> Arc<dyn Harness> {
        Arc::new(Pair {
            harnesses: [first(), second()],
            opened: AtomicUsize::new(0),
        })
    };
    run_law(&DRIVERS_AGREE, &pair, config)
}

static DRIVERS_AGREE: Law = Law {
    group: "differential",
    name: "drivers_agree",
    meaning: "the same operations on two drivers answer the same",
    rules: &[],
    kind: Kind::Model,
    needs: None,
    body: |run| Box::pin(drivers_agree(run)),
};

/// Two harnesses as one, whose handles are of the first and the second in turn.
struct Pair {
    harnesses: [Arc<dyn Harness>; 2],
    opened: AtomicUsize,
}

#[async_trait]
impl Harness for Pair {
    async fn open(&self, scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        let turn = self.opened.fetch_add(1, Ordering::Relaxed) % 2;
        self.harnesses[turn].open(scope).await
    }

    fn clock(&self) -> Clock {
        // A real clock cannot be moved, so one of them makes both real.
        let clocks = self.harnesses.iter().map(|harness| harness.clock());
        clocks.fold(Clock::Virtual, |pair, clock| match pair {
            Clock::Virtual => clock,
            Clock::Real { .. } => pair,
        })
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        for harness in &self.harnesses {
            harness.close(scope).await?;
        }
        Ok(())
    }
}

async fn drivers_agree(run: Run) -> Outcome {
    let clock = run.harness().clock();
    let surface = Surface::of(run.config(), clock);
    let inputs = sequences(surface, 1..=40);
    run.more(4)
        .for_all(inputs, move |case, operations| async move {
            let (first, second) = (case.open().await?, case.open().await?);
            // Only for the values that comparisons are made with.
            let mut model = Model::default();
            let begun = Instant::now();
            let closing = closing(surface);
            let operations = operations.into_iter().map(|(_, operation)| operation);
            for (number, operation) in operations.chain(closing).enumerate() {
                let answer = ask(&case, &first, &model, &operation).await?;
                let other = if operation.is_time() {
                    answer.clone()
                } else {
                    ask(&case, &second, &model, &operation).await?
                };
                model.apply(&operation);
                let apart = match clock {
                    Clock::Virtual => Duration::ZERO,
                    Clock::Real { .. } => begun.elapsed() + clock.grain(),
                };
                ensure!(
                    answer.agrees(&other, apart, apart),
                    "operation {number}, {operation:?}: {} answers {answer:?}, {} answers \
                     {other:?}",
                    first.name(),
                    second.name()
                );
            }
            Ok(())
        })
        .await
}
