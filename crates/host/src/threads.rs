//! The threads that run Python.

use atoll_core::client::HostId;
use std::thread;

/// The stack of every thread that runs Python: CPython's own recursion checks strike long before it is used up.
pub(crate) const STACK_BYTES: usize = 16 << 20;

/// Starts a detached thread. Its end is known to the host, which counts it.
pub(crate) fn start(host: HostId, body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    thread::Builder::new()
        .name(format!("atoll-{}", host.to_raw()))
        .stack_size(STACK_BYTES)
        .spawn(body)
        .map(drop)
        .map_err(|error| format!("no thread to be had: {error}"))
}
