//! Runs a law: makes inputs, executes cases, shrinks what fails, and says how to see it again.

use std::fmt::Debug;
use std::future::Future;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use proptest::strategy::{Just, Strategy, ValueTree};
use proptest::test_runner::{Config as ProptestConfig, RngAlgorithm, TestRng, TestRunner};

use crate::case::{Case, CaseResult};
use crate::config::Config;
use crate::harness::Harness;
use crate::laws::{Law, Need};
use crate::outcome::Breach;
pub(crate) use crate::outcome::Outcome;
use crate::timeline::{Timeline, shorten};

mod execute;

use execute::execute;

/// Runs `law` on the driver that the harness of `make` opens.
///
/// Blocks until the law has ended. The law has a thread and a runtime of its own, so that even a
/// driver that never yields ends with a [`Breach`].
pub fn run_law(law: &'static Law, make: &dyn Fn() -> Arc<dyn Harness>, config: &Config) -> Outcome {
    let lacking = [Some(law.group), law.needs.map(|need| need.name())];
    for name in lacking.into_iter().flatten() {
        if let Some(reason) = config.without.get(name) {
            return Outcome::NotChecked(format!("without {name}: {reason}"));
        }
    }
    let harness = make();
    if let Some(reason) = harness.skip() {
        return Outcome::NotChecked(reason);
    }
    let run = Run {
        law,
        harness,
        config: config.clone(),
        driver: Arc::default(),
        timeline: Arc::default(),
        factor: (1, 1),
        racy: false,
    };
    let (driver, timeline) = (Arc::clone(&run.driver), Arc::clone(&run.timeline));
    let lost = |failure: String| {
        let timeline = latest(&timeline);
        let running = timeline
            .as_ref()
            .map(|timeline| timeline.running().join("; "));
        Outcome::Broken(Box::new(Breach {
            law,
            driver: *driver.lock().unwrap_or_else(PoisonError::into_inner),
            failure: format!("{failure}; running: {}", running.unwrap_or_default()),
            input: "(lost)".to_owned(),
            timeline: timeline
                .map(|timeline| timeline.render())
                .unwrap_or_default(),
            replay: config.replay(law, None),
            case: 0,
            shrunk: 0,
        }))
    };
    let (sender, receiver) = channel();
    let thread = std::thread::Builder::new()
        .name(law.name.to_owned())
        .stack_size(8 << 20)
        .spawn(move || {
            let _ = sender.send(on_own_runtime(run));
        });
    if let Err(error) = thread {
        return lost(format!("no thread to run on: {error}"));
    }
    let began = Instant::now();
    let stall_limit = config.stall_limit.max(Duration::from_millis(1));
    let mut seen = None;
    loop {
        let left = config.law_limit.saturating_sub(began.elapsed());
        match receiver.recv_timeout(left.min(stall_limit)) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Disconnected) => {
                return lost("the law's thread panicked".to_owned());
            }
            Err(RecvTimeoutError::Timeout) if left <= stall_limit => {
                return lost(format!("the law did not end within {:?}", config.law_limit));
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = latest(&timeline).map(|timeline| timeline.progress());
                if now.is_some_and(|progress| progress.is_running) && now == seen {
                    return lost(format!(
                        "a call blocks its thread: for {stall_limit:?} or longer none has begun \
                         or ended"
                    ));
                }
                seen = now;
            }
        }
    }
}

fn on_own_runtime(run: Run) -> Outcome {
    let mut builder = if run.harness.clock().is_virtual() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.start_paused(true);
        builder
    } else {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).thread_stack_size(4 << 20);
        builder
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Outcome::NotChecked(format!("no runtime: {error}")),
    };
    let outcome = runtime.block_on(async {
        match unmet_need(&run).await {
            Some(reason) => Outcome::NotChecked(reason),
            None => (run.law.body)(run).await,
        }
    });
    runtime.shutdown_background();
    outcome
}

