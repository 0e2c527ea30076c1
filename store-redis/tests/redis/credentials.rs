//! Credentials that change while the driver lives.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Admin, Server, soon};
use futures_util::StreamExt;
use store_core::{Error, ErrorKind, Health, HealthState, RawEvent, StoreAdapter};
use store_redis::{Credentials, Protocol, RedisDriver};

fn set_password(admin: &mut Admin, password: &str) {
    let password = format!(">{password}");
    let user = ["ACL", "SETUSER", "app", "on", "resetpass", &password];
    admin.run(&[&user[..], &["allkeys", "allchannels", "allcommands"]].concat());
}

/// Sets another password, and ends the connections that were made with the last one.
fn rotate_password(admin: &mut Admin, password: &str) {
    set_password(admin, password);
    admin.try_run(&["CLIENT", "KILL", "USER", "app"]).ok();
}

/// The state, once its cause says `expected`.
async fn down_because(driver: &RedisDriver, expected: &str) -> Health {
    let found = async {
        loop {
            let health = driver.health().await;
            let cause = health.cause.as_deref().unwrap_or_default();
            if health.state == HealthState::Down && cause.contains(expected) {
                return health;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(expected, found).await
}

async fn works_again(driver: &RedisDriver) {
    let works = async {
        while let Err(error) = driver.get("k").await {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        }
    };
    soon("the driver works again", works).await;
}

#[tokio::test]
async fn a_password_that_is_rotated_away_and_back_is_survived() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    set_password(&mut admin, "right");
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let options = server.options().protocol(protocol);
        let options = options.username("app").password("right");
        let driver = RedisDriver::connect_with(options).await.unwrap();
        rotate_password(&mut admin, "other");
        let health = down_because(&driver, "refused the credentials").await;
        assert_eq!(health.generation, 1);
        let denied = driver.get("k").await.unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied, "{denied}");
        // Nothing is ended: an attempt may be accepted at any time from here on.
        set_password(&mut admin, "right");
        works_again(&driver).await;
        assert_eq!(driver.health().await.reconnects, 1);
    }
}

#[tokio::test]
async fn a_provider_is_asked_before_each_connection_and_not_too_often() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    rotate_password(&mut admin, "first");
    let current = Arc::new(Mutex::new("first".to_owned()));
    let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let options = server.options().credentials_provider({
        let (current, asked) = (Arc::clone(&current), Arc::clone(&asked));
        move || {
            asked.lock().unwrap().push(Instant::now());
            let password = current.lock().unwrap().clone();
            async { Ok(Credentials::new("app", password)) }
        }
    });
    let driver = RedisDriver::connect_with(options).await.unwrap();
    assert!(!format!("{driver:?}").contains("first"));
    rotate_password(&mut admin, "second");
    down_because(&driver, "refused the credentials").await;
    let refused = async {
        while asked.lock().unwrap().len() < 4 {
            let _ = driver.get("k").await;
        }
    };
    soon("the provider is asked again", refused).await;
    *current.lock().unwrap() = "second".to_owned();
    works_again(&driver).await;
    // The first was for the connection that was lost, the second came at once.
    let asked = asked.lock().unwrap().clone();
    for pair in asked[1..].windows(2) {
        let apart = pair[1].duration_since(pair[0]);
        assert!(apart >= Duration::from_secs(1), "{apart:?}");
    }
}

#[tokio::test]
async fn a_provider_serves_the_subscriptions_too() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    rotate_password(&mut admin, "first");
    let current = Arc::new(Mutex::new("first".to_owned()));
    let provided = Arc::clone(&current);
    let options = server.options().credentials_provider(move || {
        let password = provided.lock().unwrap().clone();
        async { Ok(Credentials::new("app", password)) }
    });
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let mut subscription = driver.subscribe("c").await.unwrap();
    *current.lock().unwrap() = "second".to_owned();
    rotate_password(&mut admin, "second");
    let gap = soon("a gap", subscription.next()).await;
    assert!(matches!(gap, Some(RawEvent::Gap(_))), "{gap:?}");
    works_again(&driver).await;
    driver.publish("c", b"m").await.unwrap();
    let message = soon("a message", subscription.next()).await;
    assert!(
        matches!(message, Some(RawEvent::Message { .. })),
        "{message:?}"
    );
}

#[tokio::test]
async fn a_provider_that_fails_is_named_in_the_health() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let works = Arc::new(Mutex::new(true));
    let provided = Arc::clone(&works);
    rotate_password(&mut admin, "right");
    let options = server.options().credentials_provider(move || {
        let works = *provided.lock().unwrap();
        async move {
            if works {
                return Ok(Credentials::new("app", "right"));
            }
            Err(Error::new(ErrorKind::Unavailable, "the vault is sealed"))
        }
    });
    let driver = RedisDriver::connect_with(options.clone()).await.unwrap();
    *works.lock().unwrap() = false;
    let error = RedisDriver::connect_with(options).await.unwrap_err();
    assert!(error.to_string().contains("the vault is sealed"), "{error}");
    admin.run(&["CLIENT", "KILL", "USER", "app"]);
    down_because(&driver, "the vault is sealed").await;
    *works.lock().unwrap() = true;
    let again = async { while driver.get("k").await.is_err() {} };
    soon("the driver works again", again).await;
}
