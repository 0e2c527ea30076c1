//! Single operations in memory, beside DashMap by hand and the caches.

use std::sync::Arc;

use anyhow::{Result, ensure};
use igniter_store::{Json, MessagePack};
use tokio::runtime::Runtime;

use crate::charts::throughput;
use crate::compare::{Comparison, Contender, interleave};
use crate::peers::memory::opendal::OpenDal;
use crate::peers::memory::typed::{
    Cached, CachedWithTtl, Foyer, MokaFuture, MokaFutureWithTtl, MokaShared, MokaSync, QuickCache,
};
use crate::peers::memory::{ByHand, ByHandTuned, ByHandWithTtl, MemoryPeer, ours};
use crate::report::Report;
use crate::settings::Settings;
use crate::work::{self, KEYS, Load, Operation, User, place};

pub const ABOUT: &str = "One operation at a time in the memory of this process, 10,000 keys, a value of about 101 \
    bytes as JSON unless said otherwise. DashMap by hand, opendal and igniter-store keep bytes and encode and decode; \
    moka, quick_cache, foyer and cached keep the value itself and clone it.";

/// The reference of every comparison here.
const BY_HAND: &str = "DashMap by hand, JSON";
const BY_HAND_TTL: &str = "DashMap by hand with deadlines, JSON";
const OURS_JSON: &str = "igniter-store, JSON";
const OURS_MESSAGE_PACK: &str = "igniter-store, MessagePack";
const OURS_COMPACT: &str = "igniter-store, MessagePack without names";
const MOKA_FUTURE: &str = "moka::future";

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Hit,
    HitWithTtl,
    Miss,
    Set,
    /// Of values that are longer or shorter than those they replace.
    SetOfLengths,
    SetWithTtl,
    /// Nine hits to one set.
    Mix,
    Increment,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Hit => "get hit",
            Self::HitWithTtl => "get hit of an entry with a ttl",
            Self::Miss => "get miss",
            Self::Set => "set",
            Self::SetOfLengths => "set of 100 to 400 bytes",
            Self::SetWithTtl => "set with ttl",
            Self::Mix => "90 % get, 10 % set",
            Self::Increment => "increment",
        }
    }
}

/// A work with its size and how many do it.
#[derive(Clone, Copy)]
struct Case {
    work: Work,
    value_size: usize,
    load: Load,
}

/// One step of a case.
#[derive(Clone)]
struct Step<P> {
    peer: P,
    work: Work,
    keys: Arc<[String]>,
    users: Arc<[User]>,
}

impl<P: MemoryPeer> Operation for Step<P> {
    async fn run(&self, draw: u64) -> Result<()> {
        let key = &self.keys[place(draw, self.keys.len())];
        // The low bits are not those that choose the key.
        let user = &self.users[draw as usize % self.users.len()];
        match self.work {
            Work::Hit | Work::HitWithTtl => ensure!(
                self.peer.get(key).await?,
                "a value that was written is gone"
            ),
            Work::Miss => ensure!(
                !self.peer.get(key).await?,
                "a key that nobody wrote is there"
            ),
            Work::Set | Work::SetOfLengths => self.peer.set(key, user).await?,
            Work::SetWithTtl => self.peer.set_with_ttl(key, user).await?,
            Work::Mix if draw.is_multiple_of(10) => self.peer.set(key, user).await?,
            Work::Mix => ensure!(
                self.peer.get(key).await?,
                "a value that was written is gone"
            ),
            Work::Increment => {
                self.peer.increment(key).await?;
            }
        }
        Ok(())
    }
}

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let runtime = work::runtime(work::workers())?;
    let mut by_tasks = Vec::new();
    for case in cases(settings) {
        let comparison = compare(settings, &runtime, case);
        report.comparison(&comparison);
        if case.value_size == 100 && case.load.tasks == 1 {
            goals(report, case.work, &comparison);
        }
        if case.value_size == 100 && case.work == Work::Hit {
            by_tasks.push((case.load.tasks, comparison));
        }
    }
    report.plot(
        "memory-throughput",
        &throughput("Get hit in memory", &by_tasks),
    )
}

fn cases(settings: &Settings) -> Vec<Case> {
    let case = |work, value_size, tasks| {
        // About as long for large values, of which a step costs more.
        let operations = settings.choose(20_000, 100_000) / (1 + value_size as u64 / 4000);
        let load = Load::new(tasks, operations);
        Case {
            work,
            value_size,
            load,
        }
    };
    let all = [
        Work::Hit,
        Work::HitWithTtl,
        Work::Miss,
        Work::Set,
        Work::SetOfLengths,
        Work::SetWithTtl,
        Work::Mix,
        Work::Increment,
    ];
    let mut cases: Vec<Case> = all.map(|work| case(work, 100, 1)).into();
    cases.extend([16, 64, 256].map(|tasks| case(Work::Hit, 100, tasks)));
    let at_16_tasks: &[Work] = settings.choose(&[Work::Mix], &all[1..]);
    cases.extend(at_16_tasks.iter().map(|work| case(*work, 100, 16)));
    if !settings.quick {
        let more = all[1..]
            .iter()
            .flat_map(|work| [64, 256].map(|tasks| case(*work, 100, tasks)));
        cases.extend(more);
    }
    for size in [1 << 10, 64 << 10] {
        cases.extend([case(Work::Hit, size, 1), case(Work::Set, size, 1)]);
    }
    cases
}

