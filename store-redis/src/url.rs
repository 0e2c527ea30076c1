//! Reading options from a URL.
//!
//! By hand, so that each mistake gets an answer of its own and no error repeats a password.

use std::str::FromStr;
use std::time::Duration;

use store_core::{Error, ErrorKind, Result};

use crate::options::{Address, Protocol, RedisOptions, Secret};

const SHAPE: &str = "write redis://[user:password@]host[:port][/database]";

/// Reads `url`; see [`RedisOptions::from_url`].
pub(crate) fn parse(url: &str) -> Result<RedisOptions> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(invalid(format!("the URL has no scheme; {SHAPE}")));
    };
    let unix = match scheme {
        "redis" => false,
        "redis+unix" | "unix" => true,
        "rediss" => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this build has no TLS, so rediss:// is not available; use redis:// over a trusted \
                 network or a local TLS proxy",
            ));
        }
        _ => {
            return Err(invalid(format!(
                "unknown scheme {:?}; it must be redis or redis+unix",
                shown(scheme)
            )));
        }
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    // An `@` this late means that a `/`, `?` or `#` before it belongs to a password. The text is
    // not repeated, here or anywhere else where a part of a password may have ended up.
    if tail.contains('@') {
        return Err(invalid(
            "there is an `@` behind the host; percent-encode the characters @ : / ? # % in user, \
             password and options (`/` as %2F, `@` as %40)",
        ));
    }
    let (path, query) = match tail.split_once('?') {
        Some((path, query)) => (path, query),
        None => (tail, ""),
    };
    if path.contains('#') || query.contains('#') {
        return Err(invalid(
            "a Redis URL has no `#` part; percent-encode it as %23",
        ));
    }
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, authority),
    };

    let mut options = RedisOptions::default();
    if let Some(credentials) = credentials {
        read_credentials(&mut options, credentials)?;
    }
    if unix {
        if !host.is_empty() || path.len() < 2 {
            return Err(invalid(
                "a Unix socket needs an absolute path: redis+unix:///run/redis.sock",
            ));
        }
        options.address = Address::Unix(decode(path, "the path")?.into());
    } else {
        options.address = read_host(host)?;
        options.database = read_database(path.strip_prefix('/').unwrap_or(path))?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        read_option(&mut options, pair, unix)?;
    }
    options.validate()?;
    Ok(options)
}

fn read_credentials(options: &mut RedisOptions, credentials: &str) -> Result<()> {
    let Some((username, password)) = credentials.split_once(':') else {
        return Err(invalid(
            "before the `@` stands a user without a password; write user:password@host, or \
             :password@host for the default user",
        ));
    };
    if !username.is_empty() {
        options.username = Some(decode(username, "the user")?);
    }
    // An ACL user may have an empty password (`nopass`); `:@` means no credentials at all.
    if !password.is_empty() || options.username.is_some() {
        options.password = Some(Secret::new(decode(password, "the password")?));
    }
    Ok(())
}

fn read_host(text: &str) -> Result<Address> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let Some((host, port)) = bracketed.split_once(']') else {
            return Err(invalid(
                "the `[` of an IPv6 address is not closed: [::1]:6379",
            ));
        };
        (
            host,
            port.strip_prefix(':').or(port.is_empty().then_some("")),
        )
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        }
    };
    let port = match port {
        Some("") => Some(6379),
        Some(port) => port.parse().ok().filter(|port| *port != 0),
        None => None,
    };
    let Some(port) = port else {
        return Err(invalid(format!(
            "the port is not a number from 1 to 65535; {SHAPE}, an IPv6 address in brackets, and \
             percent-encode special characters of a password"
        )));
    };
    Ok(Address::Tcp {
        host: if host.is_empty() {
            "127.0.0.1".to_owned()
        } else {
            decode(host, "the host")?
        },
        port,
    })
}

fn read_database(text: &str) -> Result<u32> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        invalid(format!(
            "the database {:?} is not a number; {SHAPE}, such as redis://localhost/2",
            shown(text)
        ))
    })
}

fn read_option(options: &mut RedisOptions, pair: &str, unix: bool) -> Result<()> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let value = decode(value, "the query")?;
    match name {
        "protocol" => {
            options.protocol = match value.as_str() {
                "resp2" | "2" => Protocol::Resp2,
                "resp3" | "3" => Protocol::Resp3,
                _ => return Err(invalid("the protocol is resp2 or resp3: ?protocol=resp3")),
            }
        }
        "client_name" => options.client_name = value,
        "call_timeout_ms" => {
            options.call_timeout = Duration::from_millis(number(name, &value)?);
        }
        "connect_timeout_ms" => {
            options.connect_timeout = Duration::from_millis(number(name, &value)?);
        }
        "subscription_buffer" => options.subscription_buffer = number(name, &value)?,
        "db" if unix => options.database = read_database(&value)?,
        "db" => {
            return Err(invalid(
                "the database stands in the path: redis://localhost/2",
            ));
        }
        _ => {
            return Err(invalid(format!(
                "unknown option {:?}; there are protocol, client_name, call_timeout_ms, \
                 connect_timeout_ms, subscription_buffer, and db for a Unix socket",
                shown(name)
            )));
        }
    }
    Ok(())
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T> {
    value
        .parse()
        .map_err(|_| invalid(format!("the option {name} is not a number: ?{name}=500")))
}

