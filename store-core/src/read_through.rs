//! Read-through: a value from the store, or loaded and stored, by one caller at a time.

use std::collections::HashMap;
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
    /// and through clones of this store, one loads and the others get what it loaded. If it fails
    /// or is dropped, the next of them loads. A stored value that is not a `T` counts as missing
    /// and is written over.
    ///
    /// A key that is deleted while it is being loaded is written by the load all the same.
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
            match self.get(key).await {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Decode => {}
                Err(error) => return Err(error.into()),
            }
            let flight = match self.flights.join(&name) {
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
}

/// The loads that are under way, by physical key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights(Arc<Mutex<HashMap<String, watch::Receiver<Option<Bytes>>>>>);

enum Role {
    Leader(Flight),
    Follower(watch::Receiver<Option<Bytes>>),
}

/// One load. Dropping it lets the next caller load.
struct Flight {
    flights: Flights,
    name: String,
    landing: watch::Sender<Option<Bytes>>,
}

impl Flights {
    fn join(&self, name: &str) -> Role {
        let mut flights = self.lock();
        if let Some(landed) = flights.get(name) {
            return Role::Follower(landed.clone());
        }
        let (landing, landed) = watch::channel(None);
        flights.insert(name.to_owned(), landed);
        Role::Leader(Flight {
            flights: self.clone(),
            name: name.to_owned(),
            landing,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Option<Bytes>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn land(self, bytes: Bytes) {
        self.landing.send_replace(Some(bytes));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.name);
    }
}

async fn wait(mut landed: watch::Receiver<Option<Bytes>>) -> Option<Bytes> {
    let bytes = landed.wait_for(Option::is_some).await.ok()?;
    bytes.clone()
}
