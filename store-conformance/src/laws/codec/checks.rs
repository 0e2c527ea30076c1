//! What each law asks of a codec, whichever it is.

use super::*;

/// The bytes of `value`, or `None` where the codec has no form for it and says so.
fn form<C: Codec, T: Serialize + ?Sized>(codec: &C, value: &T) -> CaseResult<Option<Vec<u8>>> {
    match codec.encode(value) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::Encode => Ok(None),
        Err(error) => Err(Failure::new(format!(
            "{} cannot write a {}, which must be Encode, was {:?}: {error}",
            codec.name(),
            std::any::type_name::<T>(),
            error.kind()
        ))),
    }
}

/// Expects that `value` comes back, or is refused; `shown` is what makes two of them comparable.
fn comes_back<C, T, K>(codec: &C, value: &T, shown: impl Fn(&T) -> K) -> CaseResult
where
    C: Codec,
    T: Serialize + DeserializeOwned,
    K: PartialEq + std::fmt::Debug,
{
    let Some(bytes) = form(codec, value)? else {
        return Ok(());
    };
    let back: T = codec.decode(&bytes)?;
    ensure_eq!(
        shown(&back),
        shown(value),
        "a {} that went through {} as {:?}",
        std::any::type_name::<T>(),
        codec.name(),
        bytes.escape_ascii().to_string()
    );
    Ok(())
}

fn plain<C, T>(codec: &C, value: &T) -> CaseResult
where
    C: Codec,
    T: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug,
{
    comes_back(codec, value, T::clone)
}

/// Expects that `value` comes back: every format has a form for it.
fn always<C, T>(codec: &C, value: &T) -> CaseResult
where
    C: Codec,
    T: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug,
{
    codec.encode(value)?;
    plain(codec, value)
}

pub(crate) fn comes_back_in_every_shape<C: Codec>(codec: &C, shapes: &Shapes) -> CaseResult {
    comes_back(codec, shapes, Shapes::comparable)?;
    // Each part by itself as well: at the top a codec may treat it differently.
    always(codec, &shapes.signed)?;
    always(codec, &shapes.unsigned)?;
    always(codec, &(shapes.signed as i8))?;
    always(codec, &(shapes.unsigned as u16))?;
    plain(codec, &i128::from(shapes.signed))?;
    always(codec, &shapes.flag)?;
    plain(codec, &shapes.letter)?;
    always(codec, &shapes.text)?;
    always(codec, &shapes.bytes)?;
    always(codec, &shapes.maybe)?;
    plain(codec, &shapes.pair)?;
    plain(codec, &shapes.by_number)?;
    plain(codec, &shapes.choice)?;
    plain(codec, &shapes.wrapped)?;
    plain(codec, &())?;
    // Small, so that it comes to the codes of digits as well.
    plain(codec, &Stamp(shapes.signed & 0x3f))?;
    comes_back(codec, &shapes.double, |double| double.to_bits())?;
    comes_back(codec, &shapes.float, |float| float.to_bits())?;
    comes_back(codec, &shapes.doubles, |doubles| bits(doubles))?;
    // A key that is no text.
    plain(codec, &BTreeMap::from([(shapes.pair.clone(), shapes.flag)]))?;
    enums_come_back(codec, shapes)
}

fn enums_come_back<C: Codec>(codec: &C, shapes: &Shapes) -> CaseResult {
    plain(codec, &shapes.tagged)?;
    plain(codec, &shapes.adjacent)?;
    plain(codec, &shapes.untagged)?;
    plain(codec, &shapes.flattened)?;
    let exempt = Exempt::of(codec);
    if !exempt.names {
        let (adjacent, untagged) = told_by_names(shapes);
        adjacent.iter().try_for_each(|value| plain(codec, value))?;
        untagged.iter().try_for_each(|value| plain(codec, value))?;
    }
    if !exempt.keys {
        let (tagged, untagged, flattened) = told_by_keys(shapes);
        plain(codec, &tagged)?;
        plain(codec, &untagged)?;
        plain(codec, &flattened)?;
    }
    Ok(())
}

fn refuses_more<C, T>(codec: &C, value: &T, tail: &[u8]) -> CaseResult
where
    C: Codec,
    T: Serialize + DeserializeOwned + std::fmt::Debug,
{
    let Some(mut bytes) = form(codec, value)? else {
        return Ok(());
    };
    bytes.extend_from_slice(tail);
    ensure_kind(
        codec.decode::<T>(&bytes),
        ErrorKind::Decode,
        &format!("{} of a value with {tail:?} behind it", codec.name()),
    )
}

