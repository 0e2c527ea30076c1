//! The codecs that come with the store refuse no shape but a map whose keys are no text.

use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;

fn writes_every_shape<C: Codec>(codec: &C) {
    let mut runner = TestRunner::deterministic();
    for _ in 0..100 {
        let shapes = shapes().new_tree(&mut runner).unwrap().current();
        assert!(codec.encode(&shapes).is_ok());
        assert!(codec.encode(&shapes.by_number).is_ok());
        assert!(codec.encode(&i128::from(shapes.signed)).is_ok());
        assert!(codec.encode(&shapes.choice).is_ok());
        assert!(codec.encode(&shapes.double).is_ok());
    }
}

#[test]
fn json_writes_every_shape() {
    writes_every_shape(&Json);
}

#[test]
fn message_pack_writes_every_shape() {
    writes_every_shape(&MessagePack::new());
    writes_every_shape(&MessagePack::compact());
    assert!(
        MessagePack::new()
            .encode(&BTreeMap::from([((1, "a"), true)]))
            .is_ok()
    );
}
