//! When a container is chosen, how it ends, and what is said where there can be none.
//!
//! What is chosen is settled by the environment and once for a process, so each test looks at a
//! process of its own: this very program, told to run `ask` alone.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which fail like tests"
)]

use std::env;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, abort};
use std::time::{Duration, Instant};

use store_conformance::server::{URL_VARIABLE, command_at, shared_url_or};
use store_containers::redis_url;

#[test]
#[ignore = "the other tests run it, in processes and environments of their own"]
fn ask() {
    match shared_url_or(redis_url) {
        Err(error) => println!("error {error}"),
        Ok(url) => {
            let info = command_at(&url, &["INFO", "server"]).unwrap();
            let process = info
                .lines()
                .find_map(|line| line.strip_prefix("process_id:"));
            println!("\nurl {url}\nprocess {}", process.unwrap().trim());
            // No destructor runs, as after a SIGKILL.
            abort();
        }
    }
}

/// What `ask` says where the path has these tools alone and `docker_host` is the daemon, if given.
///
/// It ends when the process that removes the container has ended too, which shares its output.
fn ask_with(tools: &[&str], docker_host: Option<&str>) -> String {
    let path = Directory::with(tools);
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "ask", "--ignored", "--nocapture"])
        .env("PATH", &path.0)
        .env_remove(URL_VARIABLE);
    if let Some(docker_host) = docker_host {
        command.env("DOCKER_HOST", docker_host);
    }
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A directory of links to programs, which is removed on drop.
struct Directory(PathBuf);

impl Directory {
    fn with(tools: &[&str]) -> Self {
        let name = format!("store-containers-{}-{}", std::process::id(), tools.concat());
        let directory = Self(env::temp_dir().join(name));
        fs::create_dir(&directory.0).unwrap();
        for tool in tools {
            let program = find(tool).unwrap_or_else(|| panic!("no `{tool}` on the path"));
            symlink(program, directory.0.join(tool)).unwrap();
        }
        directory
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut programs = env::split_paths(&path).map(|directory| directory.join(tool));
    programs.find(|program| Path::is_file(program))
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_else(|| panic!("no {name:?} in:\n{text}"))
}

#[test]
fn a_container_is_the_third_choice_and_is_removed_when_its_process_ends() {
    let said = ask_with(&["docker", "sh"], None);
    // The first process of a name space of its own.
    assert_eq!(field(&said, "process "), "1");
    let address = field(&said, "url redis://");
    assert!(
        TcpStream::connect(address).is_err(),
        "{address} still answers"
    );
}

#[test]
fn without_a_daemon_the_error_says_what_to_do() {
    let begin = Instant::now();
    let said = ask_with(&["sh"], Some("unix:///nowhere/docker.sock"));
    assert!(said.contains("error no Redis server"), "{said}");
    assert!(said.contains("Start a docker daemon"), "{said}");
    assert!(said.contains("ci/container"), "{said}");
    // It takes milliseconds; the limit is far above what a busy machine adds.
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn without_the_docker_command_nothing_is_left_running() {
    let said = ask_with(&["sh"], None);
    assert!(said.contains("the `docker` command"), "{said}");
}
