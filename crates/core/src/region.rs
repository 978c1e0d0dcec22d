//! Reference-counted bytes that several interpreters read.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::pages;

/// Bytes, shared by reference count: immutable, but for a sole owner. The memory goes back to the copy of the library that
/// made it, wherever the last reference is dropped.
#[repr(transparent)]
pub struct Region(*mut Shared);

#[repr(C)]
struct Shared {
    references: AtomicUsize,
    free: unsafe extern "C" fn(*mut Shared),
    pointer: *const u8,
    length: usize,
    capacity: usize,
}

// SAFETY: the bytes never change, and the count is atomic.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Takes the bytes over, without copying them.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        Self(Box::into_raw(Box::new(Shared {
            references: AtomicUsize::new(1),
            free: free_shared,
            pointer: bytes.as_mut_ptr(),
            length: bytes.len(),
            capacity: bytes.capacity(),
        })))
    }

    /// A copy of the bytes; `None` where there is no memory for it.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < pages::LARGE_BYTES {
            let mut copy = Vec::new();
            copy.try_reserve_exact(bytes.len()).ok()?;
            copy.extend_from_slice(bytes);
            return Some(Self::from_vec(copy));
        }
        let pointer = pages::copy(bytes)?.as_ptr();
        Some(Self(Box::into_raw(Box::new(Shared {
            references: AtomicUsize::new(1),
            free: free_pages,
            pointer,
            length: bytes.len(),
            capacity: bytes.len(),
        }))))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self
    }

    /// Whether this is the only reference.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        // ORDERING: Acquire pairs with the Release of everybody else's drop.
        // SAFETY: our reference keeps the header alive.
        unsafe { (*self.0).references.load(Ordering::Acquire) == 1 }
    }

    /// Its memory, to be written to by an owner that shares it with nobody: what a message carries has one receiver.
    ///
    /// Whoever writes there sees to it that the region [is unique](Self::is_unique) and stays so, and that nobody has its
    /// [`bytes`](Self::bytes) meanwhile.
    #[must_use]
    pub fn as_mut_ptr(&self) -> *mut u8 {
        // SAFETY: our reference keeps the header alive.
        unsafe { (*self.0).pointer.cast_mut() }
    }

    /// As the function table carries it: one reference, given away.
    #[must_use]
    pub fn into_raw(self) -> *const std::ffi::c_void {
        let raw = self.0;
        std::mem::forget(self);
        raw.cast()
    }

    /// # Safety
    /// *raw* came from [`Self::into_raw`], and its reference is taken back once.
    #[must_use]
    pub unsafe fn from_raw(raw: *const std::ffi::c_void) -> Self {
        Self(raw.cast_mut().cast())
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: our reference keeps the header and the bytes alive, and nobody changes them.
        unsafe { std::slice::from_raw_parts((*self.0).pointer, (*self.0).length) }
    }
}

impl Clone for Region {
    fn clone(&self) -> Self {
        // ORDERING: Relaxed: we hold a reference already, so the count cannot reach zero meanwhile.
        // SAFETY: our reference keeps the header alive.
        unsafe { (*self.0).references.fetch_add(1, Ordering::Relaxed) };
        Self(self.0)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: our reference keeps the header alive.
        // ORDERING: Release: our reads come before the freeing by whoever is last.
        if unsafe { (*self.0).references.fetch_sub(1, Ordering::Release) } == 1 {
            // ORDERING: pairs with the Release of everybody else's drop.
            fence(Ordering::Acquire);
            // SAFETY: the last reference is gone.
            unsafe { ((*self.0).free)(self.0) };
        }
    }
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Region({} bytes)", self.len())
    }
}

/// # Safety
/// *shared* was made by `Region::from_vec` of this copy of the library, and nobody uses it any more.
unsafe extern "C" fn free_shared(shared: *mut Shared) {
    // SAFETY: made by Box in `from_vec`, by the caller.
    let shared = unsafe { Box::from_raw(shared) };
    // SAFETY: the parts of the Vec that `from_vec` took apart.
    drop(unsafe { Vec::from_raw_parts(shared.pointer.cast_mut(), shared.length, shared.capacity) });
}

/// # Safety
/// *shared* was made by `Region::copy_of` in pages, and nobody uses it any more.
unsafe extern "C" fn free_pages(shared: *mut Shared) {
    // SAFETY: made by Box in `copy_of`, by the caller.
    let shared = unsafe { Box::from_raw(shared) };
    // SAFETY: pages of this size, mapped there; nobody uses them any more, by the caller.
    unsafe { pages::unmap(shared.pointer.cast_mut(), shared.length) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_bytes_elsewhere_whatever_its_size() {
        for size in [0, 1, 100_000, pages::LARGE_BYTES + 1] {
            let original = vec![7; size];
            let region = Region::copy_of(&original).expect("there is memory for it");
            assert_eq!(region.bytes(), original);
            // SAFETY: nobody else has the region.
            unsafe { region.as_mut_ptr().write_bytes(8, size) };
            assert_eq!(original, vec![7; size]);
            drop(region.clone());
            assert_eq!(region.bytes(), vec![8; size]);
        }
    }

    #[test]
    fn the_bytes_live_as_long_as_any_reference() {
        let region = Region::from_vec(b"shared".to_vec());
        let other = region.clone();
        drop(region);
        assert_eq!(other.bytes(), b"shared");
        // SAFETY: a raw reference made here, taken back once.
        let back = unsafe { Region::from_raw(other.into_raw()) };
        assert_eq!(&*back, b"shared");
    }
}