/// What the law needs and the harness does not offer.
async fn unmet_need(run: &Run) -> Option<String> {
    let need = run.law.needs?;
    let offered = match need {
        Need::Faults => run.harness.faults().is_some(),
        Need::Resources => run.harness.live_resources("conformance:").await.is_some(),
    };
    (!offered).then(|| {
        let need = need.name();
        format!(
            "the harness does not offer `{need}`; if that is meant, say `without: {{ {need} = \
             \"reason\" }}`"
        )
    })
}

fn latest(timeline: &Mutex<Option<Arc<Timeline>>>) -> Option<Arc<Timeline>> {
    let timeline = timeline.lock().unwrap_or_else(PoisonError::into_inner);
    timeline.clone()
}

/// One run of one law. A law's body hands it over to one of the methods that run cases.
pub(crate) struct Run {
    law: &'static Law,
    harness: Arc<dyn Harness>,
    config: Config,
    driver: Arc<Mutex<Option<&'static str>>>,
    /// That of the latest case, for a law that never ends.
    timeline: Arc<Mutex<Option<Arc<Timeline>>>>,
    factor: (u32, u32),
    racy: bool,
}

/// How often a racy input is tried before it counts as harmless.
const RACY_TRIES: u32 = 5;

impl Run {
    pub(crate) fn harness(&self) -> &dyn Harness {
        &*self.harness
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Tries `times` as many inputs as an ordinary law.
    pub(crate) fn more(mut self, times: u32) -> Self {
        self.factor.0 *= times;
        self
    }

    /// Tries one input where an ordinary law tries `times`.
    pub(crate) fn fewer(mut self, times: u32) -> Self {
        self.factor.1 *= times;
        self
    }

    /// Says that the same input may break the law at one time and not at another: while shrinking
    /// and on replay, each input is tried several times.
    pub(crate) fn racy(mut self) -> Self {
        self.racy = true;
        self
    }

    /// Runs `body` as a single case.
    pub(crate) async fn once<F>(self, body: impl Fn(Case) -> F) -> Outcome
    where
        F: Future<Output = CaseResult> + Send + 'static,
    {
        self.run(1, |_| Just(()), |case, ()| body(case)).await
    }

    /// Runs `body` on each of `inputs`, which are not shrunk.
    pub(crate) async fn for_each<T, F>(self, inputs: Vec<T>, body: impl Fn(Case, T) -> F) -> Outcome
    where
        T: Clone + Debug,
        F: Future<Output = CaseResult> + Send + 'static,
    {
        let count = u32::try_from(inputs.len()).unwrap_or(u32::MAX);
        self.run(count, |index| Just(inputs[index as usize].clone()), body)
            .await
    }

    /// Runs `body` on inputs of `strategy`; what breaks the law is shrunk.
    pub(crate) async fn for_all<S, F>(
        self,
        strategy: S,
        body: impl Fn(Case, S::Value) -> F,
    ) -> Outcome
    where
        S: Strategy,
        F: Future<Output = CaseResult> + Send + 'static,
    {
        let count = self.count();
        self.run(count, |_| &strategy, body).await
    }

    /// As [`for_all`](Self::for_all), where the first cases are these inputs: what every run must
    /// try, and no run more than once.
    pub(crate) async fn for_these_and_all<S, F>(
        self,
        first: Vec<S::Value>,
        strategy: S,
        body: impl Fn(Case, S::Value) -> F,
    ) -> Outcome
    where
        S: Strategy + 'static,
        S::Value: Clone + 'static,
        F: Future<Output = CaseResult> + Send + 'static,
    {
        let strategy = strategy.boxed();
        let count = self.count().saturating_add(first.len() as u32);
        let input = |index: u32| match first.get(index as usize) {
            Some(input) => Just(input.clone()).boxed(),
            None => strategy.clone(),
        };
        self.run(count, input, body).await
    }

    /// How many inputs the law tries.
    fn count(&self) -> u32 {
        let count = (self.config.cases * self.factor.0).div_ceil(self.factor.1);
        count.max(1)
    }

    async fn run<S, F>(
        self,
        count: u32,
        strategy: impl Fn(u32) -> S,
        body: impl Fn(Case, S::Value) -> F,
    ) -> Outcome
    where
        S: Strategy,
        F: Future<Output = CaseResult> + Send + 'static,
    {
        let mut ran = 0;
        for index in 0..count {
            if self.config.only_case.is_some_and(|only| only != index) {
                continue;
            }
            ran += 1;
            let mut tree = match strategy(index).new_tree(&mut self.proptest(index)) {
                Ok(tree) => tree,
                Err(reason) => return Outcome::NotChecked(format!("no input: {reason}")),
            };
            // A replay of a race must find it again, so it gets more tries.
            let tries = match (self.racy, self.config.only_case) {
                (true, Some(_)) => 10 * RACY_TRIES,
                _ => 1,
            };
            if let Some(found) = self.attempt(tries, &tree, &body).await {
                return self.shrink(index, &mut tree, found, &body).await;
            }
        }
        if ran == 0 {
            return Outcome::NotChecked("there is no such case".to_owned());
        }
        Outcome::Kept { cases: ran }
    }

    /// The source of randomness of one case, which depends on nothing that ran before.
    fn proptest(&self, index: u32) -> TestRunner {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.config.seed.to_le_bytes());
        seed[8..12].copy_from_slice(&index.to_le_bytes());
        for (position, byte) in self.law.to_string().bytes().enumerate() {
            let slot = &mut seed[12 + position % 20];
            *slot = slot.wrapping_mul(31).wrapping_add(byte);
        }
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let config = ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        TestRunner::new_with_rng(config, rng)
    }

