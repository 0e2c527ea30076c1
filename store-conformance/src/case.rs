//! One run of one law on one input: its own scope, its handles, its timeline, and its failure.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use store_core::{ErrorKind, RawEvent, RawSubscription, Scan, StoreAdapter, TtlMillis};
use tokio::time::Instant;

use crate::clock::{Clock, Window};
use crate::handle::Handle;
use crate::harness::Harness;
use crate::timeline::{Timeline, shorten};

/// Why a case broke its law.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    message: String,
}

/// What a law's body answers for one case.
pub(crate) type CaseResult<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }

    /// Says what the case was doing.
    pub(crate) fn context(self, what: impl fmt::Display) -> Self {
        Self::new(format!("{what}: {}", self.message))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shorten(&self.message, 2_000))
    }
}

impl From<store_core::Error> for Failure {
    fn from(error: store_core::Error) -> Self {
        Self::new(format!(
            "an operation that must succeed answered {:?}: {error}",
            error.kind()
        ))
    }
}

/// Breaks the case unless a condition holds; what follows says what should be.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::case::Failure::new(format!($($message)+)));
        }
    };
}

/// Breaks the case unless both are equal; what follows says what the first one is.
macro_rules! ensure_eq {
    ($actual:expr, $expected:expr, $($what:tt)+) => {
        match (&$actual, &$expected) {
            (actual, expected) => if *actual != *expected {
                return Err($crate::case::unequal(&format!($($what)+), actual, expected));
            }
        }
    };
}

pub(crate) use {ensure, ensure_eq};

pub(crate) fn unequal(what: &str, actual: &dyn fmt::Debug, expected: &dyn fmt::Debug) -> Failure {
    Failure::new(format!(
        "{what}: expected {}, was {}",
        shorten(&format!("{expected:?}"), 600),
        shorten(&format!("{actual:?}"), 600)
    ))
}

/// Breaks the case unless `result` is an error of `kind`.
pub(crate) fn ensure_kind<T: fmt::Debug>(
    result: store_core::Result<T>,
    kind: ErrorKind,
    what: &str,
) -> CaseResult {
    match result {
        Ok(answer) => Err(Failure::new(format!(
            "{what}: expected {kind:?}, was {}",
            shorten(&format!("{answer:?}"), 600)
        ))),
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Failure::new(format!(
            "{what}: expected {kind:?}, was {:?}: {error}",
            error.kind()
        ))),
    }
}

/// A ttl of whole milliseconds.
pub(crate) fn millis(ttl: u64) -> CaseResult<TtlMillis> {
    Ok(TtlMillis::new(Duration::from_millis(ttl))?)
}

/// What the body of a law works with. Clones are the same case.
#[derive(Clone)]
pub(crate) struct Case(Arc<Inner>);

struct Inner {
    harness: Arc<dyn Harness>,
    clock: Clock,
    scope: String,
    timeline: Arc<Timeline>,
    opened: AtomicU32,
    driver: Arc<Mutex<Option<&'static str>>>,
}

