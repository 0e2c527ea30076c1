//! Choosing the driver by URL, and what is said when that fails.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use igniter_store::{Error, ErrorKind, connect_adapter};

async fn refusal(url: &str) -> Error {
    match connect_adapter(url).await {
        Ok(adapter) => panic!("{url} gave a {} driver", adapter.name()),
        Err(error) => error,
    }
}

#[tokio::test]
async fn an_unknown_scheme_is_answered_with_the_known_ones() {
    let error = refusal("memcached://localhost").await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        error.to_string(),
        "connect: no driver has the scheme \"memcached\"; there are memory:, redis://, rediss:// \
         and redis+unix://"
    );
}

#[tokio::test]
async fn a_text_that_is_no_url_is_not_repeated() {
    for url in [
        "",
        "hunter2@localhost",
        "hunter2@localhost:6379",
        "hunter2:",
        "hunter2:6379",
        "redis:hunter2://localhost",
        ":hunter2@localhost:6379",
        "user:hunter2://@localhost",
        "hunter2://pass@localhost",
        "2hunter2://localhost",
        "//hunter2://localhost",
    ] {
        let error = refusal(url).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(
            error
                .to_string()
                .ends_with("write for example memory: or redis://127.0.0.1:6379")
        );
    }
}

#[cfg(all(feature = "memory", feature = "json"))]
#[tokio::test]
async fn memory_is_a_store_of_its_own_for_each_call() -> igniter_store::Result<()> {
    let first = igniter_store::connect("memory:").await?;
    let second = igniter_store::connect("memory:").await?;
    first.set("k", &1).await?;
    assert!(!second.has("k").await?);
    assert_eq!(connect_adapter("memory://").await?.name(), "memory");
    assert_eq!(refusal("memory:x").await.kind(), ErrorKind::InvalidInput);
    let error = igniter_store::connect("memory:x").await.unwrap_err();
    assert_eq!(error.operation(), Some("connect"));
    Ok(())
}

#[cfg(all(feature = "memory", feature = "json"))]
#[tokio::test]
async fn the_environment_names_the_store() {
    let url = std::env::var("STORE_URL").unwrap_or_else(|_| "memory:".to_owned());
    let [named, connected] = [
        igniter_store::from_env().await,
        igniter_store::connect(&url).await,
    ]
    .map(|store| match store {
        Ok(store) => Ok(store.driver_name()),
        Err(error) => Err((error.kind(), error.operation())),
    });
    assert_eq!(named, connected);
}

#[cfg(all(feature = "memory", feature = "json"))]
#[test]
fn the_environment_names_the_store_whatever_it_says() {
    // The variables of a process are those of all its tests, so each case has a process.
    let tests = std::env::current_exe().unwrap();
    for url in [
        None,
        Some("memory://"),
        Some("memcached://localhost"),
        Some(""),
    ] {
        let mut test = std::process::Command::new(&tests);
        test.args(["--exact", "the_environment_names_the_store"]);
        match url {
            Some(url) => test.env("STORE_URL", url),
            None => test.env_remove("STORE_URL"),
        };
        let said = test.output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout);
        let is_well = said.status.success() && text.contains("1 passed");
        assert!(is_well, "{url:?}: {text}");
    }
}

#[cfg(feature = "memory")]
#[tokio::test]
async fn the_case_of_a_scheme_does_not_matter() -> igniter_store::Result<()> {
    assert_eq!(connect_adapter("MEMORY:").await?.name(), "memory");
    // Port 1 is reserved and has no listener.
    let error = refusal("Redis://127.0.0.1:1").await;
    let kind = if cfg!(feature = "redis") {
        ErrorKind::Unavailable
    } else {
        ErrorKind::Unsupported
    };
    assert_eq!(error.kind(), kind, "{error}");
    Ok(())
}

#[cfg(not(feature = "redis"))]
#[tokio::test]
async fn a_driver_that_is_not_compiled_in_names_its_feature() {
    for (url, feature) in [
        ("redis://127.0.0.1:6379", "redis"),
        ("rediss://127.0.0.1:6379", "redis-tls"),
        ("Rediss://127.0.0.1:6379", "redis-tls"),
        ("redis+unix:///run/redis.sock", "redis"),
    ] {
        let error = refusal(url).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let advice = format!("`cargo add igniter-store --features {feature}`");
        assert!(error.to_string().contains(&advice), "{error}");
    }
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn a_refused_connection_names_the_server_and_hides_the_password() {
    // Port 1 is reserved and has no listener.
    let error = refusal("redis://user:hunter2@127.0.0.1:1").await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = format!("{error} {error:?}");
    assert!(text.contains("127.0.0.1:1"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}
