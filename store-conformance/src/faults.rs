//! A TCP proxy that breaks connections in every way that a driver must survive.
//!
//! It stands between a driver and its server, on real sockets, so that a test decides when a
//! connection ends, freezes, dribbles or lies.

mod relay;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use relay::{Ending, Line, relay};

/// What happens to the reply of a request.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyFault {
    /// The server certainly gets and answers the request, and the connection ends before a byte of
    /// the answer is passed on.
    Cut,
    /// So many bytes are passed on, then the connection ends.
    Truncate(usize),
    /// These bytes are passed on in its place.
    Replace(Vec<u8>),
    /// It is passed on byte by byte, with this pause after each, and so is all that the server sends
    /// after it on this connection.
    Dribble(Duration),
}

/// A TCP proxy on 127.0.0.1 in front of one server.
///
/// Its tasks end when it is dropped, and the connections with them.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use store_conformance::faults::Proxy;
/// use store_conformance::server::RedisServer;
///
/// let server = RedisServer::spawn()?;
/// let proxy = Proxy::start(server.address()).await?;
/// let url = format!("redis://{}", proxy.address());
/// // … connect a driver to `url` …
/// proxy.stall_existing();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
    listening: watch::Sender<bool>,
    listens: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    accepted: AtomicU64,
}

#[derive(Debug)]
struct State {
    target: String,
    /// What a new connection begins with.
    fresh: Line,
    connections: Vec<watch::Sender<Line>>,
    reply_fault: Option<Armed>,
    faults_done: u64,
}

#[derive(Debug)]
struct Armed {
    request: Vec<u8>,
    fault: ReplyFault,
    left: u64,
}

