//! What the shim of a namespace exports, and why. The README of `isolate` tells what happens without each.
//!
//! Most names go straight to the function of that name in the main namespace. The functions in this file stand behind the
//! rest. They are code of the main namespace, called from the isolate's: they use nothing of theirs but what
//! the [`Context`] holds.

use super::image::{Anchored, Export, Image};
use super::x86_64::{FIRST_GLIBC, Stub};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// DT_SONAME of the shim.
pub(super) const NAME: &str = "atoll-isolate-shim.so";

/// Names whose calls go to the main namespace as they are. Those that the running glibc lacks are left out.
const FORWARDED: &[&[&CStr]] = &[
    // The heap. The dynamic linker, the stacks of threads and their keys are shared by all namespaces, and what one copy
    // of libc allocates there another frees.
    &[
        c"malloc",
        c"free",
        c"calloc",
        c"realloc",
        c"reallocarray",
        c"memalign",
        c"aligned_alloc",
        c"posix_memalign",
        c"valloc",
        c"pvalloc",
        c"free_sized",
        c"free_aligned_sized",
        c"cfree",
        c"__libc_malloc",
        c"__libc_free",
        c"__libc_calloc",
        c"__libc_realloc",
        c"__libc_memalign",
        c"__libc_valloc",
        c"__libc_pvalloc",
    ],
    // What asks about that heap, or turns its screws.
    &[
        c"malloc_usable_size",
        c"malloc_trim",
        c"mallinfo",
        c"mallinfo2",
        c"mallopt",
        c"__libc_mallopt",
        c"malloc_info",
        c"malloc_stats",
    ],
    // The values of keys. Each copy of libc numbers its keys from 0, while a thread has one table of values.
    &[
        c"pthread_getspecific",
        c"__pthread_getspecific",
        c"pthread_setspecific",
        c"__pthread_setspecific",
        c"tss_get",
        c"tss_set",
    ],
    // Threads belong to the copy of libc that made them, which is the main one: see `pthread_create` below.
    &[
        c"pthread_join",
        c"__pthread_join",
        c"pthread_detach",
        c"pthread_tryjoin_np",
        c"pthread_timedjoin_np",
        c"pthread_clockjoin_np",
        c"thrd_join",
        c"thrd_detach",
        c"pthread_getattr_default_np",
        c"pthread_setattr_default_np",
    ],
    // Destructors of thread-local variables: called at a thread's end by the copy of libc that made the thread.
    &[c"__cxa_thread_atexit_impl"],
    // Fork locks and repairs the heap of its own copy of libc only, and calls the handlers that were registered there.
    &[c"_Fork", c"__register_atfork", c"pthread_atfork"],
];

/// The addresses in the namespace's own libc that the shim needs. They lie in the image, where the dynamic linker writes
/// them before anything runs in the namespace.
#[repr(C)]
pub(super) struct Context {
    /// Whom it works for is told by its return address, so the stub jumps to it and nobody else calls it.
    dlopen: unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void,
    cxa_finalize: unsafe extern "C" fn(*mut c_void),
    errno_location: unsafe extern "C" fn() -> *mut c_int,
    ctype_init: unsafe extern "C" fn(),
}

/// The symbols of [`Context`], in order. The last one is the anchor: it is not among the shim's exports, and there is one
/// version of it.
const CONTEXT: [&CStr; 4] = [
    c"dlopen",
    c"__cxa_finalize",
    c"__errno_location",
    c"__ctype_init",
];
const ANCHOR: &CStr = CONTEXT[3];
const _: () = assert!(size_of::<Context>() == CONTEXT.len() * size_of::<usize>());

/// How far the symbols of [`Context`] lie from the last of them, in the copy of libc that the handle stands for.
///
/// # Errors
///
/// The name of a symbol that it lacks.
///
/// # Safety
///
/// `libc` is a handle of the dynamic linker.
pub(super) unsafe fn distances(libc: *mut c_void) -> Result<[i64; CONTEXT.len()], &'static str> {
    let address = |name: &'static CStr| {
        // SAFETY: the caller vouches for the handle.
        let address = unsafe { libc::dlsym(libc, name.as_ptr()) };
        if address.is_null() {
            return Err(name.to_str().unwrap_or_default());
        }
        Ok(address.addr() as i64)
    };
    let anchor = address(ANCHOR)?;
    let mut distances = [0; CONTEXT.len()];
    for (distance, name) in distances.iter_mut().zip(CONTEXT) {
        *distance = address(name)? - anchor;
    }
    Ok(distances)
}

/// The shim of a namespace for this library, whose objects are going to find `distances` in their libc.
///
/// # Errors
///
/// If no image can be made of it.
pub(super) fn image(library: &[u8], distances: &[i64; CONTEXT.len()]) -> Result<Vec<u8>, String> {
    let image = Image {
        name: NAME,
        needed: library,
        exports: exports(),
        context: Anchored {
            symbol: ANCHOR.to_str().unwrap_or_default(),
            distances,
            dlopen: mem::offset_of!(Context, dlopen) / size_of::<usize>(),
        },
    };
    image.bytes()
}

