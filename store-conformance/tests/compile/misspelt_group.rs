use store_conformance::reference::ReferenceHarness;

store_conformance::suite!(reference, ReferenceHarness::default(), without: {
    pubsup = "there are no channels",
});

fn main() {}