pub(crate) fn refuses_more_of_every_shape<C: Codec>(
    codec: &C,
    shapes: &Shapes,
    tail: &[u8],
) -> CaseResult {
    refuses_more(codec, shapes, tail)?;
    refuses_more(codec, &shapes.text, tail)?;
    refuses_more(codec, &shapes.flag, tail)?;
    refuses_more(codec, &shapes.bytes, tail)?;
    refuses_more(codec, &shapes.choice, tail)?;
    refuses_more(codec, &shapes.tagged, tail)?;
    refuses_more(codec, &shapes.adjacent, tail)?;
    refuses_more(codec, &shapes.flattened, tail)?;
    refuses_more(codec, &shapes.by_number, tail)?;
    refuses_more(codec, &None::<String>, tail)?;
    // Digits and what belongs to numbers make another number, which is none of these.
    if !matches!(tail[0], b'0'..=b'9' | b'.' | b'e' | b'E') {
        refuses_more(codec, &shapes.signed, tail)?;
        refuses_more(codec, &shapes.unsigned, tail)?;
        refuses_more(codec, &shapes.double, tail)?;
    }
    Ok(())
}

pub(crate) fn writes_the_same_again<C: Codec>(codec: &C, shapes: &Shapes) -> CaseResult {
    let Some(first) = form(codec, shapes)? else {
        return Ok(());
    };
    ensure_eq!(
        codec.encode(shapes)?,
        first,
        "the same value, written again"
    );
    ensure_eq!(codec.encode(&shapes.clone())?, first, "a clone, written");
    let back: Shapes = codec.decode(&first)?;
    ensure_eq!(codec.encode(&back)?, first, "what was read, written again");
    Ok(())
}

/// Expects that `reader` finds out that `writer` wrote a value, unless it reads just that value.
fn not_misread<A, B, T>(writer: &A, reader: &B, value: &T) -> CaseResult
where
    A: Codec,
    B: Codec,
    T: Serialize + DeserializeOwned + std::fmt::Debug,
{
    let Some(bytes) = form(writer, value)? else {
        return Ok(());
    };
    let read = match reader.decode::<T>(&bytes) {
        Err(error) if error.kind() == ErrorKind::Decode => return Ok(()),
        read => read?,
    };
    ensure_eq!(
        format!("{read:?}"),
        format!("{value:?}"),
        "what {} wrote as {:?}, read by {}",
        writer.name(),
        bytes.escape_ascii().to_string(),
        reader.name()
    );
    Ok(())
}

fn misreads_nothing<A: Codec, B: Codec>(writer: &A, reader: &B, shapes: &Shapes) -> CaseResult {
    not_misread(writer, reader, shapes)?;
    not_misread(writer, reader, &shapes.text)?;
    not_misread(writer, reader, &shapes.flag)?;
    not_misread(writer, reader, &shapes.bytes)?;
    not_misread(writer, reader, &shapes.pair)?;
    not_misread(writer, reader, &shapes.by_number)?;
    not_misread(writer, reader, &shapes.choice)?;
    not_misread(writer, reader, &shapes.tagged)?;
    not_misread(writer, reader, &shapes.adjacent)?;
    not_misread(writer, reader, &shapes.double)?;
    not_misread(writer, reader, &shapes.maybe)?;
    not_misread(writer, reader, &None::<Vec<i64>>)
}

/// Expects that neither of two codecs takes what the other wrote for another value.
pub(crate) fn tells_apart<A: Codec, B: Codec>(one: &A, other: &B, shapes: &Shapes) -> CaseResult {
    misreads_nothing(one, other, shapes)?;
    misreads_nothing(other, one, shapes)?;
    // An integer is the same in all of them, on purpose.
    let text = one.encode(&shapes.signed)?;
    ensure_eq!(other.encode(&shapes.signed)?, text, "an integer");
    Ok(())
}

/// Expects that a value with a float that is no number comes back, or is refused by name.
fn kept_or_refused<C, T>(codec: &C, value: &T, text: impl Fn(&T) -> String) -> CaseResult
where
    C: Codec,
    T: Serialize + DeserializeOwned,
{
    let Some(bytes) = form(codec, value)? else {
        return Ok(());
    };
    let back = codec.decode(&bytes).map(|back| text(&back));
    ensure!(
        back.as_ref().is_ok_and(|back| *back == text(value)),
        "{} wrote {} as {:?}, and read {back:?}",
        codec.name(),
        text(value),
        bytes.escape_ascii().to_string()
    );
    Ok(())
}

pub(crate) fn no_float_becomes_another<C: Codec>(codec: &C, float: f64) -> CaseResult {
    // The sign and payload of a NaN are nothing that anybody reads.
    kept_or_refused(codec, &float, |value| format!("{value:?}"))?;
    kept_or_refused(codec, &(float as f32), |value| format!("{value:?}"))?;
    kept_or_refused(codec, &Some(float), |value| format!("{value:?}"))?;
    kept_or_refused(codec, &vec![1.0, float, 2.0], |value| format!("{value:?}"))?;
    kept_or_refused(codec, &(1_u8, float), |value| format!("{value:?}"))?;
    kept_or_refused(codec, &vec![Some(float), None], |value| {
        format!("{value:?}")
    })?;
    let map = BTreeMap::from([("a".to_owned(), float)]);
    kept_or_refused(codec, &map, |value| format!("{value:?}"))?;
    kept_or_refused(codec, &Choice::Named { at: float }, |value| {
        format!("{value:?}")
    })?;
    kept_or_refused(codec, &Choice::One(float), |value| format!("{value:?}"))?;
    Ok(())
}
