//! From a message to an object graph.
//!
//! - [`walk`]: the way through a message: which container an object goes into.
//! - [`frame`]: a container that is being rebuilt.
//! - [`leaf`]: objects of everyday items.
//! - [`object`]: instances, and whatever a call rebuilds.

mod frame;
mod leaf;
mod object;
mod walk;

use std::ffi::CStr;
use std::fmt::Display;

use atoll_codec::{Corrupt, Reader};
use atoll_core::client::{End, Region};
use atoll_core::message::Message;
use atoll_py::{Attached, Owned, Raised, Result};

use super::{COPIED_BYTES, scratch};
use crate::module::State;
use atoll_py::types::{Exact, Tuple};
pub(super) use frame::Frame;
use frame::Kind;
pub(super) use leaf::Name;
use leaf::{Leaf, Made};
use walk::Walk;

/// Rebuilds what a message holds.
///
/// Returns: owned. Needs: attached. May run Python: yes, where the message says so (K2).
#[inline]
pub(crate) fn decode<'py>(
    py: Attached<'py>,
    state: &State,
    mut message: Message,
) -> Result<Owned<'py>> {
    if message.is_inline() {
        let mut reader = Reader::new(message.bytes());
        if let Ok(Made::Object(object)) = reader.make_next(&mut Leaf(py))
            && reader.finish().is_ok()
        {
            return Ok(object);
        }
    }
    let ends = match message.ends_len() {
        0 => Vec::new(),
        _ => message.take_ends(),
    };
    let beside = Beside {
        ends,
        regions: match message.regions_len() {
            0 => Vec::new(),
            _ => message.take_regions(),
        },
        runs_code: message.runs_code(),
    };
    let rebuilt = rebuild(py, state, message.bytes(), beside);
    if message.bytes().len() > COPIED_BYTES
        && let Some(buffer) = message.into_buffer()
    {
        scratch::give_back_buffer(buffer);
    }
    rebuilt
}

/// What comes with the bytes of a message.
struct Beside {
    ends: Vec<End>,
    regions: Vec<Region>,
    runs_code: bool,
}

/// Rebuilds a graph without channel ends and regions from its bytes.
///
/// Returns: owned. Needs: attached. May run Python: yes, where there is more than built-in objects in it.
pub(crate) fn decode_bytes<'py>(
    py: Attached<'py>,
    state: &State,
    bytes: &[u8],
) -> Result<Owned<'py>> {
    let beside = Beside {
        ends: Vec::new(),
        regions: Vec::new(),
        runs_code: true,
    };
    rebuild(py, state, bytes, beside)
}

fn rebuild<'py>(
    py: Attached<'py>,
    state: &State,
    bytes: &[u8],
    beside: Beside,
) -> Result<Owned<'py>> {
    let mut reader = Reader::new(bytes);
    let rebuilt = match reader.make_next(&mut Leaf(py)) {
        Ok(Made::Object(object)) => reader.finish().map(|()| object).map_err(Failure::from),
        Ok(first) => graph(py, state, reader, beside, first),
        Err(failure) => Err(failure),
    };
    rebuilt.map_err(|failure| failure.raise(py))
}

#[inline(never)]
fn graph<'py>(
    py: Attached<'py>,
    state: &State,
    reader: Reader<'_>,
    beside: Beside,
    first: Made<'py>,
) -> Step<Owned<'py>> {
    let (frames, names) = scratch::take_frames();
    let mut walk = Walk {
        py,
        state,
        frames,
        names,
        kept: Vec::new(),
        hashed_from: usize::MAX,
        ends: beside.ends.into_iter().map(Some).collect(),
        regions: beside.regions.into_iter().map(Some).collect(),
        classes: Vec::new(),
        runs_code: beside.runs_code,
        memo: Vec::new(),
        keys: None,
    };
    let result = walk.run(reader, first).map_err(|failure| match failure {
        Failure::Raised(raised) => Failure::Raised(addressed(py, walk.frames.first(), raised)),
        unreadable @ Failure::Unreadable(_) => unreadable,
    });
    scratch::give_back_frames(walk.frames, walk.names);
    result
}

/// The attribute of an error by which whoever took a message knows whose it was.
const REBUILT: &CStr = c"_rebuilt";

/// Tells an error that the message was a tuple which began with a number: what is lost of it has an address. It gets that number
/// and the second item, None if it is not there yet.
///
/// Needs: attached. May run Python: yes.
#[cold]
fn addressed(py: Attached<'_>, outermost: Option<&Frame<'_>>, raised: Raised) -> Raised {
    let Some(frame) = outermost.filter(|frame| frame.kind == Kind::Tuple && frame.done > 0) else {
        return raised;
    };
    // SAFETY: its kind says that it is a tuple; nobody fills it any more, and its first items are in place.
    let items = unsafe { Tuple::from_object(frame.container.borrow()).items() };
    let [first, second, ..] = items else {
        return raised;
    };
    if !matches!(Exact::of(*first), Exact::Int(_)) {
        return raised;
    }
    let error = raised.take(py);
    let second = match frame.done {
        1 => py.none(),
        _ => *second,
    };
    let told = Tuple::create(py, &[*first, second])
        .and_then(|begun| error.borrow().set_attr(REBUILT, begun.borrow()));
    if let Err(refused) = told {
        refused.clear(py); // an error that takes no attributes
    }
    Raised::instance(error)
}

/// Why a message cannot be rebuilt. As small as a pointer, as every step may give one.
enum Failure {
    Raised(Raised),
    Unreadable(Box<dyn Display>),
}

impl From<Raised> for Failure {
    fn from(raised: Raised) -> Failure {
        Failure::Raised(raised)
    }
}

impl From<Corrupt> for Failure {
    #[cold]
    fn from(corrupt: Corrupt) -> Failure {
        Failure::Unreadable(Box::new(corrupt))
    }
}

impl Failure {
    #[cold]
    fn structure(why: &'static str) -> Failure {
        Failure::Unreadable(Box::new(why))
    }

    #[cold]
    fn key_out_of_place() -> Failure {
        Failure::structure("a key is not in a dict, or has a number that none has")
    }

    /// A message that nobody's `encode` wrote: no fault of the user's.
    #[cold]
    fn raise(self, py: Attached<'_>) -> Raised {
        match self {
            Failure::Raised(raised) => raised,
            Failure::Unreadable(why) => py.raise_system_error(&format!(
                "cannot rebuild a message ({why}); please report this as a bug of atoll"
            )),
        }
    }
}

type Step<T> = std::result::Result<T, Failure>;