fn decode(text: &str, place: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        if *byte != b'%' {
            bytes.push(*byte);
            rest = after;
            continue;
        }
        let digits = after.split_at_checked(2).and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok()?;
            // `from_str_radix` would take a sign.
            let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let byte = u8::from_str_radix(digits, 16).ok().filter(|_| plain)?;
            Some((byte, after))
        });
        let Some((byte, after)) = digits else {
            return Err(invalid(format!(
                "{place} has a `%` without two hexadecimal digits behind it; write % as %25"
            )));
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| invalid(format!("{place} is not UTF-8")))
}

/// As much of a mistaken part as an error should repeat.
fn shown(text: &str) -> String {
    text.chars().take(32).collect()
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn the_parts_of_a_url_are_read() {
        let options = parse("redis://app:p%40ss@cache.internal:6380/3?protocol=resp2").unwrap();
        let expected = RedisOptions::default()
            .with_address("cache.internal", 6380)
            .with_username("app")
            .with_password("p@ss")
            .with_database(3)
            .with_protocol(Protocol::Resp2);
        assert_eq!(options, expected);
    }

    #[test]
    fn missing_parts_have_defaults() {
        assert_eq!(parse("redis://").unwrap(), RedisOptions::default());
        assert_eq!(parse("redis:///1").unwrap().database, 1);
        let address = |url| parse(url).unwrap().address;
        assert_eq!(address("redis://h"), tcp("h", 6379));
        assert_eq!(address("redis://[::1]"), tcp("::1", 6379));
        assert_eq!(address("redis://[::1]:7000/"), tcp("::1", 7000));
        let only_password = parse("redis://:x@h").unwrap();
        assert_eq!(only_password.username, None);
        assert_eq!(only_password.password, Some(Secret::new("x")));
    }

    #[test]
    fn a_unix_socket_is_a_path() {
        for url in [
            "redis+unix:///run/redis.sock?db=2",
            "unix:///run/redis.sock?db=2",
        ] {
            let options = parse(url).unwrap();
            assert_eq!(options.address, Address::Unix("/run/redis.sock".into()));
            assert_eq!(options.database, 2);
        }
    }

    #[test]
    fn options_stand_in_the_query() {
        let url = "redis://h?call_timeout_ms=250&connect_timeout_ms=900&subscription_buffer=7\
                   &client_name=billing";
        let expected = RedisOptions::default()
            .with_address("h", 6379)
            .with_call_timeout(Duration::from_millis(250))
            .with_connect_timeout(Duration::from_millis(900))
            .with_subscription_buffer(7)
            .with_client_name("billing");
        assert_eq!(parse(url).unwrap(), expected);
    }

    #[test]
    fn a_mistake_is_named_with_what_would_be_right() {
        for (url, expected) in [
            ("localhost:6379", "no scheme"),
            ("http://h", "unknown scheme \"http\""),
            ("redis://h/two", "database \"two\" is not a number"),
            ("redis://h/-1", "database \"-1\" is not a number"),
            ("redis://h/1/2", "is not a number"),
            ("redis://h:0", "port is not a number from 1 to 65535"),
            ("redis://h:65536", "port is not a number from 1 to 65535"),
            ("redis://::1", "IPv6 address in brackets"),
            ("redis://[::1", "not closed"),
            ("redis://h?protocol=resp4", "resp2 or resp3"),
            ("redis://h?ttl=4", "unknown option \"ttl\""),
            ("redis://h?db=1", "redis://localhost/2"),
            ("redis://h?call_timeout_ms=soon", "call_timeout_ms=500"),
            ("redis://h?call_timeout_ms=0", "timeout of zero"),
            ("redis://h#1", "no `#` part"),
            ("redis://user@h", "user:password@host"),
            ("redis://:%zz@h", "write % as %25"),
            ("redis://:%+1@h", "write % as %25"),
            ("unix://socket", "absolute path"),
            ("redis+unix://", "absolute path"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            let text = error.to_string();
            assert!(text.contains(expected), "{url}: {text}");
        }
    }

    #[test]
    fn tls_is_refused_clearly() {
        let error = parse("rediss://h").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("rediss://"), "{error}");
    }

    #[test]
    fn no_error_repeats_a_password() {
        for url in [
            "redis://app:hun/ter2@h",
            "redis://app:hun?ter2@h",
            "redis://app:hun#ter2@h",
            "redis://app:hunter2%@h",
            "redis://:hunter2%ff@h",
            "redis://app:hunter2@h:port",
            "redis://app:hunter2@h/db",
            "redis://app:hunter2@h?x=y",
            "redis://a:hunter2/x",
            "redis://app:a@hun/ter2@h",
            "redis+unix://app:hunter2@h/x",
            "http://app:hunter2@h",
        ] {
            let error = parse(url).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(
                !text.contains("hun") && !text.contains("ter2"),
                "{url}: {text}"
            );
        }
    }
}
