//! The step from C into Rust: every function that Python calls goes through [`guard`], so that no panic crosses C.
//!
//! A trampoline is an `extern "C"` function generic over the *type* of a Rust function. Such a type has no size and one value, so
//! the trampoline needs no pointer to it: [`body`] makes the value out of nothing, and the call inlines.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use crate::attached::Attached;
use crate::raised::{Raised, Result};

/// Runs `work`; a panic becomes a SystemError.
#[inline(always)]
pub(crate) fn guard<'py, T>(py: Attached<'py>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // Unwind safety: what a panic leaves half done is native state behind locks and atomics of the engine, which stays valid.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(report(py, &*panic)))
}

#[cold]
fn report(py: Attached<'_>, panic: &(dyn Any + Send)) -> Raised {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    py.raise_system_error(&format!(
        "cannot go on after a bug in Atoll's native code ({text}); please report it"
    ))
}

/// The one value of a function item's type.
///
/// # Safety
/// A value of `F` existed: the definition that names this trampoline was made from it.
#[inline(always)]
pub(crate) unsafe fn body<'a, F: Copy>() -> &'a F {
    const {
        assert!(
            size_of::<F>() == 0,
            "a method is a function item or a closure that captures nothing"
        )
    };
    // SAFETY: a type without size needs no memory behind the pointer; the caller says that the type has a value.
    unsafe { NonNull::<F>::dangling().as_ref() }
}
