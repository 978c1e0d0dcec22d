//! How many isolates fit into this process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Namespaces besides the main one that glibc can number.
pub(super) const MOST: usize = 15;
/// The value of the tunable `glibc.rtld.nns` in a process that was started without it.
const DEFAULT_TUNABLE: usize = 4;

/// How many namespaces fit into this process.
///
/// glibc sets static thread-local memory aside for `glibc.rtld.nns` of them when a process starts, so what counts is the
/// tunable at that time. Some more fit in fact, how many depends on the libraries; one is safe to count on.
pub fn limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    let told = *LIMIT.get_or_init(|| {
        let environment = std::fs::read("/proc/self/environ").unwrap_or_default();
        let tunable = tunable_in(&String::from_utf8_lossy(&environment));
        (tunable.unwrap_or(DEFAULT_TUNABLE) + 1).min(MOST)
    });
    told.min(FOUND.load(Ordering::Relaxed))
}

/// How many there turned out to be room for: other libraries may use up what glibc sets aside.
static FOUND: AtomicUsize = AtomicUsize::new(MOST);

/// The loader had no room beside so many namespaces.
pub(super) fn lower_to(opened: usize) {
    FOUND.fetch_min(opened, Ordering::Relaxed);
}

/// What GLIBC_TUNABLES in this environment says about namespaces, read as glibc reads it: the last one counts, and one out of
/// range does not.
///
/// Until 2.37, glibc cuts the variable in its place: where a colon stood between two tunables, there is NUL.
fn tunable_in(environment: &str) -> Option<usize> {
    let mut items = environment
        .split('\0')
        .skip_while(|item| !item.starts_with("GLIBC_TUNABLES="));
    let first = items.next()?.strip_prefix("GLIBC_TUNABLES=")?;
    let rest = items.take_while(|item| item.starts_with("glibc."));
    [first]
        .into_iter()
        .chain(rest)
        .flat_map(|item| item.split(':'))
        .filter_map(|tunable| tunable.strip_prefix("glibc.rtld.nns="))
        .filter_map(|value| value.parse().ok())
        .filter(|number| (1..=16).contains(number))
        .last()
}

#[cfg(test)]
mod tests {
    use super::tunable_in;

    #[test]
    fn the_tunable_is_found_in_whole_and_in_cut_variables() {
        for (environment, number) in [
            ("", None),
            ("A=1\0GLIBC_TUNABLES=\0B=2\0", None),
            ("GLIBC_TUNABLES=glibc.rtld.nns=16\0", Some(16)),
            (
                "A=1\0GLIBC_TUNABLES=glibc.malloc.check=0:glibc.rtld.nns=7\0",
                Some(7),
            ),
            (
                "GLIBC_TUNABLES=glibc.malloc.check=0\0glibc.rtld.nns=7\0A=1\0",
                Some(7),
            ),
            (
                "GLIBC_TUNABLES=glibc.malloc.check=0\0A=1\0glibc.rtld.nns=7\0",
                None,
            ),
            (
                "GLIBC_TUNABLES=glibc.rtld.nns=7:glibc.rtld.nns=9:glibc.rtld.nns=17\0",
                Some(9),
            ),
            ("MY_GLIBC_TUNABLES=glibc.rtld.nns=16\0", None),
        ] {
            assert_eq!(tunable_in(environment), number, "{environment:?}");
        }
    }
}
