//! Runs a part of this program in a fresh process, for figures that what ran before would spoil.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::areas::bytes;
use crate::line;

/// The argument that makes the program a child.
pub const ARGUMENT: &str = "--child";

/// Runs `arguments` in a child, and answers what it prints.
pub fn spawn(arguments: &[&str]) -> Result<String> {
    let program = env::current_exe()?;
    let output = Command::new(program)
        .arg(ARGUMENT)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("the program cannot be started again")?;
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// What a child does.
pub fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["bytes", rest @ ..] => println!("{}", bytes::measure(rest)?),
        [line::ARGUMENT, port] => line::run(port)?,
        other => bail!("a child does not know {other:?}"),
    }
    Ok(())
}

/// How many bytes of this process are in memory.
pub fn resident_bytes() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .context("/proc/self/statm has another form")?
        .parse()?;
    // SAFETY: sysconf only reads.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Ok(pages * page as u64)
}
