//! What a driver says of its backend's state.

use std::time::Duration;

/// The state of a backend, as its driver sees it.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether operations can be expected to work now.
    pub state: HealthState,
    /// How long the backend took to answer, where it was asked.
    pub latency: Option<Duration>,
    /// Why the state is not [`HealthState::Up`], free of secrets.
    pub cause: Option<String>,
    /// The number of the current connection, from 1; 0 where a driver has no connection.
    pub generation: u64,
    /// How often a lost connection was replaced.
    pub reconnects: u64,
}

/// Whether a backend works.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Operations work.
    Up,
    /// The backend does not answer or refuses; the driver is trying to get it back.
    Down,
    /// The store was closed.
    Closed,
}

impl Health {
    /// A backend that answered within `latency`.
    #[must_use]
    pub fn up(latency: Duration) -> Self {
        Self {
            latency: Some(latency),
            ..Self::of(HealthState::Up)
        }
    }

    /// A backend that does not work, and why.
    #[must_use]
    pub fn down(cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::of(HealthState::Down)
        }
    }

    /// A store that was closed.
    #[must_use]
    pub fn closed() -> Self {
        Self {
            cause: Some("the store was closed".to_owned()),
            ..Self::of(HealthState::Closed)
        }
    }

    /// Adds the number of the connection and how often one was replaced.
    #[must_use]
    pub fn with_connection(mut self, generation: u64, reconnects: u64) -> Self {
        self.generation = generation;
        self.reconnects = reconnects;
        self
    }

    /// Whether the state is [`HealthState::Up`].
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == HealthState::Up
    }

    fn of(state: HealthState) -> Self {
        Self {
            state,
            latency: None,
            cause: None,
            generation: 0,
            reconnects: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_says_what_is_known_of_it() {
        let latency = Duration::from_millis(3);
        let up = Health::up(latency).with_connection(5, 4);
        assert!(up.is_up());
        assert_eq!((up.latency, up.cause), (Some(latency), None));
        assert_eq!((up.generation, up.reconnects), (5, 4));
        for (health, state, cause) in [
            (Health::down("no answer"), HealthState::Down, "no answer"),
            (
                Health::closed(),
                HealthState::Closed,
                "the store was closed",
            ),
        ] {
            assert!(!health.is_up());
            assert_eq!(health.state, state);
            assert_eq!(
                (health.latency, health.cause.as_deref()),
                (None, Some(cause))
            );
        }
    }
}
