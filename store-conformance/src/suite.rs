//! The macro that makes one test of each law, and what such a test does.

use std::io::{self, Write as _};
use std::sync::Arc;

use crate::config::Config;
use crate::harness::Harness;
use crate::laws::Law;
use crate::outcome::Outcome;
use crate::runner::run_law;

/// Makes one `#[test]` of each law, called `name::group::law`.
///
/// The first argument names the module that holds the tests, the second is an expression that
/// makes a [`Harness`]; it is evaluated once for each law.
///
/// ```
/// # use std::sync::Arc;
/// # use store_conformance::{Clock, Harness, HarnessResult, async_trait};
/// # use store_conformance::reference::ReferenceDriver;
/// # use store_core::StoreAdapter;
/// # #[derive(Default)]
/// # struct MyHarness(ReferenceDriver);
/// # #[async_trait]
/// # impl Harness for MyHarness {
/// #     async fn open(&self, _scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
/// #         Ok(Arc::new(self.0.another()))
/// #     }
/// #     fn clock(&self) -> Clock {
/// #         Clock::Virtual
/// #     }
/// #     async fn close(&self, _scope: &str) -> HarnessResult<()> {
/// #         Ok(())
/// #     }
/// # }
/// store_conformance::suite!(my_driver, MyHarness::default());
/// # fn main() {}
/// ```
///
/// What a driver does not have is left out by group, with the reason. Those tests then show as
/// ignored with that reason, and `driver::absent_capability_refuses` checks that the driver refuses
/// what it does not have. A group that does not exist is a compile error. `faults` and `resources`
/// leave out the laws that need those parts of a harness.
///
/// ```
/// # use std::sync::Arc;
/// # use store_conformance::{Clock, Harness, HarnessResult, async_trait};
/// # use store_conformance::reference::ReferenceDriver;
/// # use store_core::StoreAdapter;
/// # #[derive(Default)]
/// # struct MyHarness(ReferenceDriver);
/// # #[async_trait]
/// # impl Harness for MyHarness {
/// #     async fn open(&self, _scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
/// #         Ok(Arc::new(self.0.another()))
/// #     }
/// #     fn clock(&self) -> Clock {
/// #         Clock::Virtual
/// #     }
/// #     async fn close(&self, _scope: &str) -> HarnessResult<()> {
/// #         Ok(())
/// #     }
/// # }
/// store_conformance::suite!(my_driver, MyHarness::default(), without: {
///     patterns = "the backend has no patterns",
///     faults = "in process: there is no connection to sever",
/// });
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! suite {
    ($name:ident, $harness:expr $(,)?) => {
        $crate::suite!($name, $harness, without: {});
    };
    ($name:ident, $harness:expr, without: { $($group:ident = $reason:literal),* $(,)? } $(,)?) => {
        $($crate::__known_group!($group);)*
        $crate::__laws! { __suite! ($name, $harness, { $($group = $reason,)* }) }
    };
}

/// Makes one `#[test]` of each law about codecs, called `name::codec::law`, for a codec of your own.
///
/// The first argument names the module that holds the tests, the second is an expression that
/// makes the codec; it is evaluated once for each law. The laws that read and write through a
/// driver are given one. A value that a format has no form for may be refused with `Encode`.
///
/// ```
/// # use store_core::Json as MyCodec;
/// store_conformance::codec_suite!(my_codec, MyCodec);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! codec_suite {
    ($name:ident, $codec:expr $(,)?) => {
        $crate::__laws! { __codec_suite! ($name, $codec) }
    };
}

/// Makes the module of a codec's suite out of the list of laws.
#[doc(hidden)]
#[macro_export]
macro_rules! __codec_suite {
    (($name:ident, $codec:expr) $($group:ident { $($laws:tt)* })*) => {
        mod $name {
            fn harness() -> ::std::sync::Arc<dyn $crate::Harness> {
                use super::*;
                ::std::sync::Arc::new($crate::CodecHarness::new($codec))
            }

            $($crate::__codec_group! { $group { $($laws)* } })*
        }
    };
}

/// Makes the tests of the group `codec`, and none of others.
#[doc(hidden)]
#[macro_export]
macro_rules! __codec_group {
    (codec {
        $($law:ident : $kind:ident [$($rule:literal),*] $meaning:literal;)*
    }) => {
        mod codec {
            $($crate::__test! { {} {} codec $law })*
        }
    };
    ($other:ident $laws:tt) => {};
}

/// Makes the modules of a suite out of the list of laws.
#[doc(hidden)]
#[macro_export]
macro_rules! __suite {
    (($name:ident, $harness:expr, $without:tt)
     $($group:ident {
         $($law:ident : $kind:ident $(needs $need:ident)? [$($rule:literal),*] $meaning:literal;)*
     })*) => {
        mod $name {
            fn harness() -> ::std::sync::Arc<dyn $crate::Harness> {
                use super::*;
                ::std::sync::Arc::new($harness)
            }

            $(mod $group {
                $($crate::__test! { $without $without $group $law $($need)? })*
            })*
        }
    };
}

