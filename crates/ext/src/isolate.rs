//! The entry of an isolate: what the main copy of this library calls in the copy that it loaded into a namespace of its own.

use std::panic::{self, AssertUnwindSafe};

use atoll_host::isolate::{Boot, Glue, live};

use crate::{host, module};

/// Lives as an isolate; see [`atoll_host::isolate::live`], whose result and requirements these are.
///
/// # Safety
/// `boot` is what the main copy made for this namespace; the calling thread is known to no Python.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn atoll_isolate_main(boot: *const Boot) -> u32 {
    const GLUE: Glue = Glue {
        attached: module::attach,
        arrived: host::arrived,
    };
    // SAFETY: by the caller.
    let lived = panic::catch_unwind(AssertUnwindSafe(|| unsafe { live(boot, GLUE) }));
    // The panic has been reported. The isolate's host never becomes ready, and whoever waits for it hears why from the main copy.
    lived.unwrap_or(u32::MAX)
}
