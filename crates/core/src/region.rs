//! Reference-counted bytes that several interpreters read.

use std::ffi::CString;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use atoll_share::Share;

use crate::pages;

/// Bytes, or the payload of somebody else's type, shared by reference count: immutable, but for a sole owner. The memory goes back to the copy of the library that
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
    /// The payload, for a region that is one and has no bytes; null for others.
    share: *const Share,
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
            share: std::ptr::null(),
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
        Some(Self::of_pages(pages::copy(bytes)?, bytes.len()))
    }

    /// So many bytes, all zero; `None` where there is no memory for them.
    #[must_use]
    pub fn zeroed(size_bytes: usize) -> Option<Self> {
        if size_bytes < pages::LARGE_BYTES {
            let mut zeros = Vec::new();
            zeros.try_reserve_exact(size_bytes).ok()?;
            zeros.resize(size_bytes, 0);
            return Some(Self::from_vec(zeros));
        }
        Some(Self::of_pages(pages::map(size_bytes)?, size_bytes))
    }

    /// Takes pages over that are as large as `length` bytes need.
    fn of_pages(pages: NonNull<u8>, length: usize) -> Self {
        Self(Box::into_raw(Box::new(Shared {
            references: AtomicUsize::new(1),
            free: free_pages,
            pointer: pages.as_ptr(),
            length,
            capacity: length,
            share: std::ptr::null(),
        })))
    }

    /// One reference to a payload, which is given back with the region. `rebuild` is the text that *share* points at.
    ///
    /// # Safety
    /// *share* describes a payload that lives, with functions that count it from any thread and stay valid; `retain` and
    /// `release` are there.
    #[must_use]
    pub unsafe fn of_share(share: Share, rebuild: CString) -> Self {
        if let Some(retain) = share.retain {
            // SAFETY: a payload that lives, by the caller.
            unsafe { retain(share.payload) };
        }
        let share = Share {
            rebuild: rebuild.into_raw(),
            ..share
        };
        Self(Box::into_raw(Box::new(Shared {
            references: AtomicUsize::new(1),
            free: free_share,
            pointer: NonNull::dangling().as_ptr(),
            length: 0,
            capacity: 0,
            share: Box::into_raw(Box::new(share)),
        })))
    }

    /// The payload that this region is, if it is one.
    #[must_use]
    pub fn share(&self) -> Option<&Share> {
        // SAFETY: our reference keeps the header alive, and it the description, which nobody changes.
        unsafe { (*self.0).share.as_ref() }
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
/// *shared* was made by `Region::of_pages`, and nobody uses it any more.
unsafe extern "C" fn free_pages(shared: *mut Shared) {
    // SAFETY: made by Box in `of_pages`, by the caller.
    let shared = unsafe { Box::from_raw(shared) };
    // SAFETY: pages of this size, handed over there; nobody uses them any more, by the caller.
    unsafe { pages::unmap(shared.pointer.cast_mut(), shared.length) };
}

/// # Safety
/// *shared* was made by `Region::of_share` of this copy of the library, and nobody uses it any more.
unsafe extern "C" fn free_share(shared: *mut Shared) {
    // SAFETY: made by Box in `of_share`, by the caller.
    let shared = unsafe { Box::from_raw(shared) };
    // SAFETY: likewise.
    let share = unsafe { Box::from_raw(shared.share.cast_mut()) };
    // SAFETY: the text that `of_share` took apart.
    drop(unsafe { CString::from_raw(share.rebuild.cast_mut()) });
    if let Some(release) = share.release {
        // SAFETY: gives back the reference that `of_share` took.
        unsafe { release(share.payload) };
    }
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
            let zeros = Region::zeroed(size).expect("there is memory for it");
            assert_eq!(zeros.bytes(), vec![0; size]);
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

    #[test]
    fn a_payload_lives_as_long_as_any_reference_to_its_region() {
        let payload = std::sync::Arc::new(7_u32);
        let shared = atoll_share::Shared::new(payload.clone(), 1, c"module:function");
        let rebuild = CString::from(c"module:function");
        // SAFETY: `shared` is alive, and counts from any thread.
        let region = unsafe { Region::of_share(*shared.share(), rebuild) };
        drop(shared);
        let other = region.clone();
        drop(region);
        let share = other.share().expect("it is a payload");
        // SAFETY: a payload that `Shared` made above.
        let back = unsafe {
            atoll_share::Shared::<std::sync::Arc<u32>>::from_share(share, 1, c"module:function")
        };
        assert_eq!(**back.expect("the same layout"), 7);
        assert_eq!(other.bytes(), b"");
        assert_eq!(std::sync::Arc::strong_count(&payload), 2);
        std::thread::spawn(move || drop(other))
            .join()
            .expect("it ends");
        assert_eq!(std::sync::Arc::strong_count(&payload), 1);
    }
}
