//! Channels: every subscription gets every message once, in order, or hears of the hole.

mod delivery;
mod faults;
mod handlers;
mod ledger;
mod lifetime;
mod load;

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::StreamExt;
use store_core::{Bytes, RawEvent, RawSubscription, StoreAdapter};

use crate::case::{Case, CaseResult, Failure, ensure_eq};
use crate::handle::Handle;

pub(super) use delivery::{
    binary_payload, channel_isolation, exactly_once_per_subscription, fan_out, publisher_order,
};
pub(super) use faults::{close_is_an_event, gap_is_reported, reconnect_resubscribes};
pub(super) use handlers::handler_panic_is_isolated;
pub(super) use lifetime::{
    drop_unsubscribes, no_replay, resubscribe_works, subscribe_return_means_ready,
    unsubscribe_stops,
};
pub(super) use load::{burst_lossless_or_gap, slow_subscriber_delays_nobody};

/// Publishes on a channel of the case.
pub(super) async fn publish(
    case: &Case,
    store: &Handle,
    channel: &str,
    message: impl AsRef<[u8]>,
) -> CaseResult {
    Ok(store.publish(&case.key(channel), message.as_ref()).await?)
}

/// Subscribes to a channel of the case.
pub(super) async fn subscribe(
    case: &Case,
    store: &Handle,
    channel: &str,
) -> CaseResult<RawSubscription> {
    Ok(store.subscribe(&case.key(channel)).await?)
}

/// A message as the driver must deliver it.
pub(super) fn message(case: &Case, channel: &str, message: impl AsRef<[u8]>) -> RawEvent {
    RawEvent::Message {
        channel: case.key(channel).into(),
        message: Bytes::copy_from_slice(message.as_ref()),
    }
}

/// Expects this message, and nothing before it.
pub(super) async fn expect(
    case: &Case,
    subscription: &mut RawSubscription,
    channel: &str,
    payload: impl AsRef<[u8]>,
) -> CaseResult {
    let event = case.next_event(subscription).await?;
    let expected = message(case, channel, payload);
    if event == expected {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the next event must be {}, was {}",
        show(case, &expected),
        show(case, &event)
    )))
}

/// Expects these payloads on one channel, in this order, and nothing in between.
pub(super) async fn expect_all<P: AsRef<[u8]>>(
    case: &Case,
    subscription: &mut RawSubscription,
    channel: &str,
    payloads: &[P],
) -> CaseResult {
    for payload in payloads {
        expect(case, subscription, channel, payload).await?;
    }
    Ok(())
}

/// Expects these messages, in the order of each channel; between channels there is none.
pub(super) async fn expect_by_channel(
    case: &Case,
    subscription: &mut RawSubscription,
    mut due: Vec<(String, Bytes)>,
    what: &str,
) -> CaseResult {
    while !due.is_empty() {
        let event = case.next_event(subscription).await.map_err(|failure| {
            let channels: BTreeSet<&str> =
                due.iter().map(|(channel, _)| channel.as_str()).collect();
            failure.context(format!("{what} still lacks messages on {channels:?}"))
        })?;
        // The oldest on its channel, or nothing that is due now.
        let on_channel = |(channel, _): &(String, Bytes)| is_on(case, &event, channel);
        let oldest = due.iter().position(on_channel);
        let oldest = oldest.filter(|at| event == message(case, &due[*at].0, &due[*at].1));
        let Some(oldest) = oldest else {
            return Err(Failure::new(format!(
                "{what} must not get {} now, but first of {:?}",
                show(case, &event),
                due.iter().take(4).collect::<Vec<_>>()
            )));
        };
        due.remove(oldest);
    }
    Ok(())
}

/// Expects that nothing has arrived that was not read yet. Never waits: a sentinel must have been
/// read before, from a publisher that published what is forbidden here earlier.
pub(super) fn expect_nothing_more(
    case: &Case,
    subscription: &mut RawSubscription,
    what: &str,
) -> CaseResult {
    let arrived = subscription.next().now_or_never().flatten();
    let arrived = arrived.map(|event| show(case, &event));
    ensure_eq!(arrived, None, "what {what} gets after its last message");
    Ok(())
}

pub(super) fn show(case: &Case, event: &RawEvent) -> String {
    match event {
        RawEvent::Message { channel, message } => format!(
            "{} on {}",
            crate::timeline::show_bytes(message),
            case.timeline().name(channel)
        ),
        RawEvent::Gap(gap) => format!("{gap:?}"),
    }
}

fn is_on(case: &Case, event: &RawEvent, name: &str) -> bool {
    matches!(event, RawEvent::Message { channel, .. } if **channel == *case.key(name))
}
