//! A Redis in a container, for machines that have docker and no `redis-server`.
//!
//! Separate from the suite, and a workspace of its own, so that nobody else pays for the build of
//! testcontainers.

use std::env;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

/// The variable that names the image, as `name:tag`.
pub const IMAGE_VARIABLE: &str = "STORE_REDIS_IMAGE";

const DEFAULT_IMAGE: &str = "redis:7.4";
const PORT: u16 = 6379;

/// How long an image may take to be fetched and to start.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The URL of a Redis in a container that is started once for this process and removed when the
/// process ends, in whatever way.
///
/// It is meant for `store_conformance::server::shared_url_or`.
///
/// # Errors
///
/// Why there is no container, such as a missing docker daemon, and what would help.
pub fn redis_url() -> Result<String, String> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    let server = SERVER
        .get_or_init(|| {
            // On a thread of its own: testcontainers blocks, which a task of a runtime must not.
            let started = thread::spawn(Server::start).join();
            started.unwrap_or_else(|_| Err("testcontainers panicked".to_owned()))
        })
        .as_ref();
    server
        .map(|server| server.url.clone())
        .map_err(Clone::clone)
}

struct Server {
    url: String,
    _container: Container<GenericImage>,
    _guard: Child,
}

impl Server {
    fn start() -> Result<Self, String> {
        let image = env::var(IMAGE_VARIABLE).unwrap_or_else(|_| DEFAULT_IMAGE.to_owned());
        let Some((name, tag)) = image.rsplit_once(':') else {
            return Err(format!(
                "{IMAGE_VARIABLE} is {image:?}; write name:tag, such as {DEFAULT_IMAGE}"
            ));
        };
        let failed = |error: &dyn std::fmt::Display| {
            format!(
                "a container of {image} cannot be started: {error}; start a docker daemon, or run \
                 ci/container, which brings its own"
            )
        };
        let container = GenericImage::new(name, tag)
            .with_exposed_port(PORT.tcp())
            .with_wait_for(WaitFor::message_on_stdout("Ready to accept connections"))
            .with_startup_timeout(START_LIMIT)
            .start()
            .map_err(|error| failed(&error))?;
        let guard = guard(container.id()).map_err(|error| failed(&error))?;
        let port = container
            .get_host_port_ipv4(PORT.tcp())
            .map_err(|error| failed(&error))?;
        Ok(Self {
            url: format!("redis://127.0.0.1:{port}"),
            _container: container,
            _guard: guard,
        })
    }
}

/// A process that removes the container once this one is gone: its input then ends. What is kept
/// in a static is never dropped, so testcontainers does not do it.
fn guard(id: &str) -> std::io::Result<Child> {
    Command::new("sh")
        .args([
            "-c",
            "read -r _; exec docker rm --force --volumes \"$0\"",
            id,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
