//! A blocking one-command client of Redis's protocol, for test servers only.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// Why a command has no reply.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server could not be reached or broke the connection.
    Io(io::Error),
    /// The server answered with an error.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Refused(text) => f.write_str(text),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Connects, sends one command and answers its reply as text.
pub(crate) fn call(
    address: &str,
    password: Option<&str>,
    arguments: &[&str],
) -> Result<String, Failure> {
    let Some(address) = address.to_socket_addrs()?.next() else {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    };
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    if let Some(password) = password {
        send(stream.get_mut(), &["AUTH", password])?;
        read(&mut stream)?;
    }
    send(stream.get_mut(), arguments)?;
    read(&mut stream)
}

fn send(stream: &mut TcpStream, arguments: &[&str]) -> io::Result<()> {
    let mut request = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        request += &format!("${}\r\n{argument}\r\n", argument.len());
    }
    stream.write_all(request.as_bytes())
}

fn read(stream: &mut impl BufRead) -> Result<String, Failure> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not a reply");
    let line = line.strip_suffix("\r\n").ok_or_else(invalid)?;
    let (kind, rest) = line.split_at_checked(1).ok_or_else(invalid)?;
    match kind {
        "+" | ":" => Ok(rest.to_owned()),
        "-" => Err(Failure::Refused(rest.to_owned())),
        "$" => {
            let Ok(length) = rest.parse::<usize>() else {
                return Ok("(nil)".to_owned());
            };
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => {
            let items = rest.parse::<usize>().unwrap_or(0);
            let items: Result<Vec<_>, _> = (0..items).map(|_| read(stream)).collect();
            Ok(items?.join("\n"))
        }
        _ => Err(invalid().into()),
    }
}