/// All that the running glibc has of what a shim exports.
pub(super) fn exports() -> Vec<Export> {
    let plain = FORWARDED.iter().copied().flatten().map(|&name| Export {
        name,
        stub: Stub::Plain,
        target: main_address(name),
    });
    let handled = HANDLED
        .iter()
        .filter(|(name, ..)| main_address(name) != 0)
        .map(|&(name, stub, function)| Export {
            name,
            stub,
            target: function as usize,
        });
    plain
        .filter(|export| export.target != 0)
        .chain(handled)
        .collect()
}

/// The address of a function in the main namespace, as any object there sees it (so that an allocator that was preloaded
/// is the one that serves the isolates), or 0.
fn main_address(name: &CStr) -> usize {
    // SAFETY: a C string; the lookup has no side effects.
    let newest = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if !newest.is_null() {
        return newest.addr();
    }
    // A name that is there for old binaries only.
    // SAFETY: as above.
    unsafe { libc::dlvsym(libc::RTLD_DEFAULT, name.as_ptr(), FIRST_GLIBC.as_ptr()) }.addr()
}

/// Names with a function of ours behind them. The stub's number is the place of the argument that carries the context.
const HANDLED: &[(&CStr, Stub, *const c_void)] = &[
    // Keys, as above. A namespace that goes away takes its own along: see `KeyOwners`.
    (
        c"pthread_key_create",
        Stub::WithContext(2),
        key_create as *const c_void,
    ),
    (
        c"__pthread_key_create",
        Stub::WithContext(2),
        key_create as *const c_void,
    ),
    (
        c"pthread_key_delete",
        Stub::Plain,
        key_delete as *const c_void,
    ),
    (
        c"tss_create",
        Stub::WithContext(2),
        tss_create as *const c_void,
    ),
    (c"tss_delete", Stub::Plain, tss_delete as *const c_void),
    // The stacks of ended threads are one list in the dynamic linker, and what hangs on them is freed by the copy of libc
    // that takes one from there: one heap, one maker. And a new thread needs the namespace's ctype tables.
    (
        c"pthread_create",
        Stub::WithContext(4),
        pthread_create as *const c_void,
    ),
    (
        c"thrd_create",
        Stub::WithContext(3),
        thrd_create as *const c_void,
    ),
    // dlopen(NULL) means the main namespace, and RTLD_GLOBAL crashes in any other.
    (c"dlopen", Stub::Dlopen, own_handle as *const c_void),
    // An object that goes away takes its fork handlers along, and these are in the main libc's list.
    (
        c"__cxa_finalize",
        Stub::WithContext(1),
        cxa_finalize as *const c_void,
    ),
    // The signal by which these reach all threads is handled by the main libc. They report by errno, of which
    // each namespace has its own. And fork: see `FORWARDED`.
    (c"fork", Stub::WithContext(0), fork as *const c_void),
    (c"__fork", Stub::WithContext(0), fork as *const c_void),
    (c"setuid", Stub::WithContext(1), setuid as *const c_void),
    (c"setgid", Stub::WithContext(1), setgid as *const c_void),
    (c"seteuid", Stub::WithContext(1), seteuid as *const c_void),
    (c"setegid", Stub::WithContext(1), setegid as *const c_void),
    (c"setreuid", Stub::WithContext(2), setreuid as *const c_void),
    (c"setregid", Stub::WithContext(2), setregid as *const c_void),
    (
        c"setresuid",
        Stub::WithContext(3),
        setresuid as *const c_void,
    ),
    (
        c"setresgid",
        Stub::WithContext(3),
        setresgid as *const c_void,
    ),
    (
        c"setgroups",
        Stub::WithContext(2),
        setgroups as *const c_void,
    ),
];

/// Functions of the main libc whose errno is put into the namespace's.
macro_rules! with_errno {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name($($argument: $type,)* context: &Context) -> c_int {
            // SAFETY: the caller's arguments.
            let result = unsafe { libc::$name($($argument),*) };
            if result == -1 {
                // SAFETY: the addresses of this thread's errno in two copies of libc.
                unsafe { *(context.errno_location)() = *libc::__errno_location() };
            }
            result
        }
    )*};
}

with_errno! {
    fork();
    setuid(id: libc::uid_t);
    setgid(id: libc::gid_t);
    seteuid(id: libc::uid_t);
    setegid(id: libc::gid_t);
    setreuid(real: libc::uid_t, effective: libc::uid_t);
    setregid(real: libc::gid_t, effective: libc::gid_t);
    setresuid(real: libc::uid_t, effective: libc::uid_t, saved: libc::uid_t);
    setresgid(real: libc::gid_t, effective: libc::gid_t, saved: libc::gid_t);
    setgroups(count: libc::size_t, groups: *const libc::gid_t);
}

