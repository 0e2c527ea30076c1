//! How it is checked that a value which was read is the one that belongs to its key.

use anyhow::{Result, bail, ensure};

use super::Encoded;
use crate::work::User;

/// A value that knows whose it is.
pub trait OfUser: Clone + Send + Sync + 'static {
    fn is_of(&self, id: usize) -> bool;
}

impl OfUser for User {
    fn is_of(&self, id: usize) -> bool {
        self.id == id as u64
    }
}

impl OfUser for Encoded {
    /// Reads the number that the JSON of a user begins with.
    fn is_of(&self, id: usize) -> bool {
        let Some(rest) = self.0.strip_prefix(b"{\"id\":") else {
            return false;
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')) == id
    }
}

/// Fails unless `value` is that of the user `id`.
pub fn must_be_of<V: OfUser>(value: Option<V>, id: usize) -> Result<()> {
    match value {
        Some(value) => ensure!(value.is_of(id), "the value of user {id} is another one's"),
        None => bail!("the value of user {id} is gone"),
    }
    Ok(())
}
