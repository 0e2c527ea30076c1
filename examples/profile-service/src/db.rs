//! The database: the truth about users.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::BoxError;

/// How long a statement waits for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The table, and somebody in it for a first request.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS users (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        role TEXT NOT NULL
    );
    INSERT OR IGNORE INTO users (id, name, role) VALUES
        (1, 'Ada', 'member'), (2, 'Grace', 'member'), (3, 'Edsger', 'member');
";

/// A user, as the API shows one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The number that identifies the user.
    pub id: u32,
    /// The name.
    pub name: String,
    /// What the user may do.
    pub role: String,
}

/// A SQLite file, which other processes may have open too.
#[derive(Clone, Debug)]
pub struct Database {
    connection: Arc<Mutex<Connection>>,
}

impl Database {
    /// Opens the file at `path`; makes it, with three users, where there is none.
    ///
    /// # Errors
    ///
    /// If the file is no database or may not be written.
    pub fn open(path: impl AsRef<Path>) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(SCHEMA)?;
        transaction.commit()?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// The profile of user `id`, where there is one.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn profile(&self, id: u32) -> Result<Option<Profile>, BoxError> {
        self.run(move |connection| {
            let query = "SELECT id, name, role FROM users WHERE id = ?1";
            connection.query_one(query, [id], read_profile).optional()
        })
        .await
    }

    /// Gives user `id` a role, and answers the profile as it is then.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn set_role(&self, id: u32, role: String) -> Result<Option<Profile>, BoxError> {
        self.run(move |connection| {
            // Immediate: a transaction that begins by reading could not wait for another writer.
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let update = "UPDATE users SET role = ?2 WHERE id = ?1 RETURNING id, name, role";
            let profile = transaction
                .query_one(update, (id, role), read_profile)
                .optional()?;
            transaction.commit()?;
            Ok(profile)
        })
        .await
    }

    /// Runs `work` on a thread that may block, as SQLite does.
    async fn run<T, W>(&self, work: W) -> Result<T, BoxError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let connection = Arc::clone(&self.connection);
        let work = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(spawn_blocking(work).await??)
    }
}

fn read_profile(row: &Row<'_>) -> rusqlite::Result<Profile> {
    Ok(Profile {
        id: row.get(0)?,
        name: row.get(1)?,
        role: row.get(2)?,
    })
}
