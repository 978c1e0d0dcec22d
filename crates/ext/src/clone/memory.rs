//! The object that lends the memory of a region to whoever rebuilds an array over it.

use std::ffi::CStr;

use atoll_core::client::Region;
use atoll_py::class::{Class, This};
use atoll_py::method::Method;
use atoll_py::module::Module;
use atoll_py::slots::Slots;
use atoll_py::types::{Exact, Lendable};
use atoll_py::{Arguments, Owned, Result, Signature};

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

pub(crate) const SHARE_BYTES_DOC: &CStr = c"share_bytes($module, data)\n--\n\n\
Copy bytes into memory that nobody writes to: each message with it holds a reference.";

/// `share_bytes(data)`.
pub(crate) fn share_bytes<'py>(
    module: Module<'_, 'py, State>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<1> = Signature {
        function: "share_bytes",
        parameters: ["data"],
        required: 1,
        positional: 1,
    };
    let (py, state) = (module.py(), module.state()?);
    let [data] = arguments.parse(py, &SIGNATURE)?;
    let Some(Exact::Bytes(data)) = data.map(Exact::of) else {
        return Err(py.raise_type_error("cannot share that (it is no bytes); pass bytes"));
    };
    match Region::copy_of(data.data()) {
        Some(region) => state.memory.make(py, Memory::new(region, true)),
        None => Err(py.raise_memory_error("cannot share bytes (no memory for the copy)")),
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
