//! Linker namespaces and their shims, without Python but for the last module.
//!
//! Nothing here may call the library's Python side: while nothing does, the linker leaves it out, and this program
//! starts without libpython.
//!
//! Every test has a process of its own: namespaces are few, and some tests crash on purpose.

#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

mod fixture;
mod fork;
mod heap;
mod lifetime;
mod opening;
mod python;
mod threads;
