//! The driver against the reference map.

use std::time::Duration;

use tokio::time::Instant;

use crate::case::ensure;
use crate::clock::Clock;
use crate::model::Model;
use crate::runner::{Outcome, Run};
use crate::sequence::{Surface, ask, closing, sequences};

pub(in crate::laws) async fn model_agrees(run: Run) -> Outcome {
    let clock = run.harness().clock();
    let surface = Surface::of(run.config(), clock);
    let inputs = sequences(surface, 1..=40);
    run.more(4)
        .for_all(inputs, move |case, operations| async move {
            let stores = [case.open().await?, case.open().await?];
            let mut model = Model::default();
            let begun = Instant::now();
            let closing = closing(surface);
            let closing = closing.into_iter().map(|operation| (0, operation));
            for (number, (handle, operation)) in operations.into_iter().chain(closing).enumerate() {
                let answer = ask(&case, &stores[handle], &model, &operation).await?;
                let expected = model.apply(&operation);
                // The model's clock stands still where the real one runs.
                let late = match clock {
                    Clock::Virtual => Duration::ZERO,
                    Clock::Real { .. } => begun.elapsed() + clock.grain(),
                };
                ensure!(
                    answer.agrees(&expected, late, clock.grain()),
                    "operation {number}, {operation:?}: a map answers {expected:?}, the driver \
                     {answer:?}"
                );
            }
            Ok(())
        })
        .await
}
