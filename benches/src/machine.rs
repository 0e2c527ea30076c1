//! The machine and the versions, so that a reader knows what the figures belong to.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

/// Peers and what carries them, whose versions the report names.
const PACKAGES: &[&str] = &[
    "cached",
    "dashmap",
    "deadpool-redis",
    "foyer",
    "fred",
    "igniter-store",
    "moka",
    "opendal",
    "quick_cache",
    "redis",
    "rmp-serde",
    "rustis",
    "serde_json",
    "tokio",
];

/// The load of the machine in the last 1, 5 and 15 minutes.
pub fn load() -> String {
    let load = read("/proc/loadavg");
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// A list in Markdown; `load_before` is the [`load`] when the run began.
pub fn describe(load_before: &str) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _written = writeln!(text, "- {name}: {value}");
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    line(
        "processor",
        &format!(
            "{}, {cores} cores to this process",
            field("/proc/cpuinfo", "model name")
        ),
    );
    line("memory", &field("/proc/meminfo", "MemTotal"));
    line("kernel", &output("uname", &["-sr"]));
    line("load before (1, 5, 15 minutes)", load_before);
    line("load afterwards", &load());
    line("ended", &output("date", &["-u", "+%F %H:%M UTC"]));
    let here = env!("CARGO_MANIFEST_DIR");
    let revision = ["-C", here, "describe", "--always", "--dirty"];
    line("revision", &output("git", &revision));
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    line("build", build);
    line("compiler", &output("rustc", &["--version"]));
    line("redis-server", &output("redis-server", &["--version"]));
    line("node", &output("node", &["--version"]));
    line("allocator", "the system's, for all");
    line("packages", &packages());
    text
}

fn packages() -> String {
    // At build time: the lock that this program was built with.
    let lock = include_str!("../Cargo.lock");
    let mut found = Vec::new();
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("name = ") else {
            continue;
        };
        let name = name.trim_matches('"');
        if PACKAGES.contains(&name)
            && let Some(version) = lines
                .next()
                .and_then(|line| line.strip_prefix("version = "))
        {
            found.push(format!("{name} {}", version.trim_matches('"')));
        }
    }
    found.join(", ")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn field(path: &str, name: &str) -> String {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or_else(
        || "unknown".to_owned(),
        |(_, value)| value.trim().to_owned(),
    )
}

fn output(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(_) => "not installed".to_owned(),
    }
}
