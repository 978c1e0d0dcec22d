//! Capacities, timeouts and counts as callers write them.

use std::num::NonZeroUsize;

use atoll_core::client::{Capacity, Deadline};
use atoll_py::{Attached, Borrowed, Raised, Result, ffi};

/// A ring of more slots than this asks for gigabytes at once: surely a mistake.
const MOST_SLOTS: usize = 1 << 26;
/// What `Channel()` has.
const USUAL_CAPACITY: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Reads a `timeout` parameter: seconds from now, `None` (also as the default) for ever.
///
/// Needs: attached. May run Python: yes (`__float__`).
#[inline]
pub(crate) fn deadline(py: Attached<'_>, timeout: Option<Borrowed<'_, '_>>) -> Result<Deadline> {
    match timeout {
        None => Ok(Deadline::NEVER),
        Some(timeout) if timeout.is_none() => Ok(Deadline::NEVER),
        Some(timeout) => Ok(Deadline::after_seconds(seconds(py, timeout, "timeout")?)),
    }
}

/// Reads a number of seconds that is not negative; infinity and anything beyond a float mean for ever.
///
/// Needs: attached. May run Python: yes (`__float__`).
pub(crate) fn seconds(py: Attached<'_>, value: Borrowed<'_, '_>, name: &str) -> Result<f64> {
    // SAFETY: attached, a live object.
    let seconds = unsafe { ffi::PyFloat_AsDouble(value.as_ptr()) };
    // SAFETY: attached.
    if seconds == -1.0 && unsafe { !ffi::PyErr_Occurred().is_null() } {
        // SAFETY: just seen set.
        let raised = unsafe { Raised::assume(py) };
        if raised.is_instance_of(py.overflow_error()) {
            raised.clear(py);
            return from_huge_int(py, value, name);
        }
        if !raised.is_instance_of(py.type_error()) {
            return Err(raised);
        }
        raised.clear(py);
        let shown = value.repr()?;
        let given = value.type_name();
        return Err(py.raise_type_error(&format!(
            "cannot wait with {name}={shown} (a {given} is no number of seconds); pass an int or a float{}",
            or_none(name)
        )));
    }
    if seconds.is_nan() {
        return Err(py.raise_value_error(&format!(
            "cannot wait with {name}=nan (it is no time); pass a number of seconds{}",
            or_none(name)
        )));
    }
    if seconds < 0.0 {
        return Err(negative(py, value, name));
    }
    Ok(seconds)
}

fn or_none(name: &str) -> &'static str {
    if name == "timeout" {
        ", or None to wait for ever"
    } else {
        ""
    }
}

#[cold]
fn from_huge_int(py: Attached<'_>, value: Borrowed<'_, '_>, name: &str) -> Result<f64> {
    let zero = py.int(0)?;
    // SAFETY: attached, live objects.
    match unsafe { ffi::PyObject_RichCompareBool(value.as_ptr(), zero.as_ptr(), ffi::Py_LT) } {
        0 => Ok(f64::INFINITY),
        1 => Err(negative(py, value, name)),
        // SAFETY: -1 says that an exception is set.
        _ => Err(unsafe { Raised::assume(py) }),
    }
}

#[cold]
fn negative(py: Attached<'_>, value: Borrowed<'_, '_>, name: &str) -> Raised {
    match value.repr() {
        Ok(shown) => py.raise_value_error(&format!(
            "cannot wait with {name}={shown} (it is negative); pass 0 to try without waiting{}",
            or_none(name)
        )),
        Err(raised) => raised,
    }
}

/// Reads the `capacity` parameter of `Channel`.
///
/// Needs: attached. May run Python: no, except to raise.
pub(crate) fn capacity(py: Attached<'_>, value: Option<Borrowed<'_, '_>>) -> Result<Capacity> {
    let Some(value) = value else {
        return Ok(Capacity::Bounded(USUAL_CAPACITY));
    };
    if value.is_none() {
        return Ok(Capacity::Unbounded);
    }
    let Some(count) = count(
        py,
        value,
        "make a channel of",
        "capacity",
        "or None for an unbounded channel",
    )?
    else {
        let shown = value.repr()?;
        return Err(py.raise_value_error(&format!(
            "cannot make a channel of capacity={shown} (at most {MOST_SLOTS} slots); pass less, or None for an unbounded channel"
        )));
    };
    match NonZeroUsize::new(count) {
        None => Ok(Capacity::Rendezvous),
        Some(slots) if count <= MOST_SLOTS => Ok(Capacity::Bounded(slots)),
        Some(_) => Err(py.raise_value_error(&format!(
            "cannot make a channel of capacity={count} (at most {MOST_SLOTS} slots); pass less, or None for an unbounded channel"
        ))),
    }
}

/// Reads the `max` parameter of `recv_many`: at least 1, and as many as there may be memory for otherwise.
///
/// Needs: attached. May run Python: no, except to raise.
pub(crate) fn most(py: Attached<'_>, value: Borrowed<'_, '_>) -> Result<usize> {
    match count(py, value, "receive", "max", "at least 1")? {
        Some(0) => Err(py.raise_value_error(
            "cannot receive max=0 messages (that is none); pass an int of at least 1",
        )),
        Some(most) => Ok(most),
        None => Ok(usize::MAX),
    }
}

/// Reads an int that is not negative and not a bool; `None` if it is beyond a machine word.
fn count(
    py: Attached<'_>,
    value: Borrowed<'_, '_>,
    verb: &str,
    name: &str,
    instead: &str,
) -> Result<Option<usize>> {
    // SAFETY: attached, a live object.
    let (is_int, is_bool) = unsafe {
        (
            ffi::PyLong_Check(value.as_ptr()) != 0,
            ffi::PyBool_Check(value.as_ptr()) != 0,
        )
    };
    if !is_int || is_bool {
        let (shown, given) = (value.repr()?, value.type_name());
        return Err(py.raise_type_error(&format!(
            "cannot {verb} {name}={shown} (a {given} is no count); pass an int, {instead}"
        )));
    }
    let mut overflow = 0;
    // SAFETY: attached, an int.
    let number = unsafe { ffi::PyLong_AsLongLongAndOverflow(value.as_ptr(), &mut overflow) };
    if overflow > 0 {
        return Ok(None);
    }
    if overflow < 0 || number < 0 {
        let shown = value.repr()?;
        return Err(py.raise_value_error(&format!(
            "cannot {verb} {name}={shown} (it is negative); pass an int, {instead}"
        )));
    }
    Ok(usize::try_from(number).ok())
}
