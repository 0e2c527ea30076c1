//! How a test server is started.

use std::path::PathBuf;
use std::sync::Mutex;

use super::process::{Directory, Start, find_program, free_port};
use super::{RedisServer, ServerError};

/// How many ports are tried before giving up.
const PORT_ATTEMPTS: u32 = 20;

/// How a server process is started.
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisOptions {
    pub(super) program: PathBuf,
    pub(super) host: String,
    port: Option<u16>,
    pub(super) arguments: Vec<String>,
    pub(super) config: Option<String>,
    pub(super) password: Option<String>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            program: PathBuf::from("redis-server"),
            host: "127.0.0.1".to_owned(),
            port: None,
            arguments: Vec::new(),
            config: None,
            password: None,
        }
    }
}

impl RedisOptions {
    /// A server on a free port of 127.0.0.1 that writes nothing to disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens at this IP address and port and nowhere else: a server in the place of another one.
    pub fn address(mut self, host: impl Into<String>, port: u16) -> Self {
        self.host = host.into();
        self.port = Some(port);
        self
    }

    /// Adds arguments, which win over the defaults: `["--appendonly", "yes"]`.
    ///
    /// `{dir}` in one stands for the server's own directory, `{port}` for its port.
    pub fn arguments<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// Starts with this text as the configuration file, with the same stand-ins. A sentinel
    /// needs one: add the argument `--sentinel`.
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.config = Some(text.into());
        self
    }

    /// Asks clients for this password.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Runs this program instead of the `redis-server` on the path.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError`] if there is no such program or it does not come up; with its log.
    pub fn spawn(self) -> Result<RedisServer, ServerError> {
        let Some(program) = find_program(&self.program) else {
            return Err(ServerError::missing(&format!(
                "no `{}` on the path",
                self.program.display()
            )));
        };
        let mut server = RedisServer {
            options: Self { program, ..self },
            directory: Directory::new()?,
            port: 0,
            process: Mutex::new(None),
        };
        let given = server.options.port;
        let mut attempt = 0;
        loop {
            attempt += 1;
            server.port = given.map_or_else(free_port, Ok)?;
            match server.start() {
                Err(Start::PortTaken) if attempt < PORT_ATTEMPTS && given.is_none() => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(server),
            }
        }
    }
}