/// The handle of all that the namespace started with.
unsafe extern "C" fn own_handle(context: &Context) -> *mut c_void {
    let mut place = mem::MaybeUninit::<libc::Dl_info>::uninit();
    let mut map = ptr::null_mut();
    let mut namespace: libc::Lmid_t = 0;
    // SAFETY: the context lies in the shim. A link map is a handle, and there is one if the first call succeeds. The shim is
    // loaded under the name that the linker has for it, so this finds it and counts one more user.
    unsafe {
        const RTLD_DL_LINKMAP: c_int = 2;
        let address = ptr::from_ref(context).cast();
        if libc::dladdr1(address, place.as_mut_ptr(), &mut map, RTLD_DL_LINKMAP) == 0
            || libc::dlinfo(map, libc::RTLD_DI_LMID, (&raw mut namespace).cast()) != 0
        {
            return ptr::null_mut();
        }
        let name = place.assume_init().dli_fname;
        libc::dlmopen(namespace, name, libc::RTLD_NOW | libc::RTLD_NOLOAD)
    }
}

/// Takes the object's fork handlers out of the main libc's list, then does what the namespace's own function does.
unsafe extern "C" fn cxa_finalize(object: *mut c_void, context: &Context) {
    unsafe extern "C" {
        fn __cxa_finalize(object: *mut c_void);
    }
    // NULL means every object, those of the main namespace, too.
    if !object.is_null() {
        // SAFETY: what a namespace's object registers to be called at exit is in its own libc's list, not in this one.
        unsafe { __cxa_finalize(object) };
    }
    // SAFETY: the caller's argument.
    unsafe { (context.cxa_finalize)(object) };
}

/// Which shim made a key for its namespace: the address of its context, by the key's number.
///
/// A key's destructor is a function of whoever made it, so no key may outlive its namespace. (`libpython` makes one while it is
/// loaded.) Nothing locks in here, since forked children come by.
static KEY_OWNERS: [AtomicUsize; PTHREAD_KEYS_MAX] =
    [const { AtomicUsize::new(0) }; PTHREAD_KEYS_MAX];
/// How many keys glibc has.
const PTHREAD_KEYS_MAX: usize = 1024;

unsafe extern "C" fn key_create(
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

unsafe extern "C" fn key_delete(key: libc::pthread_key_t) -> c_int {
    // Before the number is given to somebody else.
    if let Some(owner) = KEY_OWNERS.get(key as usize) {
        owner.store(0, Ordering::Relaxed);
    }
    // SAFETY: the caller's argument.
    unsafe { libc::pthread_key_delete(key) }
}

unsafe extern "C" fn tss_create(
    key: *mut libc::pthread_key_t,
    destructor: Option<unsafe extern "C" fn(*mut c_void)>,
    context: &Context,
) -> c_int {
    // SAFETY: the caller's arguments. The two kinds of keys are one in glibc.
    let result = unsafe { key_create(key, destructor, context) };
    if result == 0 { 0 } else { THRD_ERROR }
}

unsafe extern "C" fn tss_delete(key: libc::pthread_key_t) {
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

/// Where the object begins that an address lies in, if there is one.
pub(super) fn base_of(address: *const c_void) -> Option<usize> {
    let mut place = mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: any address may be asked about; the place is written if there is an answer.
    unsafe {
        (libc::dladdr(address, place.as_mut_ptr()) != 0)
            .then(|| place.assume_init().dli_fbase.addr())
    }
}

/// A thread's function. It may be left by `pthread_exit` or a cancellation, which unwind it.
type Start<T> = unsafe extern "C-unwind" fn(*mut c_void) -> T;

/// `<threads.h>`.
const THRD_ERROR: c_int = 2;
const THRD_NOMEM: c_int = 3;

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

unsafe extern "C" fn pthread_create(
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

unsafe extern "C" fn thrd_create(
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_that_glibc_lacks_are_not_exported_and_all_others_are() {
        let exported: BTreeSet<_> = exports().iter().map(|export| export.name).collect();
        let handled = HANDLED.iter().map(|&(name, ..)| name);
        let listed = FORWARDED.iter().copied().flatten().copied().chain(handled);
        for name in listed {
            assert_eq!(exported.contains(name), main_address(name) != 0, "{name:?}");
        }
        assert!(!exported.contains(c"pthread_nobody_has_this"));
        assert_eq!(main_address(c"pthread_nobody_has_this"), 0);
    }

    #[test]
    fn forwarded_names_go_to_the_functions_that_main_uses() {
        for (name, function) in [
            (c"malloc", libc::malloc as *const c_void),
            (c"free", libc::free as *const c_void),
            (c"pthread_join", libc::pthread_join as *const c_void),
            (
                c"pthread_getspecific",
                libc::pthread_getspecific as *const c_void,
            ),
        ] {
            let export = exports().into_iter().find(|export| export.name == name);
            assert_eq!(
                export.expect("an export").target,
                function as usize,
                "{name:?}"
            );
        }
    }

    #[test]
    fn names_for_old_binaries_are_found_too() {
        // These have no default version in any glibc that isolates run with.
        for name in [c"__pthread_getspecific", c"__pthread_setspecific", c"cfree"] {
            assert_ne!(main_address(name), 0, "{name:?}");
        }
    }
}
