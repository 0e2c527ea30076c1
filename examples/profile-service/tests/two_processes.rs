//! Two processes of the service over one database and one Redis.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test, what cannot be done is a failure"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::{Value, json};
use store_conformance::server::{RedisServer, or_skip};
use ureq::Agent;

/// How long anything may take. Shorter than the ttl of a profile, so that a stale one is seen.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_role_that_one_process_changes_is_served_by_the_other() {
    let Some(redis) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let database = DatabaseFile::new();
    let a = Service::start(&database, &redis.url());
    let b = Service::start(&database, &redis.url());

    for service in [&a, &b] {
        assert_eq!(service.user(1), ("member".to_owned(), "miss".to_owned()));
        assert_eq!(service.user(1), ("member".to_owned(), "hit".to_owned()));
    }
    let changed = a.change_role(1, json!({ "role": "editor" }));
    assert_eq!(changed.status, 200);
    assert_eq!(
        changed.body,
        json!({ "id": 1, "name": "Ada", "role": "editor" })
    );

    assert_eq!(
        a.user(1).0,
        "editor",
        "a process reads its own write at once"
    );
    b.until_role(1, "editor");
    assert_eq!(b.user(1), ("editor".to_owned(), "hit".to_owned()));
}

#[test]
fn a_message_from_another_program_clears_the_profile_everywhere() {
    let Some(redis) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let database = DatabaseFile::new();
    let services = [(); 2].map(|()| Service::start(&database, &redis.url()));
    for service in &services {
        service.user(1);
    }
    database.set_role(1, "admin");
    for service in &services {
        let stale = ("member".to_owned(), "hit".to_owned());
        assert_eq!(service.user(1), stale, "nobody has said anything yet");
    }
    let message = r#"{"type":"ROLE_UPDATED","payload":{"userId":"1"}}"#;
    let receivers = redis.command(&["PUBLISH", "user-events", message]).unwrap();
    assert_eq!(receivers, "2");
    for service in &services {
        service.until_role(1, "admin");
    }
}

#[test]
fn what_was_missed_while_redis_was_down_is_made_up_for() {
    let Some(redis) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let database = DatabaseFile::new();
    let a = Service::start(&database, &redis.url());
    let b = Service::start(&database, &redis.url());
    b.user(1);

    redis.kill9();
    let changed = a.change_role(1, json!({ "role": "editor" }));
    assert_eq!(
        changed.status, 503,
        "the others cannot be told: {}",
        changed.body
    );
    assert_eq!(a.user(1).0, "editor");
    assert_eq!(b.user(1), ("member".to_owned(), "hit".to_owned()));

    redis.restart().unwrap();
    b.until_role(1, "editor");
}

#[test]
fn a_request_that_makes_no_sense_is_told_why() {
    let database = DatabaseFile::new();
    let service = Service::start(&database, "memory:");
    let editor = || json!({ "role": "editor" });
    for (answer, status, why) in [
        (service.get("/users/9"), 404, "no user 9"),
        (service.get("/users/abc"), 400, "not \"abc\""),
        (service.get("/users/-1"), 400, "not \"-1\""),
        (service.get("/nothing"), 404, "no such path"),
        (service.get("/users/1/role"), 405, "method"),
        (service.change_role(9, editor()), 404, "no user 9"),
        (
            service.change_role(1, json!({ "role": "" })),
            400,
            "1 to 32 characters",
        ),
        (
            service.change_role(1, json!({ "role": "a b" })),
            400,
            "a-z, 0-9 and -",
        ),
        (
            service.change_role(1, json!({ "role": 7 })),
            422,
            "expected a string",
        ),
        (
            service.change_role(1, json!({ "rôle": "x" })),
            422,
            "unknown field",
        ),
        (
            service.change_role(1, json!({})),
            422,
            "missing field `role`",
        ),
        (
            service.patch("/users/1/role", "{", "application/json"),
            400,
            "parse",
        ),
        (
            service.patch("/users/1/role", "editor", "text/plain"),
            415,
            "Content-Type",
        ),
    ] {
        assert_eq!(answer.status, status, "{}", answer.body);
        let text = answer.body["error"].as_str().unwrap();
        assert!(text.contains(why), "{text:?} does not say {why:?}");
    }
    assert_eq!(service.user(1).0, "member");
}

#[test]
#[cfg(unix)]
fn a_service_that_is_asked_to_end_does_so() {
    let database = DatabaseFile::new();
    let mut service = Service::start(&database, "memory:");
    assert_eq!(service.get("/health").status, 200);
    let pid = service.process.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
    assert!(service.wait().success());
}

/// A process of the service; killed on drop.
struct Service {
    process: Child,
    url: String,
    agent: Agent,
}

struct Answer {
    status: u16,
    x_cache: Option<String>,
    body: Value,
}

impl Service {
    fn start(database: &DatabaseFile, store_url: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_profile-service"))
            .env("LISTEN", "127.0.0.1:0")
            .env("DATABASE_PATH", &database.0)
            .env("STORE_URL", store_url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut service = Self {
            process,
            url: String::new(),
            agent: Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(PATIENCE))
                .build()
                .into(),
        };
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Nobody waits for the later lines.
                let _ = sender.send(line);
            }
        });
        let first = lines
            .recv_timeout(PATIENCE)
            .expect("the service says where it listens");
        let url = first.strip_prefix("listening on ");
        service.url = url.expect("the first line has the address").to_owned();
        service
    }

    fn get(&self, path: &str) -> Answer {
        Answer::of(self.agent.get(self.url(path)).call())
    }

    fn patch(&self, path: &str, body: &str, content_type: &str) -> Answer {
        let request = self.agent.patch(self.url(path));
        Answer::of(request.content_type(content_type).send(body))
    }

    fn change_role(&self, id: u32, body: Value) -> Answer {
        let path = format!("/users/{id}/role");
        self.patch(&path, &body.to_string(), "application/json")
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The role of a user, and whether it came from the cache.
    fn user(&self, id: u32) -> (String, String) {
        let answer = self.get(&format!("/users/{id}"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let role = answer.body["role"].as_str().unwrap().to_owned();
        (role, answer.x_cache.unwrap())
    }

    /// Asks until the service answers this role.
    fn until_role(&self, id: u32, role: &str) {
        let begun = Instant::now();
        while self.user(id).0 != role {
            assert!(
                begun.elapsed() < PATIENCE,
                "still not {role} after {PATIENCE:?}"
            );
            thread::yield_now();
        }
    }

    /// Waits until the process has ended by itself.
    fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "still runs after {PATIENCE:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Answer {
    fn of(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Self {
        let mut answer = answer.unwrap();
        let x_cache = answer.headers().get("x-cache");
        let x_cache = x_cache.map(|value| value.to_str().unwrap().to_owned());
        let text = answer.body_mut().read_to_string().unwrap();
        Self {
            status: answer.status().as_u16(),
            x_cache,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }
}

/// A path for a database of one test; the file is removed on drop.
struct DatabaseFile(PathBuf);

impl DatabaseFile {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("profiles-{}-{count}.db", std::process::id());
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    /// Changes the table and tells nobody.
    fn set_role(&self, id: u32, role: &str) {
        let connection = rusqlite::Connection::open(&self.0).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        let changed = connection.execute("UPDATE users SET role = ?2 WHERE id = ?1", (id, role));
        assert_eq!(changed.unwrap(), 1);
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
