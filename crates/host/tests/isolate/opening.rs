//! What `dlopen`, `getenv` and `FILE`s mean in a namespace.

use crate::fixture::{Probe, alone, call, library};
use std::env;
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;

#[test]
fn dlopen_without_a_name_means_the_namespace_s_own() {
    alone(|| {
        let (one, other) = (Probe::open(), Probe::open());
        for probe in [&one, &other] {
            let handle = call!(probe.open_null() -> *mut c_void);
            let name = c"probe_is_not_here".as_ptr();
            assert!(
                call!(probe.symbol_of(handle => *mut c_void, name => *const c_char) -> *mut c_void)
                    .is_null()
            );
            let name = c"open_null".as_ptr();
            let found =
                call!(probe.symbol_of(handle => *mut c_void, name => *const c_char) -> *mut c_void);
            assert_eq!(
                found,
                probe.symbol(c"open_null").expect("a symbol").as_ptr()
            );
        }
    });
}

#[test]
fn dlopen_loads_into_the_caller_s_namespace_and_survives_rtld_global() {
    alone(|| {
        let (one, other) = (Probe::open(), Probe::open());
        let name = c"libm.so.6".as_ptr();
        for probe in [&one, &other] {
            let own = call!(probe.open_null() -> *mut c_void);
            let namespace = call!(probe.namespace_of(own => *mut c_void) -> c_long);
            assert_ne!(namespace, libc::LM_ID_BASE);
            let handle = call!(probe.open_global(name => *const c_char) -> *mut c_void);
            assert!(!handle.is_null());
            assert_eq!(
                call!(probe.namespace_of(handle => *mut c_void) -> c_long),
                namespace
            );
        }
    });
}

#[test]
fn dlopen_looks_where_its_caller_says() {
    alone(|| {
        let probe = Probe::open();
        // In the folder of the probe, which its RUNPATH names.
        let file = library("tls");
        let name = file.file_name().expect("a name").to_str().expect("UTF-8");
        let name = CString::new(name).expect("no NUL");
        let handle = call!(probe.open_global(name.as_ptr() => *const c_char) -> *mut c_void);
        assert!(!handle.is_null());
    });
}

#[test]
fn dlopen_works_in_a_constructor_that_runs_while_the_namespace_is_loaded() {
    alone(|| {
        let probe = Probe::open();
        let own = call!(probe.open_null() -> *mut c_void);
        for name in [c"early_null", c"early_global"] {
            let variable = probe.symbol(name).expect("a symbol").cast::<*mut c_void>();
            // SAFETY: a variable of this type.
            let handle = unsafe { variable.read() };
            assert!(!handle.is_null());
            assert_eq!(
                call!(probe.namespace_of(handle => *mut c_void) -> c_long),
                call!(probe.namespace_of(own => *mut c_void) -> c_long)
            );
        }
    });
}

#[test]
fn a_library_opened_by_the_number_that_the_shim_s_file_had_is_that_library() {
    alone(|| {
        let probe = Probe::open();
        let own = call!(probe.open_null() -> *mut c_void);
        let mut place = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
        let stub = probe.symbol(c"malloc").expect("a stub").as_ptr();
        // SAFETY: the place is written for an address that is known.
        let name = unsafe {
            assert_ne!(libc::dladdr(stub, place.as_mut_ptr()), 0);
            CStr::from_ptr(place.assume_init().dli_fname)
        };
        let name = name.to_str().expect("UTF-8");
        let number: c_int = name
            .rsplit('/')
            .next()
            .expect("a part")
            .parse()
            .expect(name);
        let file = File::open(library("tls")).expect("the library");
        // SAFETY: two descriptors, the second of which is free.
        assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), number) }, number);
        let name = CString::new(format!("/proc/self/fd/{number}")).expect("no NUL");
        let opened = call!(probe.open_global(name.as_ptr() => *const c_char) -> *mut c_void);
        assert!(!opened.is_null());
        assert_ne!(opened, own);
        // SAFETY: a handle.
        assert!(!unsafe { libc::dlsym(opened, c"churn".as_ptr()) }.is_null());
    });
}

#[test]
fn the_environment_is_private_and_survives_main_s_changes() {
    alone(|| {
        let probe = Probe::with_environ(&[c"COLOUR=green", c"EMPTY="]);
        let get = |name: &CStr| {
            let value = call!(probe.get_env(name.as_ptr() => *const c_char) -> *const c_char);
            // SAFETY: the value of a variable, which nobody changes meanwhile.
            (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) }.to_owned())
        };
        assert_eq!(get(c"COLOUR").as_deref(), Some(c"green"));
        assert_eq!(get(c"EMPTY").as_deref(), Some(c""));
        assert_eq!(get(c"PATH"), None);
        for number in 0..5000 {
            // SAFETY: the only thread of this process that looks at the environment of the main namespace.
            unsafe { env::set_var(format!("STORM_{number}"), "x".repeat(number % 100)) };
        }
        assert_eq!(get(c"COLOUR").as_deref(), Some(c"green"));
        assert_eq!(get(c"STORM_1"), None);
        let (name, value) = (c"COLOUR".as_ptr(), c"blue".as_ptr());
        assert_eq!(
            call!(probe.set_env(name => *const c_char, value => *const c_char) -> c_int),
            0
        );
        assert_eq!(get(c"COLOUR").as_deref(), Some(c"blue"));
        assert_eq!(env::var_os("COLOUR"), None);
    });
}

#[test]
fn flush_writes_what_the_namespace_has_buffered() {
    alone(|| {
        let probe = Probe::open();
        let file = library("probe").with_extension(std::process::id().to_string());
        let path = CString::new(file.to_str().expect("UTF-8")).expect("no NUL");
        assert!(call!(probe.leave_unflushed(path.as_ptr() => *const c_char) -> c_int) >= 0);
        assert_eq!(std::fs::read(&file).expect("the file"), b"");
        probe.flush().expect("flushed");
        assert_eq!(std::fs::read(&file).expect("the file"), b"buffered");
        std::fs::remove_file(&file).expect("removed");
    });
}

#[test]
fn a_symbol_that_nobody_has_is_none() {
    alone(|| assert_eq!(Probe::open().symbol(c"nobody_has_this"), None));
}
