//! Records what concurrent tasks asked and were answered.

use std::sync::{Mutex, MutexGuard, PoisonError};

use store_core::{Condition, Error, ErrorKind, Expiry, Result, StoreAdapter};

use super::{Answer, Call, NotLinearizable, Operation, check};

/// A record that many tasks write at the same time.
///
/// ```
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use store_conformance::linearizability::{Call, History};
/// use store_conformance::reference::ReferenceDriver;
///
/// let driver = ReferenceDriver::new();
/// let history = History::new();
/// tokio::join!(
///     history.run(&driver, "views", Call::Increment(1)),
///     history.run(&driver, "views", Call::Increment(1)),
/// );
/// history.check()?;
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
/// ```
#[derive(Debug, Default)]
pub struct History {
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    clock: u64,
    operations: Vec<Option<Operation>>,
}

impl Record {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl History {
    /// An empty record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that an operation is about to be called. Call this before its first poll.
    pub fn begin(&self, key: &str, call: Call) -> Pending<'_> {
        let mut record = self.record();
        let called = record.tick();
        record.operations.push(Some(Operation {
            key: key.to_owned(),
            call: call.condensed(),
            called,
            answered: None,
        }));
        Pending {
            history: self,
            index: record.operations.len() - 1,
        }
    }

    /// Calls the driver and notes the answer, as [`Pending::end_with`] does.
    ///
    /// # Errors
    ///
    /// Those of the driver.
    pub async fn run(&self, driver: &dyn StoreAdapter, key: &str, call: Call) -> Result<Answer> {
        let pending = self.begin(key, call.clone());
        let answer = call.run(driver, key).await;
        pending.end_with(&answer);
        answer
    }

    /// The operations so far, without those that certainly were not applied.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.record().operations.iter().flatten().cloned().collect()
    }

    /// Checks what was recorded so far.
    ///
    /// # Errors
    ///
    /// [`NotLinearizable`] for the first key whose answers have no explanation.
    pub fn check(&self) -> Result<(), NotLinearizable> {
        check(&self.operations())
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operation that was called. Dropped without an end it stays open, as after
/// [`leave_open`](Self::leave_open).
#[derive(Debug)]
pub struct Pending<'a> {
    history: &'a History,
    index: usize,
}

impl Pending<'_> {
    /// Notes the answer.
    pub fn end(self, answer: Answer) {
        let mut record = self.history.record();
        let at = record.tick();
        if let Some(operation) = &mut record.operations[self.index] {
            operation.answered = Some((at, answer.condensed()));
        }
    }

    /// Notes that no answer is known: the operation may take effect at any later time, or never.
    pub fn leave_open(self) {}

    /// Notes that the operation certainly was and will not be applied.
    pub fn end_unapplied(self) {
        self.history.record().operations[self.index] = None;
    }

    /// Notes an answer or what an error says of it: a refusal, certainly nothing, or not known.
    pub fn end_with(self, answer: &Result<Answer>) {
        match answer {
            Ok(answer) => self.end(answer.clone()),
            Err(error) => match error.kind() {
                ErrorKind::WrongType | ErrorKind::Overflow => {
                    self.end(Answer::Refused(error.kind()));
                }
                ErrorKind::Indeterminate | ErrorKind::Backend => self.leave_open(),
                _ => self.end_unapplied(),
            },
        }
    }
}

impl Call {
    /// Asks this of a driver.
    ///
    /// # Errors
    ///
    /// Those of the driver.
    pub async fn run(&self, driver: &dyn StoreAdapter, key: &str) -> Result<Answer> {
        let set = async |value: &[u8], condition: Condition<'_>| {
            let did = driver.set(key, value, Expiry::Never, condition).await?;
            Ok::<_, Error>(Answer::Did(did))
        };
        match self {
            Self::Get => driver.get(key).await.map(Answer::Value),
            Self::Has => driver.has(key).await.map(Answer::Did),
            Self::Set(value) => set(value, Condition::Always).await,
            Self::SetIfAbsent(value) => set(value, Condition::IfAbsent).await,
            Self::SetIfPresent(value) => set(value, Condition::IfPresent).await,
            Self::CompareAndSet(expected, value) => set(value, Condition::IfEquals(expected)).await,
            Self::CompareAndDelete(expected) => {
                let did = driver.compare_and_delete(key, expected).await;
                did.map(Answer::Did)
            }
            Self::Delete => driver.delete(key).await.map(Answer::Did),
            Self::Take => driver.take(key).await.map(Answer::Value),
            Self::Replace(value) => {
                let old = driver.replace(key, value, Expiry::Never).await;
                old.map(Answer::Value)
            }
            Self::Increment(delta) => {
                let count = driver.increment(key, *delta, None).await;
                count.map(Answer::Count)
            }
        }
    }
}
