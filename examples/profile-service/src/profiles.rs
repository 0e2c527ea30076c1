//! Profiles through a cache in this process, which messages from all processes keep fresh.
//!
//! Each process caches in its own memory, so a hit costs no network. The price: a process must
//! hear of changes that others make. What can go wrong, and what is done about it:
//!
//! - **A load races a change.** A reader has read the old row; the change is committed and its
//!   message handled, with nothing to delete yet; then the reader caches the old row. So a reader
//!   puts a *lease* in the profile's place before it reads, and replaces the lease with what it read
//!   only if the lease is still there, in one atomic step. The message deletes the lease as it would
//!   the profile, and then the reader's row is answered once and cached never.
//! - **A message is lost**, because Redis restarted or the connection broke. Delivery is at most
//!   once, but loss is reported: after an [`Event::Gap`] everything is forgotten, for nobody knows
//!   which messages are missing.
//! - **The process that commits a change dies before it publishes**, or Redis is away for long.
//!   Then a profile may be old until its ttl ends: [`PROFILE_TTL`] bounds every error.
//!
//! A change is committed first and published then, never the other way round. The process that
//! makes it forgets its own copy before it answers, so a client that stays with it reads its write.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use igniter_store::{Event, Health, ListenOptions, Listener, SetOptions, Store, Undecodable};
use serde::{Deserialize, Serialize};

use crate::BoxError;
use crate::db::{Database, Profile};

/// The channel on which services tell each other about users.
pub const USER_EVENTS: &str = "user-events";
/// How long a profile is cached, and so the longest time that it can be old.
pub const PROFILE_TTL: Duration = Duration::from_secs(60);
/// How long a load may take to be cached. A load that is given up leaves its lease for so long.
const LEASE_TTL: Duration = Duration::from_secs(5);

/// What services publish on [`USER_EVENTS`].
///
/// As JSON: `{"type":"ROLE_UPDATED","payload":{"userId":"1"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UserEvent {
    /// The role of a user has changed.
    #[serde(rename_all = "camelCase")]
    RoleUpdated {
        /// The number of the user, as text.
        user_id: String,
    },
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The cache of this process.
    Cache,
    /// The database.
    Database,
}

/// Why a role was not changed, or not for everybody.
#[derive(Debug)]
pub enum RoleError {
    /// Nothing has changed.
    Failed(BoxError),
    /// The role is changed, but the other processes may not have heard of it. To repeat the call
    /// is safe, and tells them.
    NotAnnounced(igniter_store::Error),
}

/// What is in a profile's place in the cache.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Cached {
    Loading { lease: u64 },
    Loaded(Profile),
}

/// The profiles of all users.
#[derive(Debug)]
pub struct Profiles {
    database: Database,
    cache: Store,
    events: Store,
    leases: AtomicU64,
}

impl Profiles {
    /// Reads from `database` through `cache`, which belongs to this process alone, and shares
    /// `events` with the others.
    #[must_use]
    pub fn new(database: Database, cache: Store, events: Store) -> Self {
        Self {
            database,
            cache,
            events,
            leases: AtomicU64::new(0),
        }
    }

    /// The profile of user `id`, where there is one.
    ///
    /// # Errors
    ///
    /// Those of the database and the cache.
    pub async fn get(&self, id: u32) -> Result<Option<(Profile, Source)>, BoxError> {
        self.get_or_load(id, self.database.profile(id)).await
    }

    async fn get_or_load(
        &self,
        id: u32,
        load: impl Future<Output = Result<Option<Profile>, BoxError>>,
    ) -> Result<Option<(Profile, Source)>, BoxError> {
        let key = key(&id.to_string());
        if let Some(Cached::Loaded(profile)) = self.cache.get(&key).await? {
            return Ok(Some((profile, Source::Cache)));
        }
        let lease = Cached::Loading {
            lease: self.leases.fetch_add(1, Ordering::Relaxed),
        };
        // Another reader's lease stays, and so does a profile that came meanwhile. This reader then
        // replaces nothing below.
        let leased = SetOptions::new().ttl(LEASE_TTL).if_absent();
        self.cache.set_with(&key, &lease, leased).await?;
        let loaded = load.await;
        if let Ok(Some(profile)) = &loaded {
            let new = Cached::Loaded(profile.clone());
            self.cache
                .compare_and_set_with(&key, &lease, &new, PROFILE_TTL)
                .await?;
        } else {
            self.cache.compare_and_delete(&key, &lease).await?;
        }
        Ok(loaded?.map(|profile| (profile, Source::Database)))
    }

