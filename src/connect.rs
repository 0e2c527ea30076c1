//! Chooses the driver by URL.

#[cfg(feature = "json")]
use std::env;
use std::sync::Arc;

#[cfg(feature = "json")]
use store_core::Store;
use store_core::{Error, ErrorKind, Result, StoreAdapter};

/// The environment variable that [`from_env`](crate::from_env) reads.
pub const STORE_URL: &str = "STORE_URL";

/// The URL that stands for the variable where it is not set.
#[cfg(feature = "json")]
const DEFAULT_URL: &str = "memory:";

/// Connects to the store that `url` names, with values as JSON.
///
/// | URL | driver | feature |
/// |---|---|---|
/// | `memory:` | a new store in this process | `memory` |
/// | `redis://[user:password@]host[:port][/database]` | Redis | `redis` |
/// | `rediss://…` | Redis over TLS | `redis-tls` |
/// | `redis+unix:///path` | Redis over a unix socket | `redis` |
///
/// The case of the scheme does not matter.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`] if the URL names no driver or is not one,
/// [`ErrorKind::Unsupported`] if its driver is not compiled in, with the feature to enable;
/// [`ErrorKind::Unavailable`] if the backend does not answer, [`ErrorKind::PermissionDenied`] if
/// it refuses the credentials.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> igniter_store::Result<()> {
/// let store = igniter_store::connect("memory:").await?;
/// store.set("greeting", "hello").await?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "json")]
pub async fn connect(url: &str) -> Result<Store> {
    connect_adapter(url).await.map(Store::from_adapter)
}

/// Connects to the store that the environment variable `STORE_URL` names; without it, to
/// `memory:`.
///
/// # Errors
///
/// As [`connect`].
#[cfg(feature = "json")]
pub async fn from_env() -> Result<Store> {
    match env::var(STORE_URL) {
        Ok(url) => connect(&url).await,
        Err(env::VarError::NotPresent) => connect(DEFAULT_URL).await,
        Err(env::VarError::NotUnicode(_)) => Err(in_connect(Error::new(
            ErrorKind::InvalidInput,
            "the environment variable STORE_URL is not UTF-8",
        ))),
    }
}

/// Connects to the backend that `url` names, as [`connect`](crate::connect) does, and answers the
/// driver alone, for a store with another codec: `Store::from_parts(adapter, codec)`.
///
/// # Errors
///
/// As [`connect`](crate::connect).
pub async fn connect_adapter(url: &str) -> Result<Arc<dyn StoreAdapter>> {
    open(url).await.map_err(in_connect)
}

async fn open(url: &str) -> Result<Arc<dyn StoreAdapter>> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(names_no_driver(url));
    };
    let scheme = scheme.to_ascii_lowercase();
    match &*scheme {
        "memory" => open_memory(rest),
        "redis" | "rediss" | "redis+unix" | "unix" if rest.starts_with("//") => {
            open_redis(&format!("{scheme}:{rest}")).await
        }
        _ => Err(names_no_driver(url)),
    }
}

fn names_no_driver(url: &str) -> Error {
    let message = match unknown_scheme(url) {
        Some(scheme) => format!(
            "no driver has the scheme {scheme:?}; there are memory:, redis://, rediss:// and \
             redis+unix://"
        ),
        None => format!(
            "{}; write for example memory: or redis://127.0.0.1:6379",
            if url.is_empty() {
                "the URL is empty"
            } else {
                "no driver takes this URL"
            }
        ),
    };
    Error::new(ErrorKind::InvalidInput, message)
}

/// The scheme of `url`, where it can be shown.
///
/// What has no scheme may be anything, a password too, and with an `@` behind it what looks like a
/// scheme may be the beginning of one.
fn unknown_scheme(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, '+' | '-' | '.'));
    (is_scheme && !rest.contains('@')).then_some(scheme)
}

#[cfg(feature = "memory")]
fn open_memory(rest: &str) -> Result<Arc<dyn StoreAdapter>> {
    if !matches!(rest, "" | "//") {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "a memory: URL has nothing behind the colon; options are set with \
             MemoryDriver::with_options",
        ));
    }
    Ok(Arc::new(store_memory::MemoryDriver::new()))
}

#[cfg(not(feature = "memory"))]
fn open_memory(_rest: &str) -> Result<Arc<dyn StoreAdapter>> {
    Err(not_compiled_in("memory", "memory"))
}

#[cfg(feature = "redis")]
async fn open_redis(url: &str) -> Result<Arc<dyn StoreAdapter>> {
    Ok(Arc::new(store_redis::RedisDriver::connect(url).await?))
}

#[cfg(not(feature = "redis"))]
async fn open_redis(url: &str) -> Result<Arc<dyn StoreAdapter>> {
    Err(not_compiled_in(
        "redis",
        if url.starts_with("rediss:") {
            "redis-tls"
        } else {
            "redis"
        },
    ))
}

#[cfg(not(all(feature = "memory", feature = "redis")))]
fn not_compiled_in(driver: &str, feature: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "the {driver} driver is not compiled in; enable the feature {feature:?} of \
             igniter-store, as in `cargo add igniter-store --features {feature}`"
        ),
    )
}

fn in_connect(error: Error) -> Error {
    error.with_operation("connect")
}
