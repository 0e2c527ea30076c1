//! Credentials, and the provider that may be asked for them.

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use store_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use crate::error::{self, Failure};

/// A password, and the user it belongs to. `Debug` does not show the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub(crate) username: Option<String>,
    pub(crate) password: Secret,
}

impl Credentials {
    /// Makes the credentials of an ACL user.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: Some(username.into()),
            password: Secret::new(password),
        }
    }

    /// Makes the credentials of the default user.
    #[must_use]
    pub fn password_only(password: impl Into<String>) -> Self {
        Self {
            username: None,
            password: Secret::new(password),
        }
    }
}

/// A password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Credentials>> + Send>>;

/// What is asked for credentials before each connection.
#[derive(Clone)]
pub(crate) struct Provider(Arc<dyn Fn() -> Answer + Send + Sync>);

impl Provider {
    pub(crate) fn new<P, F>(provider: P) -> Self
    where
        P: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Credentials>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(provider())))
    }

    /// Asks, and waits for at most `patience`.
    pub(crate) async fn ask(&self, patience: Duration) -> Result<Credentials, Failure> {
        let mut asked = Asked(None);
        let asked = poll_fn(|context| {
            let polled = catch_unwind(AssertUnwindSafe(|| {
                let answer = asked.0.get_or_insert_with(|| (self.0)());
                answer.as_mut().poll(context)
            }));
            polled.unwrap_or_else(|_panic| {
                Poll::Ready(Err(Error::new(ErrorKind::Backend, "it panicked")))
            })
        });
        match timeout(patience, asked).await {
            Ok(answer) => answer.map_err(|cause| error::no_credentials(&cause)),
            Err(_elapsed) => Err(error::no_credentials_in_time(patience)),
        }
    }
}

/// An answer that is waited for. A panic, also when it is dropped, would end the task that keeps the
/// connection.
struct Asked(Option<Answer>);

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.0 = None));
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a function)")
    }
}

impl PartialEq for Provider {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Provider {}

#[cfg(test)]
mod tests {
    use super::*;

    async fn failure(provider: Provider) -> Failure {
        provider.ask(Duration::from_secs(1)).await.unwrap_err()
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", Credentials::new("app", "hunter2"));
        assert!(shown.contains("app") && !shown.contains("hunter2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_fails_panics_or_hangs_is_a_failure() {
        let denied = || async { Err(Error::new(ErrorKind::PermissionDenied, "no token")) };
        let failed = failure(Provider::new(denied)).await;
        assert_eq!(failed.kind, ErrorKind::PermissionDenied);
        assert!(failed.is_refusal && failed.to_string().contains("no token"));
        let panics = || async { panic!("a bug") };
        let failed = failure(Provider::new(panics)).await;
        assert_eq!(failed.kind, ErrorKind::Unavailable);
        assert!(failed.to_string().contains("it panicked"), "{failed}");
        let began = tokio::time::Instant::now();
        let failed = failure(Provider::new(std::future::pending)).await;
        assert_eq!(began.elapsed().as_secs(), 1);
        assert!(failed.to_string().contains("within 1s"), "{failed}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_panics_when_it_is_given_up_is_a_failure() {
        struct Bug;
        impl Drop for Bug {
            fn drop(&mut self) {
                panic!("a bug");
            }
        }
        let panics = || async {
            let _bug = Bug;
            std::future::pending().await
        };
        let failed = failure(Provider::new(panics)).await;
        assert!(failed.to_string().contains("within 1s"), "{failed}");
    }
}
