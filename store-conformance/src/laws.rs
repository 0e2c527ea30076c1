//! The laws: what each is called, what it means, and the function that checks it.
//!
//! One list, in [`__laws!`], becomes the tests of a suite, the table [`LAWS`], and every report.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::outcome::Outcome;
use crate::runner::Run;

mod batch;
pub(crate) mod codec;
mod concurrency;
mod conditional;
mod counter;
mod driver;
mod kv;
mod patterns;
mod pubsub;
mod scan;
mod ttl;

pub(crate) use scan::scan_all;

/// A law: what every driver must do, and how that is checked.
pub struct Law {
    /// The group it belongs to, such as `kv`.
    pub group: &'static str,
    /// Its name within the group.
    pub name: &'static str,
    /// What it means, in one line.
    pub meaning: &'static str,
    /// The rules of the contract that it checks.
    pub rules: &'static [u8],
    /// How it is checked.
    pub kind: Kind,
    /// What a harness must offer beyond the driver itself.
    pub needs: Option<Need>,
    pub(crate) body: Body,
}

/// The check of a law.
pub(crate) type Body = fn(Run) -> Pin<Box<dyn Future<Output = Outcome>>>;

/// How a law is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// On chosen inputs.
    Unit,
    /// On generated inputs.
    Property,
    /// Against a reference map.
    Model,
    /// Under concurrency.
    Concurrency,
    /// While time passes.
    Time,
    /// While things fail.
    Fault,
}

/// What a law needs from a harness beyond the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// [`Harness::faults`](crate::Harness::faults).
    Faults,
    /// [`Harness::live_resources`](crate::Harness::live_resources).
    Resources,
}

impl Need {
    /// The name under which a suite leaves it out.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Faults => "faults",
            Self::Resources => "resources",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.group, self.name)
    }
}

impl fmt::Debug for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Law({self})")
    }
}

impl Law {
    /// The law of this name, if there is one.
    #[must_use]
    pub fn find(group: &str, name: &str) -> Option<&'static Self> {
        LAWS.iter()
            .find(|law| law.group == group && law.name == name)
    }
}

