//! Listing keys with `SCAN`.

use async_trait::async_trait;
use store_core::{Error, ErrorKind, Result, Scan, ScanPage};

use crate::driver::RedisDriver;
use crate::{command, reply};

#[async_trait]
impl Scan for RedisDriver {
    /// One `SCAN` step; `page_size` is its `COUNT`, at most 100,000. The cursor is the server's, and
    /// the number of the connection that it came from: a server that was restarted, and another one
    /// behind the same name, would take it and leave keys out. So a scan whose connection is replaced
    /// ends with `Unavailable`.
    ///
    /// A key that is not UTF-8 cannot be named, and is left out.
    async fn scan_page(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        let (generation, cursor) = match cursor.map(parse_cursor).transpose()? {
            Some((generation, cursor)) => (Some(generation), cursor),
            None => (None, 0),
        };
        let request = || command::scan(prefix, cursor, page_size);
        let page = self.link.call_on(generation, request, reply::page);
        let ((next, keys), generation) = page.await?;
        Ok(ScanPage {
            keys: named(keys, prefix),
            cursor: (next != 0).then(|| format!("{generation}.{next}")),
        })
    }
}

/// The generation of the connection, and the server's cursor.
fn parse_cursor(cursor: &str) -> Result<(u64, u64)> {
    let parsed = cursor.split_once('.').and_then(|(generation, cursor)| {
        let parsed: (u64, u64) = (generation.parse().ok()?, cursor.parse().ok()?);
        Some(parsed)
    });
    // Only what a page gave out: `0`, which ends a scan, would begin another one.
    match parsed {
        Some((generation, number)) if number != 0 && format!("{generation}.{number}") == cursor => {
            Ok((generation, number))
        }
        _ => Err(Error::new(
            ErrorKind::InvalidInput,
            "this is no cursor of a scan; pass the one that came with the last page, or none to \
             begin",
        )),
    }
}

/// The keys that can be named and begin with `prefix`, whatever the server's matcher thinks.
fn named(keys: Vec<Vec<u8>>, prefix: &str) -> Vec<String> {
    let keys = keys
        .into_iter()
        .filter_map(|key| String::from_utf8(key).ok());
    keys.filter(|key| key.starts_with(prefix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_a_page_gave_out() {
        let last = u64::MAX.to_string();
        assert_eq!(parse_cursor(&format!("1.{last}")).unwrap(), (1, u64::MAX));
        for cursor in [
            "",
            "5",
            "1.",
            ".5",
            "1.0",
            "1.x",
            "1.-1",
            "1.+1",
            "1.01",
            "01.1",
            "1.1.1",
            " 1.1",
            "1.18446744073709551616",
        ] {
            let error = parse_cursor(cursor).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{cursor:?}");
        }
    }

    #[test]
    fn only_nameable_keys_below_the_prefix_are_listed() {
        let keys = [b"a:1".as_slice(), b"a:\xff", b"ba:1", b"a"].map(<[u8]>::to_vec);
        assert_eq!(named(keys.to_vec(), "a:"), ["a:1"]);
    }
}