impl Proxy {
    /// Starts a proxy in front of `target`, such as `127.0.0.1:6379`.
    ///
    /// # Errors
    ///
    /// Those of opening a listening socket.
    pub async fn start(target: impl Into<String>) -> io::Result<Self> {
        let (listener, port) = listen_somewhere().await?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                target: target.into(),
                fresh: Line::default(),
                connections: Vec::new(),
                reply_fault: None,
                faults_done: 0,
            }),
            accepted: AtomicU64::new(0),
        });
        let (listening, wanted) = watch::channel(true);
        let (now, listens) = watch::channel(true);
        let task = tokio::spawn(accept(listener, port, Arc::clone(&shared), wanted, now));
        Ok(Self {
            shared,
            port,
            listening,
            listens,
            task,
        })
    }

    /// The address to connect to.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends new connections to another server.
    pub fn retarget(&self, target: impl Into<String>) {
        self.shared.state().target = target.into();
    }

    /// Ends all connections properly; they are gone when this returns.
    pub async fn sever(&self) {
        self.end_all(Ending::Close).await;
    }

    /// Ends all connections with a reset; they are gone when this returns.
    pub async fn reset(&self) {
        self.end_all(Ending::Reset).await;
    }

    /// Freezes all connections, also new ones: they are accepted and nothing passes.
    pub fn stall(&self) {
        self.change(true, |line| line.stalled = true);
    }

    /// Freezes the connections of now, while new ones pass: a half-open connection.
    pub fn stall_existing(&self) {
        self.change(false, |line| line.stalled = true);
    }

    /// Lets everything pass again; what was held meanwhile comes first.
    pub fn resume(&self) {
        self.change(true, |line| line.stalled = false);
    }

    /// Tells the clients of now that their server will send no more, while what they send still
    /// reaches it.
    pub fn half_close(&self) {
        self.change(false, |line| line.half_closed = true);
    }

    /// Passes everything on in pieces of `size` bytes with a pause after each, from now on.
    pub fn fragment(&self, size: usize, pause: Duration) {
        self.change(true, |line| line.pieces = Some((size.max(1), pause)));
    }

    /// Passes bytes on as they come again.
    pub fn whole(&self) {
        self.change(true, |line| line.pieces = None);
    }

    /// Lets `fault` happen to the replies of the next `times` requests that contain these bytes.
    ///
    /// It replaces the previous fault. An empty `request` is contained in each.
    pub fn fault_replies_to(&self, request: impl Into<Vec<u8>>, fault: ReplyFault, times: u64) {
        self.shared.state().reply_fault = Some(Armed {
            request: request.into(),
            fault,
            left: times,
        });
    }

    /// How many faulty replies there were.
    #[must_use]
    pub fn faulty_replies(&self) -> u64 {
        self.shared.state().faults_done
    }

    /// Closes the listening socket: new connections are refused, those of now go on.
    pub async fn refuse(&self) {
        self.listen(false).await;
    }

    /// Opens the listening socket again.
    pub async fn accept(&self) {
        self.listen(true).await;
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        let mut state = self.shared.state();
        state.forget_ended();
        state.connections.len()
    }

    async fn listen(&self, wanted: bool) {
        self.listening.send_replace(wanted);
        // An error says that the proxy's runtime is gone, and its socket with it.
        let _ = self.listens.clone().wait_for(|now| *now == wanted).await;
    }

    async fn end_all(&self, ending: Ending) {
        let connections = std::mem::take(&mut self.shared.state().connections);
        for connection in &connections {
            connection.send_modify(|line| line.ending = Some(ending));
        }
        for connection in connections {
            connection.closed().await;
        }
    }

    fn change(&self, also_new_ones: bool, change: impl Fn(&mut Line)) {
        let mut state = self.shared.state();
        if also_new_ones {
            change(&mut state.fresh);
        }
        for connection in &state.connections {
            connection.send_modify(&change);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault for a request in these bytes, where one is due; it counts as used.
    fn fault_for(&self, bytes: &[u8]) -> Option<ReplyFault> {
        let mut state = self.state();
        let armed = state.reply_fault.as_mut()?;
        let request = armed.request.as_slice();
        let contained =
            request.is_empty() || bytes.windows(request.len()).any(|window| window == request);
        if armed.left == 0 || !contained {
            return None;
        }
        armed.left -= 1;
        let fault = armed.fault.clone();
        state.faults_done += 1;
        Some(fault)
    }
}

impl State {
    fn forget_ended(&mut self) {
        self.connections
            .retain(|connection| !connection.is_closed());
    }
}

async fn listen_somewhere() -> io::Result<(TcpListener, u16)> {
    loop {
        // Not from the range of client ports: see there.
        let port = crate::server::free_port().map_err(io::Error::other)?;
        match TcpListener::bind(("127.0.0.1", port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            listener => return Ok((listener?, port)),
        }
    }
}

/// Accepts connections until it is aborted; owns their tasks.
async fn accept(
    listener: TcpListener,
    port: u16,
    shared: Arc<Shared>,
    mut wanted: watch::Receiver<bool>,
    now: watch::Sender<bool>,
) {
    let mut tasks = JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let Some(socket) = &listener else {
            if wanted.wait_for(|wanted| *wanted).await.is_err() {
                return;
            }
            match TcpListener::bind(("127.0.0.1", port)).await {
                Ok(socket) => {
                    listener = Some(socket);
                    now.send_replace(true);
                }
                // Somebody has the port for a moment.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
            continue;
        };
        tokio::select! {
            accepted = socket.accept() => {
                if let Ok((client, _)) = accepted {
                    tasks.spawn(connect(client, Arc::clone(&shared)));
                }
            }
            refuse = wanted.wait_for(|wanted| !wanted) => {
                if refuse.is_err() {
                    return;
                }
                drop(refuse);
                listener = None;
                now.send_replace(false);
            }
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn connect(client: TcpStream, shared: Arc<Shared>) {
    shared.accepted.fetch_add(1, Ordering::SeqCst);
    let (target, line) = {
        let mut state = shared.state();
        state.forget_ended();
        let (sender, line) = watch::channel(state.fresh.clone());
        state.connections.push(sender);
        (state.target.clone(), line)
    };
    let Ok(server) = TcpStream::connect(&target).await else {
        return;
    };
    if client.set_nodelay(true).is_ok() && server.set_nodelay(true).is_ok() {
        relay(client, server, line, &shared).await;
    }
}
