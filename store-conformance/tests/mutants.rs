//! What the laws are worth: each broken driver is killed by the laws that are meant to.
//!
//! The whole table, over many seeds, is made by `ci/mutants`.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use store_conformance::broken::{self, Broken};

#[test]
fn broken_drivers_have_names_of_their_own_and_laws_that_exist() {
    let names: BTreeSet<_> = broken::all().map(|driver| driver.name).collect();
    assert_eq!(names.len(), broken::all().count());
    for driver in broken::all() {
        let known = driver.meant().count();
        assert_eq!(known, driver.killed_by.len(), "{}", driver.name);
    }
}

#[test]
fn every_broken_driver_is_killed_by_the_laws_that_are_meant_to() {
    let drivers: Vec<&Broken> = broken::all().collect();
    let (next, survivors) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(driver) = drivers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !driver.meant().any(|law| driver.is_killed_by(law, 1)) {
                        survivors.lock().unwrap().push(driver.name);
                    }
                }
            });
        }
    });
    let survivors = survivors.into_inner().unwrap();
    assert!(survivors.is_empty(), "survivors: {survivors:?}");
}

store_conformance::suite!(network, broken::NetworkHarness::healthy());