/// The list of all laws. `$callback` gets it after its own arguments.
///
/// A line is `name: Kind [contract rules] "meaning";`, with `needs faults` or `needs resources`
/// before the rules where the harness must offer more than the driver.
#[doc(hidden)]
#[macro_export]
macro_rules! __laws {
    ($callback:ident! $arguments:tt) => {
        $crate::$callback! { $arguments
            driver {
                capabilities_are_stable: Unit [28] "what a driver says of itself is the same at any time and for every handle";
                absent_capability_refuses: Unit [28] "what a driver does not have is Unsupported, and changes nothing";
                scope_is_empty: Unit [6] "a scope begins empty, also after an earlier one of its name was closed";
                scopes_are_isolated: Property [4, 5] "two scopes share no key, whatever characters kind, id and key have";
                two_handles_one_store: Property [30] "what one handle writes another reads at once";
                no_op_hangs: Unit [29] "every call answers in time, one after another, all at once, and after close";
                closed_store_refuses: Unit [28] "a closed handle answers Closed to everything and ends its subscriptions; others work on";
                drop_releases: Fault needs resources [23] "a handle that is dropped or closed leaves nothing behind in the backend";
            }
            kv {
                get_set_roundtrip: Property [2, 3] "get answers what set wrote, for every key and value";
                get_missing_is_none: Property [28] "get of a key that was never written is None, and creates nothing";
                set_overwrites: Property [9] "a later value replaces an earlier one wholly, also a longer by a shorter";
                delete_reports_presence: Property [28] "delete removes this key alone, and answers whether a live key was there";
                has_agrees_with_get: Property [10] "has answers whether get answers a value: empty ones too, expired ones not";
                empty_value_is_present: Property [3] "an empty value is a value, for every operation";
                edge_keys_are_distinct: Property [2] "keys that differ in one byte are different keys: case, space, NUL, normal form, length";
                prefix_is_not_confusable: Property [5] "where kind, id and key are cut from one text in different ways, they are different places";
                edge_values_roundtrip: Unit [3] "a value is opaque bytes: empty, NUL, not UTF-8, protocol text, and up to 16 MiB";
                oversize_is_refused_whole: Unit [3] "a value over the driver's limit is TooLarge, and the old value and ttl stay; up to it every value is kept";
                read_your_writes: Property [30] "after a write its handle reads what it wrote, also when others write in between";
                arguments_not_retained: Property [2, 3] "a driver copies its arguments: the caller's buffers may be used again";
                returned_value_is_owned: Property [3] "an answered value stays as it was, after later writes, close and drop";
                model_agrees: Model [2, 3, 7, 9, 10, 11, 12, 13, 14, 16, 17] "any sequence of operations answers as a reference map does, values and error kinds alike";
            }
            counter {
                incr_from_absent_is_delta: Property [13] "an absent counter starts from 0, also for an increment by 0, and has no ttl";
                incr_sums: Property [13] "increments add up, negative ones and zero too, from every handle";
                decr_is_negative_incr: Property [14] "decrement is increment by the negative; i64::MIN has none and is Overflow";
                incr_reads_back_as_decimal: Property [14] "a counter is canonical decimal text for every operation, exact over all of i64";
                incr_accepts_decimal_set: Property [14] "decimal text is a counter, whichever operation wrote it";
                incr_overflow_changes_nothing: Unit [14] "a sum outside of i64 is Overflow; value and ttl stay";
                incr_non_integer_changes_nothing: Unit [14] "what is not a canonical decimal is WrongType; value and ttl stay";
                incr_error_kinds_are_stable: Unit [14] "a refused increment is refused in the same way every time, and spoils nothing after it";
                incr_initial_ttl_sets_once: Time [13] "an initial ttl is for the increment that creates, and for no other";
                counter_survives_delete: Property [13, 14] "a counter is a value like others: whatever removes or replaces values does so with it";
            }
            ttl {
                ttl_reports: Property [7, 11] "ttl answers Missing, Forever, or what is left in milliseconds, however the ttl was given";
                expires_within_window: Time [7, 10] "an entry is there until its deadline and not after it";
                expired_key_is_gone_everywhere: Time [10] "an expired key is absent for each operation, also for the first to touch it";
                set_clears_ttl: Unit [9] "a write without ttl leaves none";
                set_many_clears_ttl: Unit [9] "set_many gives each entry its ttl, or none";
                set_with_ttl_replaces_ttl: Property [9] "a write with a ttl replaces the one that was there, be it longer or shorter";
                keep_ttl_keeps: Unit [9] "keep leaves the deadline as it is, and makes none";
                incr_keeps_ttl: Property [13, 14] "an increment leaves the deadline as it is, also one that is refused";
                failed_condition_keeps_ttl: Unit [12] "a write whose condition fails changes neither value nor deadline";
                condition_ttl_rule: Unit [9, 16] "a conditional write that wins treats the deadline as any other write";
                expire_missing_is_false: Unit [11] "expire of a missing key answers false and leaves nothing behind";
                persist_rule: Unit [11] "persist removes the deadline, and answers whether there was one";
                zero_ttl_rule: Unit [8] "a ttl of zero is InvalidInput in every operation that takes one, and changes nothing";
                tiny_ttl_is_never_forever: Property [8] "the shortest ttl is a millisecond, and never no ttl at all";
                huge_ttl_is_safe: Property [8] "a long ttl is kept or InvalidInput; it never ends early";
                delete_then_set_has_no_old_deadline: Time [9] "a deadline goes with its value, and never ends a later one";
            }
            batch {
                get_many_positions_and_duplicates: Property [17] "get_many answers each key in its position, duplicates and missing ones too";
                empty_batches_are_ok: Unit [17] "a batch of nothing does nothing and is no error";
                set_many_last_wins: Property [17] "of a key that comes twice in set_many the last value stays";
                delete_many_counts_live_once: Property [10, 17] "delete_many counts each live key once: no duplicates, missing or expired ones";
                batch_equals_singles: Model [17] "a batch does what its single calls do, values and deadlines alike";
                batch_large: Unit [17] "batches of 10,000 keys, and of sizes around the borders of chunks, lose and shift nothing";
                batch_partial_failure_is_reported: Unit [17, 18] "one bad entry hides no other and is reported; a batch that is refused does nothing";
            }
            conditional {
                if_absent_truth_table: Model [9, 12, 16] "each condition, on each state, with each expiry, writes or does not as the table says";
                if_absent_one_winner: Concurrency [16, 30] "of callers that claim a key at once exactly one is told that it won";
                if_absent_after_delete_and_expiry: Time [10, 16] "a deleted or expired key can be claimed again";
                if_equals_compares_bytes: Property [16] "a comparison is byte for byte; an absent key equals nothing";
                replace_and_take_are_atomic: Concurrency [16, 30] "each value that was written is handed out exactly once by replace and take";
                compare_and_set_loses_no_update: Concurrency [16, 30] "a compare-and-set that won is never undone by another";
            }
            scan {
                scan_prefix_exact: Property [6, 10] "a scan lists the live keys that begin with the prefix, and no character is special";
                scan_no_duplicates: Property [6] "the scan of a store lists a key once, also while others come";
                scan_pages_cover: Property [6] "all pages together are the whole, for every page size";
                scan_stable_keys_survive_churn: Concurrency [6] "keys that are there during the whole scan are listed, whatever comes and goes";
                scan_strips_prefix: Property [4, 6] "a scan answers names as the user wrote them, without prefix and scope";
                scan_empty_prefix_is_own_scope_only: Property [5, 6] "a scan without prefix stays inside of its own scope";
                clear_is_exact: Property [5, 6] "clear removes every key of its own store or scope, and no other";
            }
            concurrency {
                single_key_linearizable: Concurrency [16, 30] "concurrent calls on a key have one order that explains every answer";
                incr_no_lost_updates: Concurrency [13, 30] "concurrent increments all count, each sum is answered once, and a new deadline loses none";
                no_torn_values: Concurrency [30] "a read answers one of the values written, wholly, also of 1 MiB while others write";
                cancelled_call_is_all_or_nothing: Concurrency [31] "a dropped call happened wholly or not at all, or will, and the next reply is the next request's";
                concurrent_handles_progress: Concurrency [29, 30] "64 tasks on shared handles all end with their own answers, while subscriptions are open";
                timeout_is_indeterminate: Fault needs faults [27, 29] "calls on a frozen backend end as Indeterminate or Unavailable, and nothing happens that these do not allow";
            }
            pubsub {
                subscribe_return_means_ready: Property [19] "what is published after subscribe has answered is delivered";
                publisher_order: Property [20] "the messages of each publisher arrive in its order, all of them, once";
                exactly_once_per_subscription: Property [20] "every subscription gets its own copy of each message once, equal messages in a row too";
                fan_out: Property [20, 23] "all subscriptions of a channel get every message, over all handles, also after one of them has left";
                channel_isolation: Property [2, 20] "a subscription gets the messages of its channel alone: prefixes, case, globs and NUL are names";
                binary_payload: Property [3, 20] "a message is opaque bytes: empty, not UTF-8, and 1 MiB arrive unchanged";
                no_replay: Property [19] "what was published before subscribe is not delivered, also where others still have it";
                unsubscribe_stops: Property [19, 23] "a dropped subscription gets nothing more, and its unread messages do not come up in a later one";
                drop_unsubscribes: Fault needs resources [23] "dropping a subscription, or a subscribe half way, takes it out of the backend's count";
                resubscribe_works: Property [19, 23] "subscribing again works fifty times, at once or overlapping, and a late unsubscribe does not hit the new one";
                burst_lossless_or_gap: Property [21, 22] "who does not read loses the oldest: a gap before the next message, and seen plus missed is what was sent";
                slow_subscriber_delays_nobody: Property [22] "a subscriber that never reads delays no publisher and costs no other subscriber a message";
                handler_panic_is_isolated: Property [24] "a handler that fails or panics stops neither its own later messages nor other handlers";
                reconnect_resubscribes: Fault needs faults [21, 29] "after a lost connection, subscriptions of channels and patterns get messages again by themselves";
                gap_is_reported: Fault needs faults [21] "after a lost connection a gap comes before the first message, and no message is missing without one";
                close_is_an_event: Fault [21] "closing a handle ends its subscriptions, also those that wait, and no others";
            }
            patterns {
                pattern_matches_reference_glob: Property [25] "a pattern gets exactly the channels that the reference matcher says: classes, ranges, negation, escapes, open brackets";
                pattern_event_names_channel: Property [25] "a message of a pattern names the channel that it was published on";
                exact_plus_pattern_semantics: Property [20, 25] "a channel that several subscriptions match is delivered to each of them, once, until it leaves";
                escape_is_literal: Property [25] "an escaped text matches itself alone";
            }
            codec {
                roundtrip: Property [18] "a value of any shape comes back as it was, or is refused when it is written";
                decode_total: Property [18] "any bytes are a value or a Decode error: no panic, no memory without bound";
                trailing_bytes_rejected: Property [18] "bytes behind a value are a Decode error";
                deterministic: Property [16] "the same value is written as the same bytes, so that it can be compared";
                counter_reads_via_every_codec: Property [15] "a counter is read as an integer under every codec";
                typed_set_then_increment: Property [15] "an integer that was set is a counter under every codec";
                wrong_codec_is_error_where_the_format_can_tell: Property [18] "what one codec wrote is an error for another, and never another value";
                none_is_not_absent: Unit [18] "a stored None and an absent key differ";
                nonfinite_floats: Unit [18] "a float that is not finite is kept or refused, and never becomes another value";
                golden_bytes: Unit [15, 18] "values have the bytes that they had when they were released";
            }
        }
    };
}

/// Makes the table out of the list.
#[doc(hidden)]
#[macro_export]
macro_rules! __law_table {
    (()
     $($group:ident {
         $($law:ident : $kind:ident $(needs $need:ident)? [$($rule:literal),*] $meaning:literal;)*
     })*) => {
        /// Every law, in the order of a report.
        pub static LAWS: &[Law] = &[$($(
            Law {
                group: stringify!($group),
                name: stringify!($law),
                meaning: $meaning,
                rules: &[$($rule),*],
                kind: Kind::$kind,
                needs: $crate::__need!($($need)?),
                body: |run| Box::pin($group::$law(run)),
            },
        )*)*];
    };
}

/// Names what a law needs.
#[doc(hidden)]
#[macro_export]
macro_rules! __need {
    () => {
        None
    };
    (faults) => {
        Some(Need::Faults)
    };
    (resources) => {
        Some(Need::Resources)
    };
}

__laws!(__law_table!());
