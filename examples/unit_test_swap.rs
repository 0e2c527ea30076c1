//! A service that takes a `Store`, and unit tests that give it one in memory.
//!
//! In the tests time stands still until `advance` moves it, so hours pass without waiting:
//! `cargo test --example unit_test_swap`. The service never learns which driver it has:
//! `STORE_URL=redis://127.0.0.1:6379 cargo run --example unit_test_swap --features redis`.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::time::Duration;

use igniter_store::{IncrementOptions, Result, Store};
use serde::{Deserialize, Serialize};

/// How many wrong passwords a user has within one [`WINDOW`].
const ATTEMPTS: i64 = 3;
const WINDOW: Duration = Duration::from_secs(15 * 60);
const SESSION: Duration = Duration::from_secs(30 * 60);

/// Who is logged in, and who has guessed too often.
struct Logins {
    store: Store,
}

/// Published on `security` when a user is locked out.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct LockedOut {
    user: String,
}

impl Logins {
    fn new(store: Store) -> Self {
        Self { store }
    }

    /// Opens or replaces the session of `user`.
    async fn log_in(&self, user: &str) -> Result<()> {
        self.store.delete(&failures(user)).await?;
        self.store.set_with(&session(user), user, SESSION).await?;
        Ok(())
    }

    /// Answers whether `user` has a session; being asked makes it live on.
    async fn is_logged_in(&self, user: &str) -> Result<bool> {
        self.store.expire(&session(user), SESSION).await
    }

    /// Counts a wrong password; tells everybody when it was the last one allowed.
    async fn fail(&self, user: &str) -> Result<()> {
        // The first failure opens the window, the later ones do not make it longer.
        let window = IncrementOptions::new().initial_ttl(WINDOW);
        let failed = self.store.increment_with(&failures(user), window).await?;
        if failed == ATTEMPTS {
            let user = user.to_owned();
            self.store.publish("security", &LockedOut { user }).await?;
        }
        Ok(())
    }

    async fn is_locked_out(&self, user: &str) -> Result<bool> {
        let failed: Option<i64> = self.store.get(&failures(user)).await?;
        Ok(failed.unwrap_or(0) >= ATTEMPTS)
    }
}

fn session(user: &str) -> String {
    format!("session:{user}")
}

fn failures(user: &str) -> String {
    format!("failures:{user}")
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = igniter_store::from_env()
        .await?
        .with_prefix("unit_test_swap:");
    let logins = Logins::new(store.clone());
    println!("{store:?}");
    logins.log_in("ada").await?;
    println!("ada is logged in: {}", logins.is_logged_in("ada").await?);
    let mut attempts = 0;
    while !logins.is_locked_out("bob").await? {
        logins.fail("bob").await?;
        attempts += 1;
    }
    println!("bob is locked out after {attempts} wrong passwords");
    store.clear().await?;
    store.close().await
}

#[cfg(test)]
mod tests {
    use igniter_store::{Event, MemoryDriver};
    use tokio::time::advance;

    use super::*;

    fn logins() -> Logins {
        Logins::new(Store::new(MemoryDriver::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_half_an_hour_after_its_last_use() -> Result<()> {
        let logins = logins();
        logins.log_in("ada").await?;

        advance(SESSION - Duration::from_millis(1)).await;
        assert!(logins.is_logged_in("ada").await?, "one millisecond is left");

        advance(SESSION - Duration::from_millis(1)).await;
        assert!(logins.is_logged_in("ada").await?, "the last use counts");

        advance(SESSION).await;
        assert!(!logins.is_logged_in("ada").await?);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_lockout_ends_with_the_window_of_the_first_failure() -> Result<()> {
        let logins = logins();
        for _ in 0..ATTEMPTS {
            assert!(!logins.is_locked_out("ada").await?);
            logins.fail("ada").await?;
            advance(WINDOW / 5).await;
        }
        assert!(logins.is_locked_out("ada").await?);
        assert!(!logins.is_locked_out("bob").await?);

        advance(WINDOW / 5 * 2).await;
        assert!(!logins.is_locked_out("ada").await?);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_password_forgets_the_wrong_ones() -> Result<()> {
        let logins = logins();
        for _ in 1..ATTEMPTS {
            logins.fail("ada").await?;
        }
        logins.log_in("ada").await?;
        logins.fail("ada").await?;
        assert!(!logins.is_locked_out("ada").await?);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_lockout_is_published_once() -> Result<()> {
        let logins = logins();
        let mut security = logins.store.subscribe::<LockedOut>("security").await?;
        for user in ["ada", "ada", "ada", "ada", "bob", "bob", "bob"] {
            logins.fail(user).await?;
        }
        // Two messages and no more: after them comes the end.
        logins.store.close().await?;
        let mut locked_out = Vec::new();
        while let Some(event) = security.next().await {
            let Event::Message(message) = event else {
                panic!("{event:?} is no message");
            };
            locked_out.push(message.value.user);
        }
        assert_eq!(locked_out, ["ada", "bob"]);
        Ok(())
    }
}
