//! Hosts of kind `isolate`: private copies of libpython, each in a linker namespace of its own.
//!
//! See the README beside this file for how and why.

mod boot;
mod driver;
mod environment;
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
mod exit;
mod inside;
mod library;
mod limits;
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
mod loader;
#[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")))]
#[path = "elsewhere.rs"]
mod loader;

#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
use exit::prepare as prepare_exit;
#[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")))]
use loader::prepare_exit;

pub use boot::Boot;
pub use driver::{IsolateDriver, Room};
pub use inside::{Glue, live, room_of_all};
pub use library::LibPython;
pub use limits::limit;
pub use loader::{Library, Namespace, OpenError, opened, unsupported};