    /// Runs the current input up to `tries` times; answers the first failure.
    async fn attempt<T: ValueTree, F>(
        &self,
        tries: u32,
        tree: &T,
        body: &impl Fn(Case, T::Value) -> F,
    ) -> Option<Found>
    where
        F: Future<Output = CaseResult> + Send + 'static,
    {
        for _ in 0..tries {
            let input = tree.current();
            let shown = format!("{input:?}");
            let case = Case::new(
                Arc::clone(&self.harness),
                Arc::clone(&self.driver),
                &self.timeline,
            );
            let result = execute(&case, body(case.clone(), input)).await;
            if let Err(failure) = result {
                return Some(Found {
                    failure: failure.to_string(),
                    input: shorten(&shown, 4_000),
                    timeline: case.timeline().render(),
                    hung: case.timeline().hung().is_some(),
                });
            }
        }
        None
    }

    async fn shrink<T: ValueTree, F>(
        &self,
        index: u32,
        tree: &mut T,
        mut found: Found,
        body: &impl Fn(Case, T::Value) -> F,
    ) -> Outcome
    where
        F: Future<Output = CaseResult> + Send + 'static,
    {
        let until = Instant::now() + self.config.shrink_limit;
        let tries = if self.racy { RACY_TRIES } else { 1 };
        let mut shrunk = 0;
        // Each smaller input that hangs as well would cost the whole limit of a call.
        let mut more = !found.hung && tree.simplify();
        while more && Instant::now() < until {
            more = match self.attempt(tries, tree, body).await {
                Some(smaller) => {
                    found = smaller;
                    shrunk += 1;
                    !found.hung && tree.simplify()
                }
                None => tree.complicate(),
            };
        }
        Outcome::Broken(Box::new(Breach {
            law: self.law,
            driver: *self.driver.lock().unwrap_or_else(PoisonError::into_inner),
            failure: found.failure,
            input: found.input,
            timeline: found.timeline,
            replay: self.config.replay(self.law, Some(index)),
            case: index,
            shrunk,
        }))
    }
}

/// A failure, as it is kept while smaller inputs are tried.
struct Found {
    failure: String,
    input: String,
    timeline: String,
    hung: bool,
}
