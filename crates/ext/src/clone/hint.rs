//! What to send instead of an object that cannot be cloned.

use atoll_py::{Attached, Borrowed, ffi};

/// For types of their own: the full name of a type, and the advice, in which `{}` stands for the object.
const BY_NAME: &[(&str, &str)] = &[
    ("generator", "send list({}) instead"),
    ("map", "send list({}) instead"),
    ("filter", "send list({}) instead"),
    ("zip", "send list({}) instead"),
    ("enumerate", "send list({}) instead"),
    ("reversed", "send list({}) instead"),
    ("dict_keys", "send list({}) instead"),
    ("dict_values", "send list({}) instead"),
    ("dict_items", "send list({}) instead"),
    ("list_iterator", "send list({}) instead"),
    ("tuple_iterator", "send list({}) instead"),
    ("set_iterator", "send list({}) instead"),
    ("frozendict", "send dict({}) instead"),
    (
        "coroutine",
        "send what it needs to be started, and start it there",
    ),
    (
        "async_generator",
        "send what it needs to be started, and start it there",
    ),
    (
        "function",
        "send what it needs as arguments, or put it into a module that can be imported",
    ),
    ("code", "send the source text instead"),
    (
        "module",
        "put it into a file on sys.path, or send the names that are needed",
    ),
    ("_io.TextIOWrapper", "send its path or {}.read() instead"),
    ("_io.BufferedReader", "send its path or {}.read() instead"),
    (
        "_io.BufferedWriter",
        "send its path instead, and open it there",
    ),
    (
        "_io.BufferedRandom",
        "send its path instead, and open it there",
    ),
    ("_io.FileIO", "send its path instead, and open it there"),
    (
        "_thread.lock",
        "let tasks take turns through a channel instead",
    ),
    (
        "_thread.RLock",
        "let tasks take turns through a channel instead",
    ),
    ("threading.Thread", "send results through a channel instead"),
    (
        "threading.Event",
        "send a message through a channel instead",
    ),
    (
        "threading.Condition",
        "send a message through a channel instead",
    ),
    (
        "atoll.Sender",
        "it was given up by close(); send another one of its channel",
    ),
    (
        "atoll.Receiver",
        "it was given up by close(); send another one of its channel",
    ),
    ("queue.Queue", "send an atoll.Channel instead"),
    ("_queue.SimpleQueue", "send an atoll.Channel instead"),
    (
        "multiprocessing.queues.Queue",
        "send an atoll.Channel instead",
    ),
    (
        "socket.socket",
        "send its address and connect there, or send {}.fileno()",
    ),
    (
        "_socket.socket",
        "send its address and connect there, or send {}.fileno()",
    ),
    (
        "sqlite3.Connection",
        "send the database's path instead, and connect there",
    ),
];

/// For subclasses of built-in types: the type's flag, and the advice.
const BY_BASE: &[(std::ffi::c_ulong, &str)] = &[
    (ffi::Py_TPFLAGS_DICT_SUBCLASS, "send dict({}) instead"),
    (ffi::Py_TPFLAGS_LIST_SUBCLASS, "send list({}) instead"),
    (ffi::Py_TPFLAGS_TUPLE_SUBCLASS, "send tuple({}) instead"),
    (ffi::Py_TPFLAGS_UNICODE_SUBCLASS, "send str({}) instead"),
    (ffi::Py_TPFLAGS_BYTES_SUBCLASS, "send bytes({}) instead"),
    (ffi::Py_TPFLAGS_LONG_SUBCLASS, "send int({}) instead"),
    (
        ffi::Py_TPFLAGS_BASE_EXC_SUBCLASS,
        "send its class's name and str({}) instead",
    ),
    (
        ffi::Py_TPFLAGS_TYPE_SUBCLASS,
        "put it into a module that can be imported",
    ),
];

const FOR_THE_REST: &str =
    "say how it is cloned with atoll.register(), or send its fields as a dict instead";

/// The advice for an object, called `word` in it (or by its type's name).
///
/// Needs: attached. May run Python: yes, where a metaclass computes `__module__`.
pub(super) fn hint(py: Attached<'_>, object: Borrowed<'_, '_>, word: Option<String>) -> String {
    let name = full_name(py, object);
    let by_name = BY_NAME
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, advice)| *advice);
    let advice = by_name.or_else(|| by_base(object)).unwrap_or(FOR_THE_REST);
    let word = word.unwrap_or_else(|| object.type_name().to_lowercase());
    advice.replace("{}", &word)
}

fn by_base(object: Borrowed<'_, '_>) -> Option<&'static str> {
    // SAFETY: attached, a live object's type.
    let flags = unsafe { ffi::PyType_GetFlags(object.type_ptr()) };
    BY_BASE
        .iter()
        .find(|(flag, _)| flags & flag != 0)
        .map(|(_, advice)| *advice)
}

fn full_name(py: Attached<'_>, object: Borrowed<'_, '_>) -> String {
    let name = object.type_name();
    let module = object
        .ty()
        .attr(c"__module__")
        .and_then(|module| module.borrow().utf8_lossy());
    match module {
        Ok(module) if module == "builtins" => name,
        Ok(module) => format!("{module}.{name}"),
        Err(raised) => {
            raised.clear(py);
            name
        }
    }
}
