//! `ChannelStats`: a frozen snapshot of a channel's counters, a named tuple made by C.

use std::ffi::CStr;

use atoll_core::client::{Capacity, End};
use atoll_py::{Attached, Owned, Result, ffi};

use crate::module::ModuleState;

const DOC: &CStr = c"The counters of a channel at one moment; see `Channel.stats()`.";

/// Name and documentation of each field, in order.
const FIELDS: [(&CStr, &CStr); 11] = [
    (c"sent", c"messages put in so far"),
    (
        c"received",
        c"messages taken out so far; poisoning takes out all",
    ),
    (c"depth", c"messages inside now"),
    (c"high_water", c"the greatest depth that a sender has found"),
    (c"blocked_senders", c"senders that wait now"),
    (c"blocked_receivers", c"receivers that wait now"),
    (c"senders", c"ends alive that can send"),
    (c"receivers", c"ends alive that can receive"),
    (c"closed", c"whether sends are refused"),
    (c"poisoned", c"whether it was poisoned"),
    (
        c"capacity",
        c"the capacity it was made with, None if unbounded",
    ),
];

/// The type, for one interpreter.
///
/// Returns: owned. Needs: attached. May run Python: yes.
pub(super) fn build(py: Attached<'_>) -> Result<Owned<'_>> {
    let mut fields: Vec<_> = FIELDS
        .iter()
        .map(|(name, doc)| ffi::PyStructSequence_Field {
            name: name.as_ptr(),
            doc: doc.as_ptr(),
        })
        .collect();
    fields.push(ffi::PyStructSequence_Field {
        name: std::ptr::null(),
        doc: std::ptr::null(),
    });
    let mut description = ffi::PyStructSequence_Desc {
        name: c"atoll.ChannelStats".as_ptr(),
        doc: DOC.as_ptr(),
        fields: fields.as_mut_ptr(),
        n_in_sequence: FIELDS.len().try_into().expect("a handful of fields"),
    };
    // SAFETY: attached; names and docs are statics, and the field list is copied.
    unsafe { Owned::from_result(py, ffi::PyStructSequence_NewType(&mut description).cast()) }
}

/// A snapshot of `end`'s channel.
///
/// Returns: owned. Needs: attached. May run Python: yes (an allocation may start the garbage collector).
pub(super) fn snapshot<'py>(
    py: Attached<'py>,
    state: &ModuleState,
    end: &End,
) -> Result<Owned<'py>> {
    let stats = end.stats();
    let counts = &stats.counts;
    let values = [
        py.uint(counts.sent)?,
        py.uint(counts.received)?,
        py.uint(counts.depth)?,
        py.uint(counts.high_water)?,
        py.uint(counts.blocked_senders)?,
        py.uint(counts.blocked_receivers)?,
        py.uint(stats.senders)?,
        py.uint(stats.receivers)?,
        py.bool(stats.closed).to_owned(),
        py.bool(stats.poisoned).to_owned(),
        capacity(py, end)?,
    ];
    let class = state.channels.stats.get(py).as_ptr();
    // SAFETY: attached, a struct sequence type.
    let snapshot = unsafe { Owned::from_result(py, ffi::PyStructSequence_New(class.cast()))? };
    for (index, value) in values.into_iter().enumerate() {
        // SAFETY: a new object that nobody has seen, as many fields as values; the call takes over the reference.
        unsafe {
            ffi::PyStructSequence_SetItem(snapshot.as_ptr(), index.cast_signed(), value.into_ptr())
        };
    }
    Ok(snapshot)
}

/// The capacity as Python writes it.
///
/// Returns: owned. Needs: attached. May run Python: no.
pub(super) fn capacity<'py>(py: Attached<'py>, end: &End) -> Result<Owned<'py>> {
    match end.capacity() {
        Capacity::Rendezvous => py.uint(0),
        Capacity::Bounded(slots) => py.uint(slots.get() as u64),
        Capacity::Unbounded => Ok(py.none().to_owned()),
    }
}