    /// Gives user `id` a role, tells all processes, and answers the profile as it is then.
    ///
    /// # Errors
    ///
    /// [`RoleError`] says whether the role is changed.
    pub async fn set_role(
        self: &Arc<Self>,
        id: u32,
        role: String,
    ) -> Result<Option<Profile>, RoleError> {
        // A task of its own, since the caller goes away when its client does: what is committed
        // must be published all the same.
        let this = Arc::clone(self);
        tokio::spawn(async move { this.commit_and_publish(id, role).await })
            .await
            .unwrap_or_else(|error| Err(RoleError::Failed(error.into())))
    }

    async fn commit_and_publish(
        &self,
        id: u32,
        role: String,
    ) -> Result<Option<Profile>, RoleError> {
        let changed = self.database.set_role(id, role).await;
        let Some(profile) = changed.map_err(RoleError::Failed)? else {
            return Ok(None);
        };
        let user_id = id.to_string();
        self.forget(&user_id).await;
        self.events
            .publish(USER_EVENTS, &UserEvent::RoleUpdated { user_id })
            .await
            .map_err(RoleError::NotAnnounced)?;
        Ok(Some(profile))
    }

    /// Forgets profiles as messages say, until the listener that this answers is dropped.
    ///
    /// # Errors
    ///
    /// Those of the store that has the messages.
    pub async fn follow_events(self: &Arc<Self>) -> igniter_store::Result<Listener> {
        let subscription = self.events.subscribe::<UserEvent>(USER_EVENTS).await?;
        let this = Arc::clone(self);
        Ok(subscription.listen(ListenOptions::new(), move |event| {
            let this = Arc::clone(&this);
            async move { this.handle(event).await }
        }))
    }

    async fn handle(&self, event: Event<UserEvent>) {
        match event {
            Event::Message(message) => {
                let UserEvent::RoleUpdated { user_id } = message.value;
                self.forget(&user_id).await;
            }
            Event::Undecodable(message) if is_of_another_type(&message) => {}
            Event::Undecodable(message) => self.forget_all(&message.error).await,
            Event::Gap(gap) => self.forget_all(&format!("{gap:?}")).await,
            other => self.forget_all(&format!("{other:?}")).await,
        }
    }

    async fn forget(&self, user_id: &str) {
        if let Err(error) = self.cache.delete(&key(user_id)).await {
            eprintln!("profile-service: {error}");
        }
    }

    async fn forget_all(&self, why: &(dyn Display + Sync)) {
        match self.cache.clear().await {
            Ok(count) => eprintln!("profile-service: forgot {count} profiles: {why}"),
            Err(error) => eprintln!("profile-service: {error}"),
        }
    }

    /// The state of what carries the messages.
    pub async fn events_health(&self) -> Health {
        self.events.health().await
    }
}

fn key(user_id: &str) -> String {
    format!("user:{user_id}")
}

