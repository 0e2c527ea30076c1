//! The Lua scripts: operations that Redis has no single command for.
//!
//! Each touches one key, declared in `KEYS`, and runs one command that writes, behind all that may be
//! refused: a script that fails in the middle is not rolled back. A counter never becomes a Lua number, which is exact
//! only up to 2^53: it is added to by `INCRBY` and read back as text.

use std::sync::OnceLock;

/// A script and the hash that `EVALSHA` calls it by.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) code: &'static str,
    hash: OnceLock<String>,
}

impl Source {
    const fn new(code: &'static str) -> Self {
        Self {
            code,
            hash: OnceLock::new(),
        }
    }

    pub(crate) fn hash(&self) -> &str {
        self.hash
            .get_or_init(|| redis::Script::new(self.code).get_hash().to_owned())
    }
}

/// Adds `ARGV[1]`; a counter that was absent gets the ttl `ARGV[2]`. Answers the sum as text.
pub(crate) static INCREMENT: Source = Source::new(
    "local current = redis.pcall('GET', KEYS[1])
if type(current) == 'table' then return current end
if not current then
  local done = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  if done.err then return done end
  return ARGV[1]
end
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) == 'table' then return sum end
return redis.call('GET', KEYS[1])",
);

/// Sets the value `ARGV[2]` if it is `ARGV[1]` now; further arguments are those of `SET`.
/// Answers 1 or 0.
pub(crate) static SET_IF_EQUALS: Source = Source::new(
    "local current = redis.pcall('GET', KEYS[1])
if type(current) == 'table' then return current end
if current ~= ARGV[1] then return 0 end
local done = redis.pcall('SET', KEYS[1], ARGV[2], unpack(ARGV, 3))
if done.err then return done end
return 1",
);

/// Deletes the key if its value is `ARGV[1]`. Answers 1 or 0.
pub(crate) static COMPARE_AND_DELETE: Source = Source::new(
    "local current = redis.pcall('GET', KEYS[1])
if type(current) == 'table' then return current end
if current ~= ARGV[1] then return 0 end
return redis.pcall('DEL', KEYS[1])",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_forty_hexadecimal_digits_and_the_scripts_differ() {
        let hashes = [&INCREMENT, &SET_IF_EQUALS, &COMPARE_AND_DELETE].map(Source::hash);
        for hash in hashes {
            assert_eq!(hash.len(), 40);
            assert!(hash.bytes().all(|digit| digit.is_ascii_hexdigit()));
        }
        assert_ne!(hashes[0], hashes[1]);
        assert_ne!(hashes[1], hashes[2]);
    }
}
