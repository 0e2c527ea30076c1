//! The sweeper on real and on paused clocks.

use std::time::Instant;

use store_core::{Condition, Expiry, TtlMillis};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn entries() -> Arc<Entries> {
    Entries::new(Duration::from_millis(1))
}

fn set(entries: &Entries, key: &str, ttl: Duration) {
    let expiry = Expiry::After(TtlMillis::new(ttl).unwrap());
    let written = entries.write(key, b"value", expiry, Condition::Always, |_| ());
    assert!(written.unwrap().done);
}

fn is_freed_soon(entries: &Entries) -> bool {
    entries.sweeper().wait_until(|_, _| entries.len() == 0)
}

/// Waits until rounds began and ended after `ttl` has passed in real time.
fn sweep_after(entries: &Entries, ttl: Duration) {
    let end = Instant::now() + ttl;
    let wait = |holds: &dyn Fn(u64) -> bool| {
        assert!(entries.sweeper().wait_until(|_, rounds| holds(rounds)));
    };
    wait(&|_| Instant::now() > end);
    let rounds = entries.sweeper().gate.lock().rounds;
    wait(&|now| now >= rounds + 2);
}

fn is_gone_soon<T>(weak: &Weak<T>) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while weak.strong_count() > 0 && Instant::now() < end {
        thread::yield_now();
    }
    weak.strong_count() == 0
}

#[test]
fn expired_entries_are_freed_without_a_runtime_or_a_read() {
    let entries = entries();
    for number in 0..5_000 {
        set(&entries, &number.to_string(), Duration::from_millis(5));
    }
    assert!(is_freed_soon(&entries));
}

#[tokio::test]
async fn expired_entries_are_freed_without_a_read() {
    let entries = entries();
    set(&entries, "soon", Duration::from_millis(5));
    assert!(is_freed_soon(&entries));
}

#[test]
fn what_has_not_expired_is_not_swept() {
    let entries = entries();
    let written = entries.write("forever", b"", Expiry::Never, Condition::Always, |_| ());
    assert!(written.unwrap().done);
    set(&entries, "later", HOUR);
    set(&entries, "longest", TtlMillis::MAX);
    set(&entries, "soon", Duration::from_millis(1));
    assert!(entries.sweeper().wait_until(|_, _| entries.len() == 3));
    assert!(
        ["forever", "later", "longest"]
            .iter()
            .all(|key| entries.has(key).unwrap())
    );
}

#[tokio::test(start_paused = true)]
async fn a_sweep_goes_over_all_keys_and_counts_them() {
    // The thread does not come before the test ends.
    let entries = Entries::new(HOUR);
    // A sweep gives up where it alone holds the entries.
    let _driver = Arc::clone(&entries);
    for number in 0..1_000 {
        set(
            &entries,
            &format!("soon {number}"),
            Duration::from_millis(1),
        );
        set(&entries, &format!("later {number}"), HOUR);
    }
    tokio::time::advance(Duration::from_millis(1)).await;
    let swept = entries.sweep();
    assert_eq!((swept.removed, entries.len()), (1_000, 1_000));
    // Stripes in which nothing is due are not looked at.
    assert!((1..=1_000).contains(&swept.kept));
}

