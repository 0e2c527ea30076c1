//! All clients of one server, each connected once, on one runtime.

use std::sync::Arc;

use anyhow::{Result, ensure};
use igniter_store::Store;
use redis::aio::{ConnectionManager, MultiplexedConnection};
use tokio::runtime::Runtime;

use super::calls::{Calls, Data, Slice, Work};
use super::deadpool::{self, Deadpool};
use super::fred::{self, Fred};
use super::opendal::{self, OpenDal};
use super::ours::{self, Adapter};
use super::redis_crate::{self, RedisCrate};
use super::rustis::{self, Rustis};
use super::value::OfUser;
use super::{ByHand, Caller, Encoded, Plain};
use crate::compare::{Contender, Sample};
use crate::server::RedisServer;
use crate::work::{self, User};

pub const OURS: &str = "igniter-store";
pub const OUR_ADAPTER: &str = "igniter-store, the driver alone";
pub const REDIS: &str = "redis";
pub const REDIS_NAGLE: &str = "redis, with Nagle (its default)";
pub const REDIS_MANAGER: &str = "redis, ConnectionManager";
pub const FRED: &str = "fred";
pub const RUSTIS: &str = "rustis";
pub const DEADPOOL: &str = "deadpool-redis";
pub const OPENDAL: &str = "OpenDAL";

/// Clients, and what they run on.
///
/// All have their tasks on the same workers, of which only those of the client that is measured
/// have something to do.
pub struct Clients {
    server: Arc<RedisServer>,
    runtime: Arc<Runtime>,
    pub ours: Store,
    adapter: Adapter,
    redis: RedisCrate<MultiplexedConnection>,
    redis_nagle: RedisCrate<MultiplexedConnection>,
    redis_manager: RedisCrate<ConnectionManager>,
    fred: Fred,
    rustis: Rustis,
    deadpool: Deadpool,
    opendal: OpenDal,
}

impl Clients {
    /// Connects them to `server`, which `url` leads to, on a runtime with this many workers.
    pub fn connect(server: &Arc<RedisServer>, url: &str, workers: usize) -> Result<Self> {
        let runtime = work::runtime(workers)?;
        // On a worker: clients start their own tasks there.
        runtime.block_on(async {
            anyhow::Ok(Self {
                server: Arc::clone(server),
                runtime: Arc::clone(&runtime),
                ours: ours::store(url).await?,
                adapter: ours::adapter(url).await?,
                redis: redis_crate::multiplexed(url).await?,
                redis_nagle: redis_crate::multiplexed_with_nagle(url).await?,
                redis_manager: redis_crate::manager(url).await?,
                fred: fred::connect(url).await?,
                rustis: rustis::connect(url).await?,
                deadpool: deadpool::connect(url)?,
                opendal: opendal::connect(url)?,
            })
        })
    }

    /// Lets the server hold this data and nothing else.
    pub fn fill<V: OfUser>(&self, data: &Data<V>) -> Result<()>
    where
        ByHand<RedisCrate<MultiplexedConnection>>: Caller<V>,
    {
        self.server.clear()?;
        self.runtime
            .block_on(data.write(&ByHand(self.redis.clone())))
    }

    /// Those who are compared in everything: this project's store, the reference, and the two
    /// clients of the same kind.
    pub fn main(&self, work: Work, slice: Slice, data: &Data<User>) -> Vec<Contender> {
        let by_hand = Maker {
            clients: self,
            work,
            slice,
            data,
        };
        vec![
            by_hand.contender(OURS, self.ours.clone()),
            by_hand.contender(REDIS, ByHand(self.redis.clone())),
            by_hand.contender(FRED, ByHand(self.fred.clone())),
            by_hand.contender(RUSTIS, ByHand(self.rustis.clone())),
        ]
    }

    /// The others.
    pub fn others(&self, work: Work, slice: Slice, data: &Data<User>) -> Vec<Contender> {
        let by_hand = Maker {
            clients: self,
            work,
            slice,
            data,
        };
        vec![
            self.nagle(work, slice, data),
            by_hand.contender(REDIS_MANAGER, ByHand(self.redis_manager.clone())),
            by_hand.contender(DEADPOOL, ByHand(self.deadpool.clone())),
            by_hand.contender(OPENDAL, ByHand(self.opendal.clone())),
        ]
    }

    /// The redis crate as it connects by default.
    pub fn nagle(&self, work: Work, slice: Slice, data: &Data<User>) -> Contender {
        let by_hand = Maker {
            clients: self,
            work,
            slice,
            data,
        };
        by_hand.contender(REDIS_NAGLE, ByHand(self.redis_nagle.clone()))
    }

    /// Bytes in and bytes out.
    pub fn plain(&self, work: Work, slice: Slice, data: &Data<Encoded>) -> Vec<Contender> {
        let plain = Maker {
            clients: self,
            work,
            slice,
            data,
        };
        vec![
            plain.contender(OUR_ADAPTER, Plain(self.adapter.clone())),
            plain.contender(REDIS, Plain(self.redis.clone())),
            plain.contender(FRED, Plain(self.fred.clone())),
            plain.contender(RUSTIS, Plain(self.rustis.clone())),
        ]
    }
}

/// Makes contenders of callers that do the same work.
struct Maker<'a, V> {
    clients: &'a Clients,
    work: Work,
    slice: Slice,
    data: &'a Data<V>,
}

impl<V: OfUser> Maker<'_, V> {
    fn contender(&self, name: &str, caller: impl Caller<V>) -> Contender {
        let calls = Calls {
            caller,
            work: self.work,
            data: self.data.clone(),
        };
        let (work, slice) = (self.work, self.slice);
        let server = Arc::clone(&self.clients.server);
        let runtime = Arc::clone(&self.clients.runtime);
        let measure = move || counted(&server, work, || slice.run(&runtime, &calls));
        Contender::new(name, measure)
    }
}

/// Measures, and fails unless the server has counted the commands that do the work. The operations
/// of the sample are keys, of which a batch has many.
pub fn counted(
    server: &RedisServer,
    work: Work,
    measure: impl FnOnce() -> Result<Sample>,
) -> Result<Sample> {
    server.reset_counts()?;
    let mut sample = measure()?;
    let calls = server.calls(work.commands())?;
    let least = sample.operations * work.commands_each();
    ensure!(
        calls >= least,
        "the server has seen {calls} commands, and {} operations need {least}",
        sample.operations
    );
    sample.operations *= work.keys_each();
    Ok(sample)
}
