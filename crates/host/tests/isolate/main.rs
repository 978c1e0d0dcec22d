//! Linker namespaces and their shims, without Python but for the last module.
//!
//! The sources are included here rather than the library linked, since the library refers to CPython's functions, and a
//! program with it in needs libpython to start. So the unit tests of these modules run here, too.
//!
//! Every test has a process of its own: namespaces are few, and some tests crash on purpose.

#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#![expect(
    dead_code,
    unreachable_pub,
    reason = "who else uses these modules is not in this program"
)]

#[path = "../../src/isolate/library.rs"]
mod library;
#[path = "../../src/isolate/limits.rs"]
mod limits;
#[path = "../../src/isolate/loader/mod.rs"]
mod loader;

mod fixture;
mod fork;
mod heap;
mod lifetime;
mod opening;
mod python;
mod threads;
