//! How many isolates fit into this process.

use std::sync::OnceLock;

/// Namespaces besides the main one that glibc can number.
const MOST: usize = 15;
/// The value of the tunable `glibc.rtld.nns` in a process that was started without it.
const DEFAULT_TUNABLE: usize = 4;

/// How many namespaces fit into this process.
///
/// glibc sets static thread-local memory aside for `glibc.rtld.nns` of them when a process starts, so what counts is the
/// tunable at that time. Some more fit in fact, how many depends on the libraries; one is safe to count on.
pub fn limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let environment = std::fs::read("/proc/self/environ").unwrap_or_default();
        let tunable = environment
            .split(|&byte| byte == 0)
            .find_map(|item| item.strip_prefix(b"GLIBC_TUNABLES="))
            .and_then(|value| tunable_in(&String::from_utf8_lossy(value)));
        (tunable.unwrap_or(DEFAULT_TUNABLE) + 1).min(MOST)
    })
}

/// What this value of GLIBC_TUNABLES says about namespaces, read as glibc reads it: the last one counts, and one out of range
/// does not.
fn tunable_in(tunables: &str) -> Option<usize> {
    tunables
        .split(':')
        .filter_map(|tunable| tunable.strip_prefix("glibc.rtld.nns="))
        .filter_map(|value| value.parse().ok())
        .rfind(|number| (1..=16).contains(number))
}
