//! The object that lends the memory of a region to whoever rebuilds an array over it.

use std::ffi::CStr;

use atoll_core::client::Region;
use atoll_py::class::{Class, This};
use atoll_py::method::Method;
use atoll_py::slots::Slots;
use atoll_py::types::Lendable;

use crate::module::State;

/// A region that came with a message: its one receiver may write to it, unless the sender's could not.
///
/// If nobody may write to it, sending it on copies nothing: everyone who receives it sees the same bytes.
pub(crate) struct Memory {
    region: Region,
    readonly: bool,
}

impl Memory {
    pub(super) fn new(region: Region, readonly: bool) -> Memory {
        // Whoever shares it with others (a copy of a message that was kept) must not be surprised.
        let readonly = readonly || !region.is_unique();
        Memory { region, readonly }
    }

    /// Another reference to the region, if all that have one only read.
    pub(super) fn shared(&self) -> Option<Region> {
        self.readonly.then(|| self.region.clone())
    }
}

impl Class for Memory {
    type State = State;
    const NAME: &'static CStr = c"atoll._native.Memory";
    const DOC: &'static CStr =
        c"Memory that came with a message; ask memoryview() for what is in it.";
    const METHODS: &'static [Method<Memory>] = &[Method::END];

    fn slots(slots: Slots<Memory>) -> Slots<Memory> {
        slots
            .memory(|this: This<'_, '_, Memory>| Lendable {
                start: this.region.as_mut_ptr(),
                size_bytes: this.region.len(),
                readonly: this.readonly,
            })
            .length(|this: This<'_, '_, Memory>| Ok(this.region.len()))
    }
}
