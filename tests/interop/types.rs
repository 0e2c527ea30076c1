//! The values that both sides of the interop tests know.

use serde::{Deserialize, Serialize};

/// A cached profile, as a service in Node writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) roles: Vec<String>,
}

impl User {
    /// One whose name needs escapes and more than one byte a character.
    pub(crate) fn ada() -> Self {
        Self {
            id: 1,
            name: "Ada \"é😀\u{2028}\u{1}".to_owned(),
            roles: vec!["admin".to_owned()],
        }
    }
}

/// What is published on `user-events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    content = "payload",
    rename_all = "SCREAMING_SNAKE_CASE",
    rename_all_fields = "camelCase"
)]
pub(crate) enum UserEvent {
    RoleUpdated { user_id: String },
}

impl UserEvent {
    pub(crate) fn role_updated(user_id: &str) -> Self {
        Self::RoleUpdated {
            user_id: user_id.to_owned(),
        }
    }
}

/// What `@igniter-js/store` puts around the data of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Envelope<T> {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) data: T,
    pub(crate) timestamp: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<EnvelopeScope>,
}

/// The innermost scope that an event of `@igniter-js/store` was published in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EnvelopeScope {
    pub(crate) key: String,
    pub(crate) identifier: String,
}
