//! A healthy driver breaks no law.

use store_conformance::reference::ReferenceHarness;

store_conformance::suite!(reference, ReferenceHarness::default(), without: {
    faults = "in process: there is no connection to disturb",
});
