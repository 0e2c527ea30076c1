//! The HTTP API: paths, what a request must look like, and how an error is answered.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use crate::BoxError;
use crate::db::Profile;
use crate::profiles::{Profiles, RoleError, Source};

/// Says where an answer came from: `hit` for the cache, `miss` for the database.
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// The longest role, in bytes.
const MAX_ROLE_LEN: usize = 32;

/// The API over `profiles`.
pub fn router(profiles: Arc<Profiles>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/users/{id}", get(show_user))
        .route("/users/{id}/role", patch(change_role))
        .fallback(|| async { ApiError::NotFound("there is no such path".to_owned()) })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .with_state(profiles)
}

async fn health(State(profiles): State<Arc<Profiles>>) -> Response {
    let health = profiles.events_health().await;
    let status = match health.is_up() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = json!({ "events": format!("{:?}", health.state), "cause": health.cause });
    (status, Json(body)).into_response()
}

async fn show_user(
    State(profiles): State<Arc<Profiles>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    let found = profiles.get(id).await.map_err(ApiError::Internal)?;
    let (profile, source) = found.ok_or_else(|| no_user(id))?;
    let x_cache = match source {
        Source::Cache => "hit",
        Source::Database => "miss",
    };
    Ok(([(X_CACHE, x_cache)], Json(profile)).into_response())
}

/// The body of `PATCH /users/{id}/role`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleChange {
    role: String,
}

async fn change_role(
    State(profiles): State<Arc<Profiles>>,
    Path(id): Path<String>,
    body: Result<Json<RoleChange>, JsonRejection>,
) -> Result<Json<Profile>, ApiError> {
    let id = parse_id(&id)?;
    let Json(RoleChange { role }) = body?;
    check_role(&role)?;
    let changed = profiles.set_role(id, role).await?;
    changed.map(Json).ok_or_else(|| no_user(id))
}

fn parse_id(text: &str) -> Result<u32, ApiError> {
    text.parse().map_err(|_| {
        ApiError::Invalid(format!(
            "a user id is a number from 0 to {}, not {text:?}",
            u32::MAX
        ))
    })
}

fn check_role(role: &str) -> Result<(), ApiError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MAX_ROLE_LEN).contains(&role.len()) && role.bytes().all(allowed) {
        return Ok(());
    }
    Err(ApiError::Invalid(format!(
        "a role has 1 to {MAX_ROLE_LEN} characters out of a-z, 0-9 and -, which {role:?} has not"
    )))
}

fn no_user(id: u32) -> ApiError {
    ApiError::NotFound(format!("there is no user {id}"))
}

/// Why a request was not answered with what it asked for.
enum ApiError {
    Invalid(String),
    Body(JsonRejection),
    NotFound(String),
    MethodNotAllowed,
    NotAnnounced(igniter_store::Error),
    Internal(BoxError),
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::Body(rejection)
    }
}

impl From<RoleError> for ApiError {
    fn from(error: RoleError) -> Self {
        match error {
            RoleError::Failed(error) => Self::Internal(error),
            RoleError::NotAnnounced(error) => Self::NotAnnounced(error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Invalid(text) => (StatusCode::BAD_REQUEST, text),
            Self::Body(rejection) => (rejection.status(), rejection.body_text()),
            Self::NotFound(text) => (StatusCode::NOT_FOUND, text),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not have this method".to_owned(),
            ),
            Self::NotAnnounced(error) => {
                eprintln!("profile-service: {error}");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the role is changed, but the other processes could not be told and may \
                     answer the old one for a minute; to repeat the request is safe"
                        .to_owned(),
                )
            }
            // What went wrong inside is for the log, not for the client.
            Self::Internal(error) => {
                eprintln!("profile-service: {error}");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the service failed; its log says why".to_owned(),
                )
            }
        };
        (status, Json(json!({ "error": text }))).into_response()
    }
}
