//! Memory for large copies, straight from the operating system and in huge pages where it has such.
//!
//! A fresh mapping of ordinary pages costs a fault for every 4 KiB: four fifths of the time that copying into it takes.

use std::ptr::NonNull;

/// A copy of at least this many bytes is worth a mapping of its own.
pub(crate) const LARGE_BYTES: usize = 4 * 1024 * 1024;

/// The size and the alignment of a huge page (on another machine: of a stretch that is merely aligned).
const HUGE_BYTES: usize = 2 * 1024 * 1024;

/// Copies *data* into pages of its own, to be given back by [`unmap`]; `None` where there is no memory.
pub(crate) fn copy(data: &[u8]) -> Option<NonNull<u8>> {
    let pages = map(data.len())?;
    // SAFETY: as many bytes, just mapped: nobody else's.
    unsafe {
        pages
            .as_ptr()
            .copy_from_nonoverlapping(data.as_ptr(), data.len())
    };
    Some(pages)
}

/// Fresh pages for so many bytes, all zero, to be given back by [`unmap`]; `None` where there is no memory.
///
/// They lie from a border between huge pages on. The last huge page that would not be full is ordinary pages, so that no
/// memory is taken for nothing.
pub(crate) fn map(size_bytes: usize) -> Option<NonNull<u8>> {
    let wanted = size_bytes.checked_add(HUGE_BYTES)?;
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: asks for memory anywhere; nothing that exists is touched.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), wanted, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return None;
    }
    let before = start.addr().wrapping_neg() % HUGE_BYTES;
    // What is not needed goes back: the end of the mapping down to the last page of ours, and what is before the border.
    let start = start.cast::<u8>();
    // SAFETY: `before` is less than HUGE_BYTES, so that it and the bytes lie in the mapping.
    let pages = unsafe { start.add(before) };
    let kept = before + whole_pages(size_bytes);
    // SAFETY: whole pages of our own mapping that nobody has seen yet.
    unsafe {
        if before > 0 {
            libc::munmap(start.cast(), before);
        }
        if kept < wanted {
            libc::munmap(start.add(kept).cast(), wanted - kept);
        }
    }
    let huge = size_bytes / HUGE_BYTES * HUGE_BYTES;
    // SAFETY: our own mapping. It is a wish: where it is refused, the pages are ordinary ones.
    unsafe { libc::madvise(pages.cast(), huge, libc::MADV_HUGEPAGE) };
    NonNull::new(pages)
}

/// Gives back what [`copy`] or [`map`] made for so many bytes.
///
/// # Safety
/// *pages* came from there with this size, and nobody uses it any more.
pub(crate) unsafe fn unmap(pages: *mut u8, size_bytes: usize) {
    // SAFETY: exactly the mapping that `map` kept, by the caller.
    unsafe { libc::munmap(pages.cast(), whole_pages(size_bytes)) };
}

fn whole_pages(size_bytes: usize) -> usize {
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    size_bytes.next_multiple_of(usize::try_from(page).unwrap_or(HUGE_BYTES))
}

#[cfg(all(test, not(loom), not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn a_copy_starts_at_a_border_of_huge_pages_and_has_the_bytes() {
        for size in [1, LARGE_BYTES, LARGE_BYTES + 1, 3 * HUGE_BYTES - 1] {
            let data: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
            let pages = copy(&data).expect("there is memory for it");
            assert_eq!(pages.as_ptr().addr() % HUGE_BYTES, 0);
            // SAFETY: `copy` made as many bytes.
            let copied = unsafe { std::slice::from_raw_parts(pages.as_ptr(), size) };
            assert_eq!(copied, data);
            // SAFETY: made above, and not used any more.
            unsafe { unmap(pages.as_ptr(), size) };
        }
    }

    #[test]
    fn a_size_that_no_machine_has_is_refused() {
        assert!(map(usize::MAX / 2).is_none());
        assert!(map(usize::MAX).is_none());
    }
}
