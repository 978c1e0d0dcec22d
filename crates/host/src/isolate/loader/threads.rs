//! Threads and keys: the functions of the shim that make them for a namespace.
//!
//! Both belong to the main namespace, as in any process. What the namespace needs on top is done here.

use super::shim::{Context, base_of, main_address};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `<threads.h>`.
const THRD_ERROR: c_int = 2;
const THRD_NOMEM: c_int = 3;

/// A thread's function. It may be left by `pthread_exit` or a cancellation, which unwind it.
type Start<T> = unsafe extern "C-unwind" fn(*mut c_void) -> T;

/// What a new thread of the namespace has to do.
struct Errand<T> {
    start: Start<T>,
    argument: *mut c_void,
    ctype_init: unsafe extern "C" fn(),
}

impl<T> Errand<T> {
    /// Moves it to the heap; null if that is full.
    fn into_heap(self) -> *mut Self {
        // SAFETY: room for one of these; malloc aligns it.
        unsafe {
            let place = libc::malloc(size_of::<Self>()).cast::<Self>();
            if !place.is_null() {
                place.write(self);
            }
            place
        }
    }

    /// # Safety
    ///
    /// `place` is from [`Errand::into_heap`], and given up.
    unsafe fn from_heap(place: *mut Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let errand = place.read();
            libc::free(place.cast());
            errand
        }
    }
}

pub(super) unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: Start<*mut c_void>,
    argument: *mut c_void,
    context: &Context,
) -> c_int {
    unsafe extern "C" {
        // As in libc, but for a function that may be unwound.
        #[link_name = "pthread_create"]
        fn create(
            thread: *mut libc::pthread_t,
            attributes: *const libc::pthread_attr_t,
            start: Start<*mut c_void>,
            argument: *mut c_void,
        ) -> c_int;
    }
    let errand = Errand {
        start,
        argument,
        ctype_init: context.ctype_init,
    }
    .into_heap();
    if errand.is_null() {
        return libc::EAGAIN;
    }
    // SAFETY: the caller's arguments, and ours for `begin`.
    let result = unsafe { create(thread, attributes, begin::<*mut c_void>, errand.cast()) };
    if result != 0 {
        // SAFETY: no thread has got it.
        unsafe { libc::free(errand.cast()) };
    }
    result
}

pub(super) unsafe extern "C" fn thrd_create(
    thread: *mut libc::pthread_t,
    start: Start<c_int>,
    argument: *mut c_void,
    context: &Context,
) -> c_int {
    type Create = unsafe extern "C" fn(*mut libc::pthread_t, Start<c_int>, *mut c_void) -> c_int;
    // Asked for by name, since a reference would keep this library from loading where it is missing.
    static MAIN: OnceLock<usize> = OnceLock::new();
    let main = *MAIN.get_or_init(|| main_address(c"thrd_create"));
    if main == 0 {
        return THRD_ERROR;
    }
    let errand = Errand {
        start,
        argument,
        ctype_init: context.ctype_init,
    }
    .into_heap();
    if errand.is_null() {
        return THRD_NOMEM;
    }
    // SAFETY: the address of the function that has this signature; the caller's arguments, and ours for `begin`.
    let result = unsafe {
        let create = *(&raw const main).cast::<Create>();
        create(thread, begin::<c_int>, errand.cast())
    };
    if result != 0 {
        // SAFETY: no thread has got it.
        unsafe { libc::free(errand.cast()) };
    }
    result
}

/// The first function of every thread that is made in the namespace.
///
/// Nothing here has a destructor: a thread that is cancelled unwinds this frame.
unsafe extern "C-unwind" fn begin<T>(errand: *mut c_void) -> T {
    // SAFETY: the thread's maker gave it to this thread.
    let errand = unsafe { Errand::<T>::from_heap(errand.cast()) };
    // SAFETY: a function of the namespace's libc without conditions; then the one that the thread is made for.
    unsafe {
        (errand.ctype_init)();
        (errand.start)(errand.argument)
    }
}

/// Which shim made a key for its namespace: the address of its context, by the key's number.
///
/// A key's destructor is a function of whoever made it, so no key may outlive its namespace. (`libpython` makes one while it is
/// loaded.) Nothing locks in here, since forked children come by.
static KEY_OWNERS: [AtomicUsize; PTHREAD_KEYS_MAX] =
    [const { AtomicUsize::new(0) }; PTHREAD_KEYS_MAX];
/// How many keys glibc has.
const PTHREAD_KEYS_MAX: usize = 1024;

pub(super) unsafe extern "C" fn key_create(
    key: *mut libc::pthread_key_t,
    destructor: Option<unsafe extern "C" fn(*mut c_void)>,
    context: &Context,
) -> c_int {
    // SAFETY: the caller's arguments; after success, the key is there.
    unsafe {
        let result = libc::pthread_key_create(key, destructor);
        if result == 0
            && let Some(owner) = KEY_OWNERS.get(*key as usize)
        {
            owner.store(ptr::from_ref(context).addr(), Ordering::Relaxed);
        }
        result
    }
}

pub(super) unsafe extern "C" fn key_delete(key: libc::pthread_key_t) -> c_int {
    // Before the number is given to somebody else.
    if let Some(owner) = KEY_OWNERS.get(key as usize) {
        owner.store(0, Ordering::Relaxed);
    }
    // SAFETY: the caller's argument.
    unsafe { libc::pthread_key_delete(key) }
}

pub(super) unsafe extern "C" fn tss_create(
    key: *mut libc::pthread_key_t,
    destructor: Option<unsafe extern "C" fn(*mut c_void)>,
    context: &Context,
) -> c_int {
    // SAFETY: the caller's arguments. The two kinds of keys are one in glibc.
    let result = unsafe { key_create(key, destructor, context) };
    if result == 0 { 0 } else { THRD_ERROR }
}

pub(super) unsafe extern "C" fn tss_delete(key: libc::pthread_key_t) {
    // SAFETY: the caller's argument.
    unsafe { key_delete(key) };
}

/// The keys that were made through the shim which `stub` lies in, and not deleted.
pub(super) fn keys_made_through(stub: *const c_void) -> Vec<libc::pthread_key_t> {
    let shim = base_of(stub);
    let owners = KEY_OWNERS.iter().enumerate();
    let made = owners.filter(|(_, owner)| {
        let owner = owner.load(Ordering::Relaxed);
        owner != 0 && base_of(ptr::without_provenance(owner)) == shim
    });
    made.map(|(key, _)| key as libc::pthread_key_t).collect()
}

/// Deletes keys of a namespace that is gone.
pub(super) fn delete_keys(keys: Vec<libc::pthread_key_t>) {
    for key in keys {
        // SAFETY: a key, that nobody has any more.
        unsafe { key_delete(key) };
    }
}