/// Whether a message is of a type that others use on the channel, and not a broken one of ours.
fn is_of_another_type(message: &Undecodable) -> bool {
    #[derive(Deserialize)]
    struct Tag {
        r#type: String,
    }
    serde_json::from_slice::<Tag>(&message.bytes).is_ok_and(|tag| tag.r#type != "ROLE_UPDATED")
}

#[cfg(test)]
mod tests {
    use igniter_store::{MemoryDriver, MemoryOptions, Subscription};
    use serde_json::json;

    use super::*;

    fn profiles_with(events: MemoryDriver) -> Arc<Profiles> {
        let database = Database::open(":memory:").unwrap();
        let cache = Store::new(MemoryDriver::new());
        Arc::new(Profiles::new(database, cache, Store::new(events)))
    }

    fn profiles() -> Arc<Profiles> {
        profiles_with(MemoryDriver::new())
    }

    async fn role_and_source(profiles: &Profiles, id: u32) -> (String, Source) {
        let (profile, source) = profiles.get(id).await.unwrap().unwrap();
        (profile.role, source)
    }

    async fn source(profiles: &Profiles, id: u32) -> Source {
        role_and_source(profiles, id).await.1
    }

    async fn events_of(profiles: &Profiles) -> Subscription<UserEvent> {
        profiles.events.subscribe(USER_EVENTS).await.unwrap()
    }

    async fn handle_next(profiles: &Profiles, events: &mut Subscription<UserEvent>) {
        profiles.handle(events.next().await.unwrap()).await;
    }

    #[tokio::test]
    async fn a_profile_is_loaded_once() {
        let profiles = profiles();
        assert_eq!(source(&profiles, 1).await, Source::Database);
        assert_eq!(source(&profiles, 1).await, Source::Cache);
        assert_eq!(profiles.get(9).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_load_that_races_a_change_is_answered_and_not_cached() {
        let profiles = profiles();
        let mut events = events_of(&profiles).await;
        let load = async {
            let old = profiles.database.profile(1).await;
            // As another process does it: nothing but the database and the message.
            let editor = "editor".to_owned();
            profiles.database.set_role(1, editor).await?;
            let user_id = "1".to_owned();
            let event = UserEvent::RoleUpdated { user_id };
            profiles.events.publish(USER_EVENTS, &event).await?;
            handle_next(&profiles, &mut events).await;
            old
        };
        let (old, _) = profiles.get_or_load(1, load).await.unwrap().unwrap();
        assert_eq!(old.role, "member");
        let next = role_and_source(&profiles, 1).await;
        assert_eq!(next, ("editor".to_owned(), Source::Database));
        assert_eq!(source(&profiles, 1).await, Source::Cache);
    }

    #[tokio::test]
    async fn of_two_readers_at_a_time_the_first_caches() {
        let profiles = profiles();
        let load = async {
            assert_eq!(source(&profiles, 1).await, Source::Database, "the second");
            assert_eq!(
                source(&profiles, 1).await,
                Source::Database,
                "not cached yet"
            );
            profiles.database.profile(1).await
        };
        profiles.get_or_load(1, load).await.unwrap();
        assert_eq!(source(&profiles, 1).await, Source::Cache);
    }

    #[tokio::test]
    async fn a_load_that_fails_does_not_keep_the_next_one_from_being_cached() {
        let profiles = profiles();
        let load = async { Err("the disk is gone".into()) };
        profiles.get_or_load(1, load).await.unwrap_err();
        assert_eq!(source(&profiles, 1).await, Source::Database);
        assert_eq!(source(&profiles, 1).await, Source::Cache);
    }

    #[tokio::test]
    async fn a_process_reads_its_own_write_before_its_message_comes() {
        let profiles = profiles();
        assert_eq!(source(&profiles, 1).await, Source::Database);
        let changed = profiles.set_role(1, "editor".to_owned()).await.unwrap();
        assert_eq!(changed.unwrap().role, "editor");
        let next = role_and_source(&profiles, 1).await;
        assert_eq!(next, ("editor".to_owned(), Source::Database));
    }

    #[tokio::test]
    async fn a_change_that_cannot_be_announced_says_so() {
        let profiles = profiles();
        profiles.events.close().await.unwrap();
        let changed = profiles.set_role(1, "editor".to_owned()).await;
        assert!(matches!(changed, Err(RoleError::NotAnnounced(_))));
        assert_eq!(role_and_source(&profiles, 1).await.0, "editor");
    }

    #[tokio::test]
    async fn after_a_gap_nothing_is_remembered() {
        let profiles = profiles_with(MemoryDriver::with_options(
            MemoryOptions::new().channel_capacity(1),
        ));
        let mut events = events_of(&profiles).await;
        for id in [1, 2] {
            source(&profiles, id).await;
        }
        for user_id in ["1", "3"] {
            let user_id = user_id.to_owned();
            let event = UserEvent::RoleUpdated { user_id };
            profiles.events.publish(USER_EVENTS, &event).await.unwrap();
        }
        handle_next(&profiles, &mut events).await;
        assert_eq!(source(&profiles, 1).await, Source::Database);
        assert_eq!(source(&profiles, 2).await, Source::Database);
    }

    #[tokio::test]
    async fn a_message_of_another_type_clears_nothing_and_a_broken_one_everything() {
        let profiles = profiles();
        let mut events = events_of(&profiles).await;
        for (message, expected) in [
            (
                json!({"type": "USER_CREATED", "payload": {"userId": "7"}}),
                Source::Cache,
            ),
            (
                json!({"type": "ROLE_UPDATED", "payload": {"userId": "2"}}),
                Source::Cache,
            ),
            (
                json!({"type": "ROLE_UPDATED", "payload": {"userId": 2}}),
                Source::Database,
            ),
            (json!("what is this?"), Source::Database),
            (
                json!({"type": "ROLE_UPDATED", "payload": {"userId": "1"}}),
                Source::Database,
            ),
        ] {
            source(&profiles, 1).await;
            profiles
                .events
                .publish(USER_EVENTS, &message)
                .await
                .unwrap();
            handle_next(&profiles, &mut events).await;
            assert_eq!(source(&profiles, 1).await, expected, "after {message}");
        }
    }

    #[test]
    fn an_event_has_the_form_that_other_services_know() {
        let user_id = "1".to_owned();
        assert_eq!(
            serde_json::to_string(&UserEvent::RoleUpdated { user_id }).unwrap(),
            r#"{"type":"ROLE_UPDATED","payload":{"userId":"1"}}"#
        );
    }
}