/// Makes the test of one law: ignored if its group or its need is left out.
///
/// The first argument is all that is left out, the second what of it is still to be looked at.
#[doc(hidden)]
#[macro_export]
macro_rules! __test {
    ({} {} driver absent_capability_refuses) => {
        $crate::__test! { @ignored "nothing is left out" {} driver absent_capability_refuses }
    };
    ($all:tt { kv = $reason:literal, $($rest:tt)* } kv $law:ident $($need:ident)?) => {
        $crate::__test! { @ignored $reason $all kv $law }
    };
    ($all:tt { counter = $reason:literal, $($rest:tt)* } counter $law:ident $($need:ident)?) => {
        $crate::__test! { @ignored $reason $all counter $law }
    };
    ($all:tt { ttl = $reason:literal, $($rest:tt)* } ttl $law:ident $($need:ident)?) => {
        $crate::__test! { @ignored $reason $all ttl $law }
    };
    ($all:tt { batch = $reason:literal, $($rest:tt)* } batch $law:ident $($need:ident)?) => {
        $crate::__test! { @ignored $reason $all batch $law }
    };
    ($all:tt { conditional = $reason:literal, $($rest:tt)* } conditional $law:ident $($need:ident)?) => {
        $crate::__test! { @ignored $reason $all conditional $law }
    };
    ($all:tt { scan = $reason:literal, $($rest:tt)* } scan $law:ident $($need:ident)?) => {
        $crate::__test! { @ignored $reason $all scan $law }
    };
    ($all:tt { concurrency = $reason:literal, $($rest:tt)* } concurrency $law:ident $($need:ident)?) => {
        $crate::__test! { @ignored $reason $all concurrency $law }
    };
    ($all:tt { pubsub = $reason:literal, $($rest:tt)* } pubsub $law:ident $($need:ident)?) => {
        $crate::__test! { @ignored $reason $all pubsub $law }
    };
    ($all:tt { patterns = $reason:literal, $($rest:tt)* } patterns $law:ident $($need:ident)?) => {
        $crate::__test! { @ignored $reason $all patterns $law }
    };
    ($all:tt { codec = $reason:literal, $($rest:tt)* } codec $law:ident $($need:ident)?) => {
        $crate::__test! { @ignored $reason $all codec $law }
    };
    ($all:tt { faults = $reason:literal, $($rest:tt)* } $group:ident $law:ident faults) => {
        $crate::__test! { @ignored $reason $all $group $law }
    };
    ($all:tt { resources = $reason:literal, $($rest:tt)* } $group:ident $law:ident resources) => {
        $crate::__test! { @ignored $reason $all $group $law }
    };
    ($all:tt { $other:ident = $reason:literal, $($rest:tt)* } $($law:tt)*) => {
        $crate::__test! { $all { $($rest)* } $($law)* }
    };
    ($all:tt {} $group:ident $law:ident $($need:ident)?) => {
        #[test]
        fn $law() {
            $crate::__test! { @body $all $group $law }
        }
    };
    (@ignored $reason:literal $all:tt $group:ident $law:ident) => {
        #[test]
        #[ignore = $reason]
        fn $law() {
            $crate::__test! { @body $all $group $law }
        }
    };
    (@body { $($without:ident = $reason:literal,)* } $group:ident $law:ident) => {
        $crate::__check(
            stringify!($group),
            stringify!($law),
            module_path!(),
            env!("CARGO_PKG_NAME"),
            &[$((stringify!($without), $reason)),*],
            &super::harness,
        )
    };
}

/// Refuses a name that no group and no need has.
#[doc(hidden)]
#[macro_export]
macro_rules! __known_group {
    (kv) => {};
    (counter) => {};
    (ttl) => {};
    (batch) => {};
    (conditional) => {};
    (scan) => {};
    (concurrency) => {};
    (pubsub) => {};
    (patterns) => {};
    (codec) => {};
    (faults) => {};
    (resources) => {};
    ($other:ident) => {
        compile_error!(concat!(
            "`",
            stringify!($other),
            "` cannot be left out: the groups are kv, counter, ttl, batch, conditional, scan, \
             concurrency, pubsub, patterns and codec; the needs are faults and resources"
        ));
    };
}

/// Runs one law as the test of a suite.
#[doc(hidden)]
#[expect(clippy::panic, reason = "that is how a test fails")]
#[expect(
    clippy::print_stdout,
    reason = "the seed belongs into the output of the test"
)]
pub fn check(
    group: &str,
    name: &str,
    module: &str,
    package: &str,
    without: &[(&str, &str)],
    make: &dyn Fn() -> Arc<dyn Harness>,
) {
    let Some(law) = Law::find(group, name) else {
        panic!("there is no law {group}::{name}");
    };
    if let Some(reason) = make().skip() {
        // Not a print macro: the test harness would hide what a passing test prints.
        let _ = writeln!(io::stderr(), "SKIPPED {law}: {reason}");
        return;
    }
    let mut config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    };
    for (lacking, reason) in without {
        config = config.without(lacking, reason);
    }
    // A test is named from within its crate: `crate::name::group` and the law.
    let path = module.split_once("::").map_or(module, |(_, path)| path);
    config.command = format!("cargo test -p {package} -- --exact {path}::{name}");
    match run_law(law, make, &config) {
        Outcome::Kept { cases } => println!("{law}: {cases} cases of seed {}", config.seed),
        Outcome::Broken(breach) => panic!("{breach}"),
        Outcome::NotChecked(reason) => panic!("{law} was not checked: {reason}"),
    }
}
