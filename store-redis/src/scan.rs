//! Listing keys with `SCAN`.

use async_trait::async_trait;
use store_core::{Error, ErrorKind, Result, Scan, ScanPage};

use crate::driver::RedisDriver;
use crate::{command, reply};

#[async_trait]
impl Scan for RedisDriver {
    /// One `SCAN` step; `page_size` is its `COUNT`, and the cursor is the server's.
    ///
    /// A key that is not UTF-8 cannot be named, and is left out.
    async fn scan_page(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        let cursor = parse_cursor(cursor)?;
        let request = || command::scan(prefix, cursor, page_size);
        let (next, keys) = self.link.call(request, reply::page).await?;
        Ok(ScanPage {
            keys: named(keys, prefix),
            cursor: (next != 0).then(|| next.to_string()),
        })
    }
}

/// The server's cursor; 0 begins.
fn parse_cursor(cursor: Option<&str>) -> Result<u64> {
    let Some(cursor) = cursor else {
        return Ok(0);
    };
    let parsed = cursor.parse::<u64>();
    // Only what a page gave out: `0`, which ends a scan, would begin another one.
    match parsed {
        Ok(number) if number != 0 && number.to_string() == cursor => Ok(number),
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
        assert_eq!(parse_cursor(None).unwrap(), 0);
        assert_eq!(
            parse_cursor(Some("18446744073709551615")).unwrap(),
            u64::MAX
        );
        for cursor in ["", "0", "x", "-1", "+1", "01", " 1", "18446744073709551616"] {
            let error = parse_cursor(Some(cursor)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{cursor:?}");
        }
    }

    #[test]
    fn only_nameable_keys_below_the_prefix_are_listed() {
        let keys = [b"a:1".as_slice(), b"a:\xff", b"ba:1", b"a"].map(<[u8]>::to_vec);
        assert_eq!(named(keys.to_vec(), "a:"), ["a:1"]);
    }
}