impl Case {
    pub(crate) fn new(
        harness: Arc<dyn Harness>,
        driver: Arc<Mutex<Option<&'static str>>>,
        timeline_slot: &Mutex<Option<Arc<Timeline>>>,
    ) -> Self {
        let scope = fresh_scope();
        let timeline = Arc::new(Timeline::new(&scope));
        let slot = timeline_slot.lock();
        *slot.unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&timeline));
        Self(Arc::new(Inner {
            clock: harness.clock(),
            harness,
            scope,
            timeline,
            opened: AtomicU32::new(0),
            driver,
        }))
    }

    /// Opens a further handle on the data of this case, with connections of its own.
    ///
    /// Handles are called A, B, C … in the timeline.
    pub(crate) async fn open(&self) -> CaseResult<Arc<Handle>> {
        let label = label(self.0.opened.fetch_add(1, Ordering::Relaxed));
        let running = self.0.timeline.begin(&label, "open".to_owned());
        let open = self.0.harness.open(&self.0.scope);
        let driver = match tokio::time::timeout(self.0.clock.call_limit(), open).await {
            Ok(Ok(driver)) => driver,
            Ok(Err(error)) => {
                running.end(error.to_string());
                return Err(Failure::new(format!("the harness cannot open: {error}")));
            }
            Err(_) => {
                self.0.timeline.hang(&format!("{label} open"));
                return Err(Failure::new("opening did not end in time"));
            }
        };
        running.end(driver.name().to_owned());
        let mut name = self.0.driver.lock().unwrap_or_else(PoisonError::into_inner);
        *name = Some(driver.name());
        let timeline = Arc::clone(&self.0.timeline);
        Ok(Arc::new(Handle::new(driver, label, timeline, self.0.clock)))
    }

    /// The prefix of every name that this case may touch.
    pub(crate) fn scope(&self) -> &str {
        &self.0.scope
    }

    /// The physical name of `name`: the scope is put before it. For keys and channels alike.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0.scope)
    }

    /// The physical names of `names`.
    pub(crate) fn keys<S: AsRef<str>>(&self, names: &[S]) -> Vec<String> {
        names.iter().map(|name| self.key(name.as_ref())).collect()
    }

    pub(crate) fn harness(&self) -> &dyn Harness {
        &*self.0.harness
    }

    pub(crate) fn clock(&self) -> Clock {
        self.0.clock
    }

    pub(crate) fn timeline(&self) -> &Timeline {
        &self.0.timeline
    }

    /// Puts a line into the timeline.
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.timeline.note("", what);
    }

    /// Lets time pass: the virtual clock is moved, on a real one the case sleeps.
    pub(crate) async fn pass(&self, duration: Duration) {
        self.note(format!("{duration:?} pass"));
        self.0.clock.pass(duration).await;
    }

    /// Lets time pass until the deadline of `window` is certainly over.
    pub(crate) async fn pass_window(&self, window: &Window) {
        self.note("the deadline passes");
        window.pass().await;
    }

    /// Runs a call that gives a key `ttl`; answers when the deadline can be.
    pub(crate) async fn timed<T>(
        &self,
        ttl: TtlMillis,
        call: impl Future<Output = T>,
    ) -> (T, Window) {
        let begun = Instant::now();
        let answer = call.await;
        let ended = Instant::now();
        let window = Window::new(self.0.clock, ttl.as_duration(), begun, ended);
        (answer, window)
    }

    /// The next event of a subscription; breaks the case if none comes in time or the stream ends.
    pub(crate) async fn next_event(
        &self,
        subscription: &mut RawSubscription,
    ) -> CaseResult<RawEvent> {
        match self.next_or_end(subscription).await? {
            Some(event) => Ok(event),
            None => Err(Failure::new("the subscription ended")),
        }
    }

    /// The next event of a subscription, or `None` at its end; breaks the case if neither comes in
    /// time.
    pub(crate) async fn next_or_end(
        &self,
        subscription: &mut RawSubscription,
    ) -> CaseResult<Option<RawEvent>> {
        let limit = self.0.clock.call_limit();
        tokio::time::timeout(limit, subscription.next())
            .await
            .map_err(|_| Failure::new("nothing arrived on the subscription in time"))
    }
}

/// The ability to scan; a driver without it breaks the law.
pub(crate) fn scan_of(handle: &Handle) -> CaseResult<&dyn Scan> {
    handle.as_scan().ok_or_else(|| {
        Failure::new(
            "the driver offers no `as_scan`; if that is meant, leave the group out with \
             `without: { scan = \"reason\" }`",
        )
    })
}

fn label(number: u32) -> String {
    let letter = char::from(b'A' + (number % 26) as u8);
    match number / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

/// A scope that no other case has, in this process or another.
fn fresh_scope() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = now.map_or(0, |now| now.as_nanos() as u64);
        nanos.rotate_left(20) ^ u64::from(std::process::id())
    });
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("conformance:{:x}:{number}:", *PROCESS)
}
