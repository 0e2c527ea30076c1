//! The faults, and the time until everything works again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store_conformance::faults::{Proxy, ReplyFault};
use store_conformance::server::{RedisServer, command_at};
use store_core::StoreAdapter;
use store_redis::RedisDriver;
use tokio::time::sleep;

use crate::Outcome;
use crate::dice::Dice;
use crate::messages::Messages;

/// After this time without a recovery there is none.
const NEVER: Duration = Duration::from_secs(20);

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    KillNormal,
    KillPubsub,
    Hang,
    Crash,
    Sever,
    Reset,
    HalfClose,
    BlackHole,
    Stall,
    Dribble,
    Refuse,
    Cut,
    Password,
    ScriptFlush,
    Overflow,
    Busy,
    OutOfMemory,
    Demotion,
}

impl Fault {
    pub(crate) const ALL: [Self; 18] = [
        Self::KillNormal,
        Self::KillPubsub,
        Self::Hang,
        Self::Crash,
        Self::Sever,
        Self::Reset,
        Self::HalfClose,
        Self::BlackHole,
        Self::Stall,
        Self::Dribble,
        Self::Refuse,
        Self::Cut,
        Self::Password,
        Self::ScriptFlush,
        Self::Overflow,
        Self::Busy,
        Self::OutOfMemory,
        Self::Demotion,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillNormal => "CLIENT KILL TYPE normal",
            Self::KillPubsub => "CLIENT KILL TYPE pubsub",
            Self::Hang => "SIGSTOP, SIGCONT after 0.1-3 s",
            Self::Crash => "SIGKILL, restart after 0-2 s",
            Self::Sever => "connections closed",
            Self::Reset => "connections reset",
            Self::HalfClose => "connections half closed",
            Self::BlackHole => "black hole, new ones pass",
            Self::Stall => "nothing passes for 0.1-3 s",
            Self::Dribble => "bytes dribble for 0.2-2 s",
            Self::Refuse => "connections refused, 0.1-2 s",
            Self::Cut => "cut before the answer",
            Self::Password => "password rotated for 1-3 s",
            Self::ScriptFlush => "SCRIPT FLUSH",
            Self::Overflow => "output buffer overflow",
            Self::Busy => "BUSY for 0.1-2 s",
            Self::OutOfMemory => "out of memory for 0.1-2 s",
            Self::Demotion => "a replica for 0.1-2 s",
        }
    }
}

/// How long it took, from the end of a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    /// Until a write was acknowledged.
    pub(crate) write: Duration,
    /// Until a new message had come on every subscription.
    pub(crate) messages: Duration,
}

/// Everything that takes part.
pub(crate) struct Stage {
    pub(crate) server: RedisServer,
    pub(crate) proxy: Proxy,
    pub(crate) driver: Arc<RedisDriver>,
    pub(crate) messages: Messages,
    pub(crate) violations: Vec<String>,
}

impl Stage {
    /// Lets `fault` happen, to its end.
    pub(crate) async fn inject(&self, fault: Fault, dice: &mut Dice) -> Outcome<()> {
        let Self { server, proxy, .. } = self;
        let kill = |what: &str, which: &str| server.command(&["CLIENT", "KILL", what, which]);
        match fault {
            Fault::KillNormal => drop(kill("TYPE", "normal")?),
            Fault::KillPubsub => drop(kill("TYPE", "pubsub")?),
            Fault::Hang => {
                server.stop()?;
                sleep(dice.millis(100..3000)).await;
                server.cont()?;
            }
            Fault::Crash => {
                server.kill9();
                sleep(dice.millis(0..2000)).await;
                server.restart()?;
            }
            Fault::Sever => proxy.sever().await,
            Fault::Reset => proxy.reset().await,
            Fault::HalfClose => proxy.half_close(),
            // It ends once the driver has found another way.
            Fault::BlackHole => proxy.stall_existing(),
            Fault::Stall => {
                proxy.stall();
                sleep(dice.millis(100..3000)).await;
                proxy.resume();
            }
            Fault::Dribble => {
                let size = 1 + dice.below(8) as usize;
                proxy.fragment(size, Duration::from_micros(dice.below(200)));
                sleep(dice.millis(200..2000)).await;
                proxy.whole();
            }
            Fault::Refuse => {
                proxy.refuse().await;
                proxy.sever().await;
                sleep(dice.millis(100..2000)).await;
                proxy.accept().await;
            }
            Fault::Cut => {
                let before = proxy.faulty_replies();
                proxy.fault_replies_to("INCRBY", ReplyFault::Cut, 10);
                let began = Instant::now();
                while proxy.faulty_replies() < before + 10 && began.elapsed() < NEVER {
                    sleep(Duration::from_millis(5)).await;
                }
            }
            Fault::Password => {
                let password = |new| server.command(&["ACL", "SETUSER", "app", "resetpass", new]);
                password(">other")?;
                kill("USER", "app")?;
                sleep(dice.millis(1000..3000)).await;
                password(">right")?;
            }
            Fault::ScriptFlush => drop(server.command(&["SCRIPT", "FLUSH"])?),
            Fault::Overflow => self.messages.burst(server)?,
            Fault::Busy => {
                let url = server.url();
                let script = move || command_at(&url, &["EVAL", "while true do end", "0"]);
                let script = tokio::task::spawn_blocking(script);
                sleep(dice.millis(100..2000)).await;
                // A server that does not call itself busy yet refuses to end it.
                while !script.is_finished() {
                    drop(server.command(&["SCRIPT", "KILL"]));
                    sleep(Duration::from_millis(5)).await;
                }
                let ended = script.await?.map_err(|error| error.to_string());
                if !ended.as_ref().is_err_and(|error| error.contains("killed")) {
                    return Err(format!("the script was not killed: {ended:?}").into());
                }
            }
            Fault::OutOfMemory => {
                server.command(&["CONFIG", "SET", "maxmemory", "1"])?;
                sleep(dice.millis(100..2000)).await;
                server.command(&["CONFIG", "SET", "maxmemory", "0"])?;
            }
            Fault::Demotion => {
                // Of a master that is not there, so what it holds stays.
                server.command(&["REPLICAOF", "127.0.0.1", "1"])?;
                sleep(dice.millis(100..2000)).await;
                server.command(&["REPLICAOF", "NO", "ONE"])?;
            }
        }
        Ok(())
    }

    /// Waits until a write and messages get through.
    pub(crate) async fn recover(&mut self, fault: Fault) -> Recovery {
        let began = Instant::now();
        let sent = self.messages.sent();
        while self.driver.increment("probe", 1, None).await.is_err() && began.elapsed() < NEVER {}
        let write = began.elapsed();
        while !self.messages.heard_after(&sent) && began.elapsed() < NEVER {
            sleep(Duration::from_millis(2)).await;
        }
        let messages = began.elapsed();
        if messages > NEVER {
            self.violations
                .push(format!("no recovery from: {}", fault.name()));
        }
        if fault == Fault::BlackHole {
            // What was held back arrives after all, for calls that are long over.
            self.proxy.resume();
        }
        Recovery { write, messages }
    }
}
