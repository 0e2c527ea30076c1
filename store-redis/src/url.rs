//! Reading options from a URL.
//!
//! By hand, so that each mistake gets an answer of its own and no error repeats a password.

use std::str::FromStr;
use std::time::Duration;

use store_core::{Error, ErrorKind, Result};

use crate::credentials::Secret;
use crate::options::{Address, Protocol, RedisOptions};
#[cfg(feature = "tls")]
use crate::tls::{Pem, TlsOptions};

const SHAPE: &str = "write redis://[user:password@]host[:port][/database]";

/// Reads `url`; see [`RedisOptions::from_url`].
pub(crate) fn parse(url: &str) -> Result<RedisOptions> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(invalid(format!("the URL has no scheme; {SHAPE}")));
    };
    let mut options = RedisOptions::new();
    let unix = match &*scheme.to_ascii_lowercase() {
        "redis" => false,
        "redis+unix" | "unix" => true,
        "rediss" => {
            enable_tls(&mut options)?;
            false
        }
        // Not repeated: what stands there may be a password.
        _ => {
            return Err(invalid(format!(
                "the scheme is none of redis, rediss and redis+unix; {SHAPE}"
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
        let text = path.strip_prefix('/').unwrap_or(path);
        options.database = read_database(text, "redis://localhost/2")?;
    }
    let mut names = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        // There may be several authorities.
        if names.contains(&name) && name != "tls_ca" {
            return Err(invalid(format!(
                "the option {:?} is there twice",
                shown(name)
            )));
        }
        names.push(name);
        read_option(&mut options, pair, unix)?;
    }
    options.validate()?;
    Ok(options)
}

#[cfg(feature = "tls")]
fn enable_tls(options: &mut RedisOptions) -> Result<()> {
    options.tls = Some(TlsOptions::new());
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn enable_tls(_options: &mut RedisOptions) -> Result<()> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "this build has no TLS, which rediss:// needs; enable the feature \"tls\" of store-redis, \
         or \"redis-tls\" of igniter-store",
    ))
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

fn read_database(text: &str, example: &str) -> Result<u32> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        invalid(format!(
            "the database {:?} is not a number; write it as in {example}",
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
        "max_in_flight" => options.max_in_flight = number(name, &value)?,
        "allow_replica" => {
            options.allow_replica = match value.as_str() {
                "true" => true,
                "false" => false,
                _ => {
                    return Err(invalid(
                        "allow_replica is true or false: ?allow_replica=true",
                    ));
                }
            }
        }
        "subscription_buffer" => options.subscription_buffer = number(name, &value)?,
        "db" if unix => {
            options.database = read_database(&value, "redis+unix:///run/redis.sock?db=2")?;
        }
        "db" => {
            return Err(invalid(
                "the database stands in the path: redis://localhost/2",
            ));
        }
        _ if name.starts_with("tls_") => return read_tls_option(options, name, value),
        _ => {
            return Err(invalid(format!(
                "unknown option {:?}; there are protocol, client_name, call_timeout_ms, \
                 connect_timeout_ms, max_in_flight, subscription_buffer, allow_replica, db for a \
                 Unix socket, and tls_ca, tls_cert, tls_key and tls_server_name for rediss://",
                shown(name)
            )));
        }
    }
    Ok(())
}

#[cfg(feature = "tls")]
fn read_tls_option(options: &mut RedisOptions, name: &str, value: String) -> Result<()> {
    let Some(tls) = &mut options.tls else {
        return Err(tls_option_without_tls());
    };
    match name {
        "tls_ca" => tls.authorities.push(Pem::File(value.into())),
        "tls_cert" => tls.certificate = Some(Pem::File(value.into())),
        "tls_key" => tls.key = Some(Pem::File(value.into())),
        "tls_server_name" => tls.server_name = Some(value),
        _ => {
            return Err(invalid(format!(
                "unknown option {:?}; there are tls_ca, tls_cert, tls_key and tls_server_name",
                shown(name)
            )));
        }
    }
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn read_tls_option(_options: &mut RedisOptions, _name: &str, _value: String) -> Result<()> {
    Err(tls_option_without_tls())
}

fn tls_option_without_tls() -> Error {
    invalid("the options that begin with tls_ belong to TLS; write rediss:// instead of redis://")
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
mod tests;
