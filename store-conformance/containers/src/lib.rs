#![doc = include_str!("../README.md")]

use std::env;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

/// The variable that names the image, as `name:tag`.
pub const IMAGE_VARIABLE: &str = "STORE_REDIS_IMAGE";
/// The image where [`IMAGE_VARIABLE`] is not set.
pub const DEFAULT_IMAGE: &str = "redis:7.4";
/// The label that every container has, so that one which was left behind is found.
pub const LABEL: &str = "store-containers";

const PORT: u16 = 6379;

/// How long a container may take to start, once its image is there.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Waits for the end of this process and removes the container.
///
/// The standard input is a pipe whose other end only this process holds. Its first line tells
/// whether it will be able to. The signals are ignored because a Ctrl-C reaches the whole process
/// group and must not kill the guard first. What goes wrong later is written to this process's
/// standard error.
const GUARD: &str = r#"trap '' INT HUP TERM
docker container inspect --format ready "$0" 2>&1 || exit 1
exec >/dev/null
read -r _
exec docker container rm --force --volumes "$0""#;

/// The URL of a Redis in a container, which is started once for this process and removed when the
/// process ends, in whatever way.
///
/// It is meant as the last resort of `store_conformance::server::shared_url_or`. It blocks until
/// the server answers, also where the caller is a task of tokio.
///
/// # Errors
///
/// Why there is no container, such as a missing docker daemon, and what to do about it.
pub fn redis_url() -> Result<String, String> {
    // What is in a static is never dropped: the guard removes the container.
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        // A thread of its own, since testcontainers blocks on a runtime, which panics within another.
        let start = thread::spawn(Server::start);
        start
            .join()
            .unwrap_or_else(|_| Err("testcontainers panicked; its message is above".to_owned()))
    });
    match server {
        Ok(server) => Ok(server.url.clone()),
        Err(reason) => Err(reason.clone()),
    }
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
                "{IMAGE_VARIABLE} is {image:?} instead of name:tag, such as {DEFAULT_IMAGE}"
            ));
        };
        let container = GenericImage::new(name, tag)
            .with_exposed_port(PORT.tcp())
            .with_wait_for(WaitFor::message_on_stdout("Ready to accept connections"))
            .with_label(LABEL, std::process::id().to_string())
            .with_startup_timeout(START_LIMIT)
            .start()
            .map_err(|error| failed(&image, &error))?;
        let guard = guard(container.id()).map_err(|error| failed(&image, &error))?;
        let host = container
            .get_host()
            .map_err(|error| failed(&image, &error))?;
        let host = match host.to_string() {
            // Docker may publish another port on ::1 than on 127.0.0.1.
            name if name == "localhost" => "127.0.0.1".to_owned(),
            name => name,
        };
        let port = container
            .get_host_port_ipv4(PORT.tcp())
            .map_err(|error| failed(&image, &error))?;
        Ok(Self {
            url: format!("redis://{host}:{port}"),
            _container: container,
            _guard: guard,
        })
    }
}

fn failed(image: &str, error: &dyn Display) -> String {
    format!(
        "no container of {image}: {error}\n\
         Start a docker daemon and name it in DOCKER_HOST, unless it listens on \
         /var/run/docker.sock,\n\
         or run ci/container, which brings a daemon and an image of its own.\n\
         Another image is named by {IMAGE_VARIABLE}=name:tag."
    )
}

/// Starts the guard and waits until it has seen the container.
fn guard(id: &str) -> io::Result<Child> {
    let mut guard = Command::new("sh")
        .args(["-c", GUARD, id])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut first = String::new();
    if let Some(output) = guard.stdout.take() {
        BufReader::new(output).read_line(&mut first)?;
    }
    if first.trim() == "ready" {
        return Ok(guard);
    }
    guard.wait()?;
    Err(io::Error::other(format!(
        "the `docker` command, which removes it at the end, does not see it: {}",
        first.trim()
    )))
}