#[tokio::test(start_paused = true)]
async fn whatever_sets_a_deadline_its_entry_is_freed() {
    let ttl = TtlMillis::new(Duration::from_millis(1)).unwrap();
    let write = |entries: &Entries, expiry| {
        let written = entries.write("key", b"value", expiry, Condition::Always, |_| ());
        assert!(written.unwrap().done);
    };
    type Way<'a> = &'a dyn Fn(&Entries);
    let ways: [(&str, Way<'_>); 4] = [
        ("a write", &|entries| write(entries, Expiry::After(ttl))),
        ("a write over another", &|entries| {
            write(entries, Expiry::Never);
            write(entries, Expiry::After(ttl));
        }),
        ("a counter", &|entries| {
            assert_eq!(entries.increment("key", 1, Some(ttl)).unwrap(), 1);
        }),
        ("expire", &|entries| {
            write(entries, Expiry::Never);
            assert!(entries.expire("key", ttl).unwrap());
        }),
    ];
    for (name, way) in ways {
        // The thread does not come before the test ends.
        let entries = Entries::new(HOUR);
        way(&entries);
        assert_eq!(entries.sweeper().gate.lock().wakes, 1, "{name}");
        tokio::time::advance(ttl.as_duration()).await;
        entries.sweep();
        assert_eq!(entries.len(), 0, "{name}");
    }
}

#[test]
fn what_comes_after_the_end_is_refused() {
    let entries = entries();
    entries.close();
    let written = entries.write("key", b"value", Expiry::Never, Condition::Always, |_| ());
    assert!(written.is_err());
    assert!(entries.increment("key", 1, None).is_err());
    assert_eq!(entries.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_is_not_moved() {
    let entries = entries();
    set(&entries, "key", Duration::from_secs(10));
    let before = tokio::time::Instant::now();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let sender = thread::spawn({
        let entries = Arc::clone(&entries);
        move || {
            sweep_after(&entries, Duration::from_millis(20));
            sender.send(()).unwrap();
        }
    });
    // The runtime has nothing to do here; had it a timer, the clock would jump to it.
    receiver.await.unwrap();
    sender.join().unwrap();
    assert_eq!(tokio::time::Instant::now(), before);
    assert!(entries.has("key").unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_is_what_the_sweeper_goes_by() {
    let entries = entries();
    set(&entries, "key", Duration::from_millis(5));
    sweep_after(&entries, Duration::from_millis(20));
    assert!(entries.has("key").unwrap());
    tokio::time::advance(Duration::from_millis(5)).await;
    assert!(!entries.has("key").unwrap());
    assert!(is_freed_soon(&entries));
}

#[test]
fn entries_move_from_one_runtime_to_the_next() {
    let runtime = |paused| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(paused).build().unwrap()
    };
    let entries = entries();
    runtime(false).block_on(async { set(&entries, "first", Duration::from_millis(1)) });
    assert!(is_freed_soon(&entries));
    runtime(true).block_on(async {
        set(&entries, "second", Duration::from_millis(5));
        sweep_after(&entries, Duration::from_millis(20));
        assert!(entries.has("second").unwrap());
        tokio::time::advance(Duration::from_millis(5)).await;
        assert!(is_freed_soon(&entries));
    });
    set(&entries, "third", Duration::from_millis(1));
    assert!(is_freed_soon(&entries));
}

#[test]
fn the_thread_idles_without_deadlines_and_wakes_with_one() {
    let entries = entries();
    for round in 0..50 {
        set(&entries, &round.to_string(), Duration::from_millis(1));
        assert!(is_freed_soon(&entries));
        assert!(
            entries
                .sweeper()
                .wait_until(|phase, _| phase == Phase::Idle)
        );
    }
}

#[test]
fn a_deadline_that_is_set_during_a_round_keeps_the_thread_awake() {
    let gate = Arc::new(Gate::default());
    *gate.lock() = State {
        phase: Phase::Sweeping,
        wakes: 1,
        ..State::default()
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = Arc::clone(&gate);
    thread::spawn(move || {
        thread.finish_round(0, false);
        sender.send(())
    });
    assert!(receiver.recv_timeout(Duration::from_secs(10)).is_ok());
    assert_eq!(gate.lock().phase, Phase::Sweeping);
}

#[test]
fn every_deadline_that_is_the_earliest_is_counted() {
    let entries = Entries::new(HOUR);
    for (ttl, wakes) in [(3, 1), (2, 2), (3, 2)] {
        set(&entries, "key", HOUR * ttl);
        assert_eq!(entries.sweeper().gate.lock().wakes, wakes);
    }
}

#[test]
fn the_thread_rests_between_rounds() {
    let (gate, rest) = (Gate::default(), Duration::from_millis(5));
    let begun = Instant::now();
    assert!(gate.rest(rest).is_some());
    assert!(begun.elapsed() >= rest);
}

#[test]
fn no_deadline_no_thread() {
    let entries = entries();
    let written = entries.write("forever", b"", Expiry::Never, Condition::Always, |_| ());
    assert!(written.unwrap().done);
    assert_eq!(entries.sweeper().gate.lock().phase, Phase::NotStarted);
}

#[test]
fn the_thread_and_the_entries_go_with_the_last_handle() {
    for ttl in [Duration::from_millis(1), HOUR] {
        let entries = entries();
        set(&entries, "key", ttl);
        assert!(entries.sweeper().wait_until(|_, rounds| rounds > 0));
        let gate = Arc::downgrade(&entries.sweeper().gate);
        let weak = Arc::downgrade(&entries);
        drop(entries);
        assert!(is_gone_soon(&weak), "the entries are kept");
        assert!(is_gone_soon(&gate), "the thread goes on");
    }
}

#[test]
fn closing_ends_the_thread() {
    let entries = entries();
    set(&entries, "key", HOUR);
    sweep_after(&entries, Duration::ZERO);
    entries.close();
    let end = Instant::now() + Duration::from_secs(10);
    while Arc::strong_count(&entries.sweeper().gate) > 1 && Instant::now() < end {
        thread::yield_now();
    }
    assert_eq!(Arc::strong_count(&entries.sweeper().gate), 1);
    assert_eq!(entries.len(), 0);
}
