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

#[test]
fn of_the_codecs_only_those_are_exempt_whose_docs_say_so() {
    let all = Exempt {
        names: false,
        keys: false,
    };
    assert_eq!(Exempt::of(&MessagePack::new()), all);
    assert_eq!(Exempt::of(&Json), Exempt { keys: true, ..all });
    assert_eq!(
        Exempt::of(&MessagePack::compact()),
        Exempt { names: true, ..all }
    );
}

#[test]
fn what_a_codec_is_exempt_from_does_not_come_back() {
    fn comes_back<T: Serialize + DeserializeOwned + PartialEq>(
        codec: impl Codec,
        value: &T,
    ) -> bool {
        let bytes = codec.encode(value).unwrap();
        codec.decode::<T>(&bytes).is_ok_and(|back| back == *value)
    }

    let mut runner = TestRunner::deterministic();
    let shapes = shapes().new_tree(&mut runner).unwrap().current();
    let compact = MessagePack::compact();
    let (adjacent, untagged) = told_by_names(&shapes);
    assert!(!adjacent.iter().any(|value| comes_back(compact, value)));
    assert!(!untagged.iter().any(|value| comes_back(compact, value)));
    let (tagged, untagged, flattened) = told_by_keys(&shapes);
    assert!(!comes_back(Json, &tagged));
    assert!(!comes_back(Json, &untagged));
    assert!(!comes_back(Json, &flattened));
}