fn compare(settings: &Settings, runtime: &Arc<Runtime>, case: Case) -> Comparison {
    let mut field = Field {
        runtime: Arc::clone(runtime),
        case,
        contenders: Vec::new(),
    };
    // With a ttl the hand-written map must have deadlines, or it would do less.
    let reference = match case.work {
        Work::HitWithTtl | Work::SetWithTtl => BY_HAND_TTL,
        _ => BY_HAND,
    };
    match case.work {
        Work::Increment => {
            field.add(BY_HAND, Ok(ByHand::default()));
            field.add(OURS_JSON, Ok(ours(Json)));
        }
        Work::HitWithTtl | Work::SetWithTtl => {
            field.add(BY_HAND_TTL, Ok(ByHandWithTtl::default()));
            field.add(OURS_JSON, Ok(ours(Json)));
            field.add(OURS_MESSAGE_PACK, Ok(ours(MessagePack::new())));
            field.add(
                "moka::future, ttl of each entry",
                Ok(MokaFutureWithTtl::default()),
            );
            field.add("cached, one ttl for all", Ok(CachedWithTtl::default()));
            field.add("quick_cache", Ok(QuickCache::default()));
            field.add("foyer", Ok(Foyer::default()));
        }
        _ => {
            field.add(BY_HAND, Ok(ByHand::default()));
            field.add(BY_HAND_TTL, Ok(ByHandWithTtl::default()));
            field.add("DashMap by hand, tuned, JSON", Ok(ByHandTuned::default()));
            field.add(OURS_JSON, Ok(ours(Json)));
            field.add(OURS_MESSAGE_PACK, Ok(ours(MessagePack::new())));
            field.add(OURS_COMPACT, Ok(ours(MessagePack::compact())));
            field.add(MOKA_FUTURE, Ok(MokaFuture::default()));
            field.add("moka::sync", Ok(MokaSync::default()));
            field.add("moka::sync of Arc", Ok(MokaShared::default()));
            field.add("quick_cache", Ok(QuickCache::default()));
            field.add("foyer", Ok(Foyer::default()));
            field.add("cached", Ok(Cached::default()));
            field.add("opendal memory, JSON", OpenDal::memory());
            field.add("opendal dashmap, JSON", OpenDal::dashmap());
            field.add("opendal moka, JSON", OpenDal::moka());
        }
    }
    let title = title(case);
    interleave(
        &title,
        settings.rounds(),
        reference,
        field.contenders,
        &settings.progress,
    )
}

fn title(case: Case) -> String {
    let tasks = case.load.tasks;
    let plural = if tasks == 1 { "" } else { "s" };
    let size = match case.value_size {
        100 => String::new(),
        size => format!(", values of {} KiB", size >> 10),
    };
    format!("{}, {tasks} task{plural}{size}", case.work.name())
}

/// Those who do one case.
struct Field {
    runtime: Arc<Runtime>,
    case: Case,
    contenders: Vec<Contender>,
}

impl Field {
    fn add<P: MemoryPeer>(&mut self, name: &str, peer: Result<P>) {
        let contender = peer.and_then(|peer| contender(name, &self.runtime, self.case, peer));
        let absent = |error| Contender::absent(name, format!("{error:#}"));
        self.contenders.push(contender.unwrap_or_else(absent));
    }
}

/// A contender whose store is filled, so that sets replace as they do in a cache that is warm.
fn contender<P: MemoryPeer>(
    name: &str,
    runtime: &Arc<Runtime>,
    case: Case,
    peer: P,
) -> Result<Contender> {
    let sizes: Vec<usize> = match case.work {
        Work::SetOfLengths => (100..=400).step_by(20).collect(),
        _ => vec![case.value_size],
    };
    let users: Arc<[User]> = sizes.iter().map(|size| User::of_size(7, *size)).collect();
    // Large values under fewer keys: every contender is to fit into memory.
    let count = KEYS.min((16 << 20) / case.value_size);
    let keys = work::keys(count);
    if case.work != Work::Increment {
        runtime.block_on(async {
            for key in keys.iter() {
                match case.work {
                    Work::HitWithTtl => peer.set_with_ttl(key, &users[0]).await?,
                    _ => peer.set(key, &users[0]).await?,
                }
            }
            anyhow::Ok(())
        })?;
    }
    let keys = if case.work == Work::Miss {
        work::absent_keys(count)
    } else {
        keys
    };
    let step = Step {
        peer,
        work: case.work,
        keys,
        users,
    };
    Ok(case.load.contender(name, runtime, step))
}

fn goals(report: &mut Report, work: Work, comparison: &Comparison) {
    let ratio = |name| comparison.time_ratio(OURS_JSON, name);
    match work {
        Work::Hit => {
            report.measured("memory-hit", ratio(BY_HAND));
            report.measured("memory-hit-moka", ratio(MOKA_FUTURE));
            let message_pack = comparison.time_ratio(OURS_MESSAGE_PACK, BY_HAND);
            report.measured("memory-hit-message-pack", message_pack);
        }
        Work::Miss => report.measured("memory-miss", ratio(BY_HAND)),
        Work::Set => {
            report.measured("memory-set", ratio(BY_HAND));
            report.measured("memory-set-moka", ratio(MOKA_FUTURE));
        }
        Work::Increment => report.measured("memory-increment", ratio(BY_HAND)),
        Work::HitWithTtl | Work::SetOfLengths | Work::SetWithTtl | Work::Mix => {}
    }
}
