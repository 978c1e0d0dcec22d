//! A Python exception is set: [`Raised`], and the ways to set one.

use std::ffi::CString;
use std::marker::PhantomData;

use crate::attached::Attached;
use crate::ffi;
use crate::object::{Borrowed, Owned};

/// Says that this thread's error indicator is set. Zero-sized: the exception itself stays with Python.
#[derive(Debug)]
#[must_use = "an exception is set; return it, or clear it on purpose"]
pub struct Raised(PhantomData<*mut ()>);

/// What every call into Python gives: a value, or the news that an exception is set.
pub type Result<T> = std::result::Result<T, Raised>;

impl Raised {
    /// Takes note of an exception that a C-API call reported.
    ///
    /// # Safety
    /// The error indicator is set.
    #[inline]
    pub unsafe fn assume(_py: Attached<'_>) -> Raised {
        // SAFETY: the token proves that the thread is attached.
        let pending = unsafe { ffi::PyErr_Occurred() };
        debug_assert!(!pending.is_null(), "no exception is set");
        Raised(PhantomData)
    }

    /// Sets `class(message)`.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn new(class: Borrowed<'_, '_>, message: &str) -> Raised {
        let text = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        // SAFETY: attached by the token inside `class`, which is an exception class or Python sets a SystemError instead.
        unsafe { ffi::PyErr_SetString(class.as_ptr(), text.as_ptr()) };
        Raised(PhantomData)
    }

    /// Sets an exception instance.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn instance(exception: Owned<'_>) -> Raised {
        // SAFETY: attached; `PyErr_SetRaisedException` takes over the reference.
        unsafe { ffi::PyErr_SetRaisedException(exception.into_ptr()) };
        Raised(PhantomData)
    }

    /// Takes the exception out of the error indicator.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn take<'py>(self, py: Attached<'py>) -> Owned<'py> {
        // SAFETY: attached; the call hands over a reference to the exception that `self` says is set.
        unsafe { Owned::from_ptr(py, ffi::PyErr_GetRaisedException()) }
    }

    /// Drops the exception on purpose.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn clear(self, py: Attached<'_>) {
        drop(self.take(py));
    }

    /// Whether the exception is an instance of `class`.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn is_instance_of(&self, class: Borrowed<'_, '_>) -> bool {
        // SAFETY: attached, an exception is set.
        unsafe { ffi::PyErr_ExceptionMatches(class.as_ptr()) != 0 }
    }

    /// Reports the exception through `sys.unraisablehook`, for places that cannot raise.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn write_unraisable(self, context: Option<Borrowed<'_, '_>>) {
        let context = context.map_or(std::ptr::null_mut(), Borrowed::as_ptr);
        // SAFETY: an exception is set, so the thread is attached; null is a valid context.
        unsafe { ffi::PyErr_WriteUnraisable(context) };
    }
}

impl<'py> Attached<'py> {
    /// Sets the `OSError` of an error number of the operating system.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn raise_os_error(self, number: i32) -> Raised {
        // SAFETY: attached; errno is this thread's own; the class is static.
        unsafe {
            *libc::__errno_location() = number;
            ffi::PyErr_SetFromErrno(ffi::PyExc_OSError);
        }
        Raised(PhantomData)
    }
}

macro_rules! builtin_exceptions {
    ($($(#[$doc:meta])* $class:ident / $raise:ident => $symbol:ident,)*) => {
        impl<'py> Attached<'py> {
            $(
                $(#[$doc])*
                ///
                /// Returns: borrowed (immortal). Needs: attached. May run Python: no.
                pub fn $class(self) -> Borrowed<'py, 'py> {
                    // SAFETY: static built-in classes are set before any extension runs and live as long as the interpreter.
                    unsafe { Borrowed::from_ptr(self, ffi::$symbol) }
                }

                /// Sets that exception with `message`.
                pub fn $raise(self, message: &str) -> Raised {
                    Raised::new(self.$class(), message)
                }
            )*
        }
    };
}

builtin_exceptions! {
    /// `TypeError`.
    type_error / raise_type_error => PyExc_TypeError,
    /// `ValueError`.
    value_error / raise_value_error => PyExc_ValueError,
    /// `OverflowError`.
    overflow_error / raise_overflow_error => PyExc_OverflowError,
    /// `RuntimeError`.
    runtime_error / raise_runtime_error => PyExc_RuntimeError,
    /// `RecursionError`.
    recursion_error / raise_recursion_error => PyExc_RecursionError,
    /// `MemoryError`.
    memory_error / raise_memory_error => PyExc_MemoryError,
    /// `SystemError`.
    system_error / raise_system_error => PyExc_SystemError,
    /// `TimeoutError`.
    timeout_error / raise_timeout_error => PyExc_TimeoutError,
    /// `AttributeError`.
    attribute_error / raise_attribute_error => PyExc_AttributeError,
    /// `SystemExit`.
    system_exit / raise_system_exit => PyExc_SystemExit,
    /// `KeyboardInterrupt`.
    keyboard_interrupt / raise_keyboard_interrupt => PyExc_KeyboardInterrupt,
}
