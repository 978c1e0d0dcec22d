//! Payloads that extension types share between interpreters: into a message, and out of one.
//!
//! The contract is `atoll.h`'s. A message holds a reference to the payload as a region; the receiver calls the type's
//! function with a capsule that owns that region.

use std::ffi::CStr;
use std::ptr::NonNull;

use atoll_core::client::Region;
use atoll_py::{Attached, Borrowed, Owned, Result};
use atoll_share::{CAPSULE, Share, VERSION};

/// A reference to the payload in a capsule, and the module and the function by which an object around it is made.
pub(super) struct Taken {
    pub(super) region: Region,
    pub(super) module: String,
    pub(super) function: String,
}

/// Takes a reference to the payload that `__atoll_share__` gave in a capsule, or says what is wrong with that.
///
/// Needs: attached. May run Python: no, but the extension's code that counts.
pub(super) fn take(capsule: Borrowed<'_, '_>) -> std::result::Result<Taken, String> {
    let Some(pointer) = capsule.capsule_pointer(CAPSULE) else {
        return Err(format!(
            "its __atoll_share__ gave no capsule named {CAPSULE:?} but an object of type {}; see atoll.h",
            capsule.type_name()
        ));
    };
    let pointer = pointer.cast::<Share>();
    // SAFETY: every version of the structure begins with its number.
    let version = unsafe { pointer.cast::<u32>().read() };
    if version != VERSION {
        return Err(format!(
            "its __atoll_share__ gave an atoll_share of version {version}, and this Atoll knows {VERSION}; build the \
             extension with the atoll.h in atoll.get_include()"
        ));
    }
    // SAFETY: a structure of this version, which the capsule keeps alive.
    let share = unsafe { pointer.read() };
    let missing = if share.payload.is_null() {
        Some("payload")
    } else if share.retain.is_none() {
        Some("retain")
    } else if share.release.is_none() {
        Some("release")
    } else if share.rebuild.is_null() {
        Some("rebuild")
    } else {
        None
    };
    if let Some(missing) = missing {
        return Err(format!(
            "its __atoll_share__ gave an atoll_share whose {missing} is NULL; set it"
        ));
    }
    // SAFETY: not null, and a text that the capsule keeps alive.
    let rebuild = unsafe { CStr::from_ptr(share.rebuild) }.to_owned();
    let (module, function) = match rebuild.to_str().ok().and_then(|name| name.split_once(':')) {
        Some((module, function)) if !module.is_empty() && !function.is_empty() => {
            (module.to_owned(), function.to_owned())
        }
        _ => {
            return Err(format!(
                "its __atoll_share__ gave an atoll_share with rebuild {rebuild:?}; write \"module:function\""
            ));
        }
    };
    Ok(Taken {
        // SAFETY: the capsule keeps the payload alive here; that the functions count from any thread and stay valid is the
        // extension's part of the contract, and that they are there was looked at.
        region: unsafe { Region::of_share(share, rebuild) },
        module,
        function,
    })
}

/// A capsule with the payload that a region is.
///
/// Returns: owned. Needs: attached. May run Python: no.
pub(super) fn capsule(py: Attached<'_>, region: Region) -> Result<Owned<'_>> {
    let pointer = match region.share() {
        Some(share) => NonNull::from(share).cast(),
        None => return Err(py.raise_system_error("a region without a payload was taken for one")),
    };
    py.capsule(CAPSULE, pointer, region)
}
