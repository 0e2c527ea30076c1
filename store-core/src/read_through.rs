//! Read-through: a value from the store, or loaded and stored, by one caller at a time.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::adapter::Condition;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::unconditional;
use crate::options::SetOptions;
use crate::store::{During, Store};

impl<C: Codec> Store<C> {
    /// The value of `key`, or the one that `load` makes, which is then stored as `options` say.
    ///
    /// Single flight: of all callers that find the key missing at the same time, in this process
    /// and through clones of this store, one loads and the others get what it loaded. One that
    /// learns only after the load that the key was missing reads it once more. If the load fails
    /// or is dropped, the next of them loads. A stored value that is not a `T` counts as missing
    /// and is written over.
    ///
    /// A key that is deleted while it is being loaded is written by the load all the same.
    ///
    /// `load` must not ask for the same key with `get_or_load` through this store or a clone: it
    /// would wait for itself, for ever.
    ///
    /// # Errors
    ///
    /// What `load` answers, and the errors of [`get`](Self::get) and [`set_with`](Self::set_with);
    /// with the backend down nothing is loaded, so that the load does not move to what is behind
    /// the cache.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use store_core::{Error, Store};
    /// # async fn load_user(id: u32) -> Result<String, Error> { Ok(id.to_string()) }
    /// # async fn example(store: Store) -> Result<(), Error> {
    /// let hour = Duration::from_secs(3600);
    /// let user: String = store.get_or_load("user:1", hour, || load_user(1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "remember")]
    #[doc(alias = "get_or_insert_with")]
    pub async fn get_or_load<T, E, F, L>(
        &self,
        key: &str,
        options: impl Into<SetOptions>,
        load: F,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<Error>,
        F: FnOnce() -> L,
        L: Future<Output = Result<T, E>>,
    {
        let operation = "get_or_load";
        let name = self.keys.physical(key).during(operation, key)?;
        let expiry = unconditional(options.into()).during(operation, key)?;
        loop {
            let landings = self.flights.landings();
            if let Some(value) = self.cached(key).await? {
                return Ok(value);
            }
            let flight = match self.flights.join(&name, landings) {
                Role::Leader(flight) => flight,
                Role::Follower(landed) => {
                    if let Some(bytes) = wait(landed).await
                        && let Ok(value) = self.codec.decode(&bytes)
                    {
                        return Ok(value);
                    }
                    continue;
                }
            };
            // The absence was perhaps seen before the other load was stored.
            if flight.follows_another
                && let Some(value) = self.cached(key).await?
            {
                return Ok(value);
            }
            let value = load().await?;
            let bytes = self.encode(&value).during(operation, key)?;
            self.adapter
                .set(&name, &bytes, expiry, Condition::Always)
                .await
                .during(operation, key)?;
            flight.land(bytes.into());
            return Ok(value);
        }
    }

    /// What `get` answers, with a value of another type as absent.
    async fn cached<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        match self.get(key).await {
            Err(error) if error.kind() == ErrorKind::Decode => Ok(None),
            answer => answer.map_err(|error| error.with_operation("get_or_load")),
        }
    }
}

/// How many landings are remembered by key. After more of them any key may be among them.
const REMEMBERED: usize = 64;

/// The loads that are under way, and those that have landed of late.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    /// How many loads have been stored so far. Changes under the lock, and is read without it.
    landings: AtomicU64,
    names: Mutex<Names>,
}

/// Physical keys.
#[derive(Debug, Default)]
struct Names {
    in_flight: HashMap<String, watch::Receiver<Option<Bytes>>>,
    /// Those of the last landings, the latest at the end.
    landed: VecDeque<String>,
}

enum Role {
    Leader(Flight),
    Follower(watch::Receiver<Option<Bytes>>),
}

/// One load. Dropping it lets the next caller load.
struct Flight {
    flights: Flights,
    name: String,
    landing: watch::Sender<Option<Bytes>>,
    /// Whether another load of the key has landed, or may have, since the caller began to look.
    follows_another: bool,
}

impl Flights {
    /// The number of landings, to be noted before the store is asked.
    fn landings(&self) -> u64 {
        self.0.landings.load(Ordering::Acquire)
    }

    /// Takes part in the load of `name`, `noted` landings after which it was not there.
    fn join(&self, name: &str, noted: u64) -> Role {
        let mut names = self.lock();
        if let Some(landed) = names.in_flight.get(name) {
            return Role::Follower(landed.clone());
        }
        let since = self.landings() - noted;
        let follows_another = names.has_landed(name, since);
        let (landing, landed) = watch::channel(None);
        names.in_flight.insert(name.to_owned(), landed);
        Role::Leader(Flight {
            flights: self.clone(),
            name: name.to_owned(),
            landing,
            follows_another,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// Whether `name` is, or may be, one of the last `count` that landed.
    fn has_landed(&self, name: &str, count: u64) -> bool {
        let Ok(count @ 0..=REMEMBERED) = usize::try_from(count) else {
            return true;
        };
        self.landed.iter().rev().take(count).any(|it| it == name)
    }
}

impl Flight {
    fn land(self, bytes: Bytes) {
        self.landing.send_replace(Some(bytes));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut names = self.flights.lock();
        names.in_flight.remove(&self.name);
        if self.landing.borrow().is_some() {
            if names.landed.len() == REMEMBERED {
                names.landed.pop_front();
            }
            names.landed.push_back(mem::take(&mut self.name));
            self.flights.0.landings.fetch_add(1, Ordering::Release);
        }
    }
}

async fn wait(mut landed: watch::Receiver<Option<Bytes>>) -> Option<Bytes> {
    let bytes = landed.wait_for(Option::is_some).await.ok()?;
    bytes.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn land(flights: &Flights, name: &str) {
        if let Role::Leader(flight) = flights.join(name, flights.landings()) {
            flight.land(Bytes::new());
        }
    }

    fn follows_another(flights: &Flights, name: &str, noted: u64) -> bool {
        matches!(flights.join(name, noted), Role::Leader(flight) if flight.follows_another)
    }

    #[test]
    fn a_leader_follows_only_what_landed_since_it_looked() {
        let flights = Flights::default();
        let before = flights.landings();
        land(&flights, "k");
        land(&flights, "other");
        assert!(follows_another(&flights, "k", before));
        assert!(!follows_another(&flights, "third", before));
        assert!(!follows_another(&flights, "k", before + 1));
    }

    #[test]
    fn after_more_landings_than_are_remembered_any_key_may_have_landed() {
        let flights = Flights::default();
        let before = flights.landings();
        for _ in 0..REMEMBERED {
            land(&flights, "other");
        }
        assert!(!follows_another(&flights, "k", before));
        land(&flights, "other");
        assert!(follows_another(&flights, "k", before));
        assert_eq!(flights.lock().landed.len(), REMEMBERED);
    }

    #[test]
    fn a_load_that_ends_without_a_value_has_not_landed() {
        let flights = Flights::default();
        let before = flights.landings();
        drop(flights.join("k", before));
        assert_eq!(flights.landings(), before);
        assert!(!follows_another(&flights, "k", before));
    }
}
