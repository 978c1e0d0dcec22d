//! How an extension type lets other interpreters share its reference-counted payload, without copying it.
//!
//! [`Share`] is the structure of `atoll.h`: a payload, how to count its references, and the function that makes an object
//! around it in another interpreter. [`Shared`] is a payload of Rust's in that form: an extension's type keeps one, gives its
//! [`share`](Shared::share) out in a capsule named [`CAPSULE`] from `__atoll_share__`, and takes another one's from the capsule
//! that its `rebuild` function is called with. `docs/guide/extension-types.md` has the contract and examples.
//!
//! ```
//! use atoll_share::Shared;
//!
//! let text = Shared::new(String::from("one for all"), 1, c"rope:rebuild");
//! // What another interpreter's copy of the library does with what it finds in its capsule:
//! let there = unsafe { Shared::<String>::from_share(text.share(), 1, c"rope:rebuild") }.unwrap();
//! assert_eq!(there.as_ptr(), text.as_ptr());
//! ```

use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

/// The version of [`Share`]. A structure of another version is refused.
pub const VERSION: u32 = 1;

/// The name of capsules with a [`Share`] in them.
pub const CAPSULE: &CStr = c"atoll.share";

/// A reference-counted payload that several interpreters may have: `struct atoll_share` of `atoll.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// [`VERSION`].
    pub version: u32,
    /// Whatever tells one layout of the payload from another: the library's other copy may be of another release.
    pub layout: u32,
    /// What is shared. Never null.
    pub payload: *mut c_void,
    /// Adds a reference.
    pub retain: Option<unsafe extern "C" fn(*mut c_void)>,
    /// Gives a reference back; the payload ends with the last one. On any thread, attached to Python or not.
    pub release: Option<unsafe extern "C" fn(*mut c_void)>,
    /// `module:function`: called in the receiving interpreter with a capsule, returns the object there.
    pub rebuild: *const c_char,
}

/// One reference to a payload of type `T`, made by this copy of the library or by another one.
///
/// The references are counted by the functions of the copy that made it, as are the memory's end and `T`'s drop.
pub struct Shared<T> {
    share: Share,
    payload: PhantomData<Arc<T>>,
}

// SAFETY: as for `Arc<T>`, which made it; `Share` is a description that nobody writes to.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T: Send + Sync + 'static> Shared<T> {
    /// Shares `value`. `layout` is to change whenever the layout of `T` does; `rebuild` is `module:function`.
    #[must_use]
    pub fn new(value: T, layout: u32, rebuild: &'static CStr) -> Shared<T> {
        let payload = Arc::into_raw(Arc::new(value)).cast_mut().cast();
        Shared {
            share: Share {
                version: VERSION,
                layout,
                payload,
                retain: Some(retain::<T>),
                release: Some(release::<T>),
                rebuild: rebuild.as_ptr(),
            },
            payload: PhantomData,
        }
    }

    /// Another reference to the payload that a capsule describes, to be shared on by `rebuild` of this copy of the library.
    ///
    /// # Errors
    /// Where the structure is of another version, or its payload of another layout.
    ///
    /// # Safety
    /// *share* is alive, and one that [`Shared::<T>::new`] of this library made: in this interpreter or in another one, by this
    /// copy or another one. (A library makes sure of that by the name of its `rebuild`, which nobody else names, and by `layout`.)
    pub unsafe fn from_share(
        share: &Share,
        layout: u32,
        rebuild: &'static CStr,
    ) -> Result<Shared<T>, Mismatch> {
        if (share.version, share.layout) != (VERSION, layout) {
            return Err(Mismatch {
                found: (share.version, share.layout),
                wanted: (VERSION, layout),
            });
        }
        let borrowed = std::mem::ManuallyDrop::new(Shared {
            // The text of theirs ends with the capsule.
            share: Share {
                rebuild: rebuild.as_ptr(),
                ..*share
            },
            payload: PhantomData,
        });
        Ok(Shared::clone(&borrowed))
    }

    /// What to put into a capsule; it is valid as long as this reference is.
    #[must_use]
    pub fn share(&self) -> &Share {
        &self.share
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `new` made the payload from a T, and our reference keeps it.
        unsafe { &*self.share.payload.cast::<T>() }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        if let Some(retain) = self.share.retain {
            // SAFETY: our reference keeps the payload, and `retain` is that of the copy that made it.
            unsafe { retain(self.share.payload) };
        }
        Shared {
            share: self.share,
            payload: PhantomData,
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if let Some(release) = self.share.release {
            // SAFETY: gives our reference back, once, by the function of the copy that made the payload.
            unsafe { release(self.share.payload) };
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// # Safety
/// *payload* came from `Arc::<T>::into_raw` of this copy of the library, and has a reference.
unsafe extern "C" fn retain<T>(payload: *mut c_void) {
    // SAFETY: by the caller.
    unsafe { Arc::increment_strong_count(payload.cast_const().cast::<T>()) };
}

/// # Safety
/// As for [`retain`]; the reference is given back once.
unsafe extern "C" fn release<T>(payload: *mut c_void) {
    // SAFETY: by the caller.
    unsafe { Arc::decrement_strong_count(payload.cast_const().cast::<T>()) };
}

/// A payload of another release of the library, or of Atoll: version and layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// Those of what came.
    pub found: (u32, u32),
    /// Those that were expected.
    pub wanted: (u32, u32),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((version, layout), (wanted, wanted_layout)) = (self.found, self.wanted);
        write!(
            f,
            "cannot take a shared payload over (version {version}, layout {layout}; this library knows {wanted}, \
             {wanted_layout}); install the same release of the library in both interpreters"
        )
    }
}

impl std::error::Error for Mismatch {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_payload_ends_once_with_its_last_reference_on_whichever_thread() {
        let ended = Arc::new(AtomicUsize::new(0));
        let first = Shared::new(Counted(ended.clone()), 3, c"module:function");
        // SAFETY: made right here.
        let second = unsafe { Shared::<Counted>::from_share(first.share(), 3, c"module:function") }
            .expect("it fits");
        let third = second.clone();
        drop((first, second));
        assert_eq!(ended.load(Ordering::SeqCst), 0);
        std::thread::spawn(move || drop(third))
            .join()
            .expect("it ends");
        assert_eq!(ended.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn another_layout_or_version_is_refused_and_takes_no_reference() {
        let shared = Shared::new(7_u64, 3, c"module:function");
        let mut other = *shared.share();
        // SAFETY: made right here.
        let refused = unsafe { Shared::<u64>::from_share(&other, 4, c"module:function") };
        assert_eq!(refused.expect_err("layout 3 is not 4").wanted, (VERSION, 4));
        other.version = 9;
        // SAFETY: made right here.
        let refused = unsafe { Shared::<u64>::from_share(&other, 3, c"module:function") };
        assert!(
            refused
                .expect_err("no such version")
                .to_string()
                .contains("version 9")
        );
        assert_eq!(*shared, 7);
    }
}
