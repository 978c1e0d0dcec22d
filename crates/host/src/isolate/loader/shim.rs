//! What the shim of a namespace exports, and why. The README of `isolate` tells what happens without each.
//!
//! Most names go straight to the function of that name in the main namespace. The functions in this file and in
//! [`threads`] stand behind the rest. They are code of the main namespace, called from the isolate's: they use nothing of theirs but what
//! the [`Context`] holds.

use super::image::{Anchored, Export, Image};
use super::threads;
use super::x86_64::{FIRST_GLIBC, Stub};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;
use std::ptr;

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
    pub(super) ctype_init: unsafe extern "C" fn(),
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
    let handled = HANDLED.iter().map(|&(name, arguments, function)| Export {
        name,
        stub: Stub::WithContext(arguments),
        target: function as usize,
    });
    // dlopen(NULL) means the main namespace, and RTLD_GLOBAL crashes in any other.
    let dlopen = Export {
        name: c"dlopen",
        stub: Stub::Dlopen,
        target: own_handle as *const c_void as usize,
    };
    plain
        .chain(handled)
        .chain([dlopen])
        .filter(|export| main_address(export.name) != 0)
        .collect()
}

/// The address of a function in the main namespace, as any object there sees it (so that an allocator that was preloaded
/// is the one that serves the isolates), or 0.
pub(super) fn main_address(name: &CStr) -> usize {
    // SAFETY: a C string; the lookup has no side effects.
    let newest = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if !newest.is_null() {
        return newest.addr();
    }
    // A name that is there for old binaries only.
    // SAFETY: as above.
    unsafe { libc::dlvsym(libc::RTLD_DEFAULT, name.as_ptr(), FIRST_GLIBC.as_ptr()) }.addr()
}

/// Names with a function of ours behind them, and how many arguments it has before the context.
const HANDLED: &[(&CStr, usize, *const c_void)] = &[
    // Keys, as above. A namespace that goes away takes its own along.
    (c"pthread_key_create", 2, threads::key_create as *const _),
    (c"__pthread_key_create", 2, threads::key_create as *const _),
    (c"pthread_key_delete", 1, threads::key_delete as *const _),
    (c"tss_create", 2, threads::tss_create as *const _),
    (c"tss_delete", 1, threads::tss_delete as *const _),
    // The stacks of ended threads are one list in the dynamic linker, and what hangs on them is freed by the copy of libc
    // that takes one from there: one heap, one maker. And a new thread needs the namespace's ctype tables.
    (c"pthread_create", 4, threads::pthread_create as *const _),
    (c"thrd_create", 3, threads::thrd_create as *const _),
    // An object that goes away takes its fork handlers along, and these are in the main libc's list.
    (c"__cxa_finalize", 1, cxa_finalize as *const _),
    // Fork, as above, and what forks in libc. These report by errno, of which each namespace has its own.
    (c"fork", 0, fork as *const _),
    (c"__fork", 0, fork as *const _),
    (c"forkpty", 4, forkpty as *const _),
    (c"daemon", 2, daemon as *const _),
    // The signal by which these reach all threads is handled by the main libc.
    (c"setuid", 1, setuid as *const _),
    (c"setgid", 1, setgid as *const _),
    (c"seteuid", 1, seteuid as *const _),
    (c"setegid", 1, setegid as *const _),
    (c"setreuid", 2, setreuid as *const _),
    (c"setregid", 2, setregid as *const _),
    (c"setresuid", 3, setresuid as *const _),
    (c"setresgid", 3, setresgid as *const _),
    (c"setgroups", 2, setgroups as *const _),
    (c"initgroups", 2, initgroups as *const _),
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
    forkpty(
        terminal: *mut c_int,
        name: *mut c_char,
        settings: *const libc::termios,
        size: *const libc::winsize
    );
    daemon(stay: c_int, keep: c_int);
    setuid(id: libc::uid_t);
    setgid(id: libc::gid_t);
    seteuid(id: libc::uid_t);
    setegid(id: libc::gid_t);
    setreuid(real: libc::uid_t, effective: libc::uid_t);
    setregid(real: libc::gid_t, effective: libc::gid_t);
    setresuid(real: libc::uid_t, effective: libc::uid_t, saved: libc::uid_t);
    setresgid(real: libc::gid_t, effective: libc::gid_t, saved: libc::gid_t);
    setgroups(count: libc::size_t, groups: *const libc::gid_t);
    initgroups(user: *const c_char, group: libc::gid_t);
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

/// Where the object begins that an address lies in, if there is one.
pub(super) fn base_of(address: *const c_void) -> Option<usize> {
    let mut place = mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: any address may be asked about; the place is written if there is an answer.
    unsafe {
        (libc::dladdr(address, place.as_mut_ptr()) != 0)
            .then(|| place.assume_init().dli_fbase.addr())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_that_glibc_lacks_are_not_exported_and_all_others_are() {
        let exported: BTreeSet<_> = exports().iter().map(|export| export.name).collect();
        let handled = HANDLED.iter().map(|&(name, ..)| name);
        let plain = FORWARDED.iter().copied().flatten().copied();
        let listed = plain.chain(handled).chain([c"dlopen"]);
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
