//! A line to a server that takes its time, as a network does: a proxy on this machine that passes on
//! each byte late. It has no other trait of a network.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, process, thread};

use anyhow::{Context, Result, bail};

use crate::child;

/// The argument that makes a child one.
pub const ARGUMENT: &str = "line";

/// How long each direction takes, at least.
pub const DELAY: Duration = Duration::from_micros(200);

/// A process, so that its work is not ours. Dropping it ends it.
pub struct Line {
    process: Child,
    port: u16,
}

impl Line {
    /// A line to the server at `port` of this machine.
    pub fn to(port: u16) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args([child::ARGUMENT, ARGUMENT, &port.to_string()])
            // Its end is ours.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the program cannot be started again")?;
        let output = process.stdout.take();
        // From here on dropping it ends the process.
        let mut line = Self { process, port: 0 };
        line.port = read_port(output.context("the child has no output")?)?;
        Ok(line)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

fn read_port(output: ChildStdout) -> Result<u16> {
    let mut text = String::new();
    BufReader::new(output).read_line(&mut text)?;
    text.trim().parse().context("the child has said no port")
}

/// What the child does, until it is killed or this program ends.
pub fn run(port: &str) -> Result<()> {
    let server: u16 = port.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    thread::spawn(|| {
        let _ended = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0);
    });
    for client in listener.incoming() {
        let client = client?;
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
        for socket in [&client, &server] {
            socket.set_nodelay(true)?;
        }
        pass_on(client.try_clone()?, server.try_clone()?);
        pass_on(server, client);
    }
    bail!("nobody can connect any more");
}

/// Passes on what comes, each piece `DELAY` after it came, until the line is cut.
fn pass_on(from: TcpStream, to: TcpStream) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || read_all(from, |piece| sender.send((Instant::now() + DELAY, piece))));
    thread::spawn(move || {
        let mut to = to;
        let written: io::Result<()> = receiver.into_iter().try_for_each(|(due, piece)| {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            to.write_all(&piece)
        });
        // The other end is told, and may be gone already.
        let _told = to.shutdown(Shutdown::Both);
        written
    });
}

fn read_all<E>(mut from: TcpStream, mut pass: impl FnMut(Vec<u8>) -> Result<(), E>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if pass(buffer[..length].to_vec()).is_err() {
            return;
        }
    }
}
