//! Where in a graph something sits, as Python would write it.

use std::fmt::Write;

use atoll_py::types::{Exact, Text};
use atoll_py::{Attached, Borrowed, Owned};

/// What the whole graph is called in a message to the user.
#[derive(Clone, Copy)]
pub(super) enum Root<'a> {
    /// By one name.
    Named(&'a str),
    /// By one name; and many receivers read the bytes, which nothing can travel beside.
    ForMany(&'a str),
    /// It is a tuple that the user never sees, of parts with these names.
    Parts(&'a [&'a str]),
}

/// One step inwards.
pub(super) enum Step<'py> {
    /// Into a list or tuple: `[3]`.
    Index(usize),
    /// Into a dict, to the value of this key: `['name']`.
    Value(Owned<'py>),
    /// Into a dict, to its n-th key: `.keys()[3]`.
    Key(usize),
    /// Into a set.
    Element,
    /// Into a slice: `.start`.
    Part(usize),
    /// Into an object, to that attribute: `.name`.
    Attribute(Owned<'py>),
    /// Into what makes an object anew.
    Callable,
    /// Into an argument for that.
    Argument(usize),
    /// Into a part that has no name.
    Hidden,
}

/// A path of more steps than twice this is shortened in the middle.
const STEPS_SHOWN: usize = 8;
/// A key longer than this is shortened at its end.
const KEY_CHARACTERS: usize = 60;

/// Writes a path.
///
/// Needs: attached. May run Python: yes, where a key on the way is not a built-in object.
pub(super) fn written(py: Attached<'_>, root: Root<'_>, steps: &[Step<'_>]) -> String {
    let (mut path, steps) = match (root, steps) {
        (Root::Named(name) | Root::ForMany(name), steps) => (name.to_owned(), steps),
        (Root::Parts(names), [Step::Index(part), steps @ ..]) => (
            names.get(*part).copied().unwrap_or("message").to_owned(),
            steps,
        ),
        (Root::Parts(_), steps) => ("message".to_owned(), steps),
    };
    if steps.len() <= 2 * STEPS_SHOWN {
        steps
            .iter()
            .for_each(|step| write_step(py, &mut path, step));
    } else {
        steps[..STEPS_SHOWN]
            .iter()
            .for_each(|step| write_step(py, &mut path, step));
        path.push('…');
        steps[steps.len() - STEPS_SHOWN..]
            .iter()
            .for_each(|step| write_step(py, &mut path, step));
    }
    path
}

fn write_step(py: Attached<'_>, path: &mut String, step: &Step<'_>) {
    // Writing to a String cannot fail.
    let _ = match step {
        Step::Index(index) => write!(path, "[{index}]"),
        Step::Value(key) => write!(path, "[{}]", written_key(py, key.borrow())),
        Step::Key(index) => write!(path, ".keys()[{index}]"),
        Step::Element => write!(path, "{{...}}"),
        Step::Attribute(name) => match name.borrow().utf8_lossy() {
            Ok(name) => write!(path, ".{name}"),
            Err(raised) => {
                raised.clear(py);
                write!(path, ".{}", written_key(py, name.borrow()))
            }
        },
        Step::Callable => write!(path, ".__class__"),
        Step::Argument(index) => write!(path, ".args[{index}]"),
        Step::Hidden => Ok(()),
        Step::Part(part) => write!(path, ".{}", ["start", "stop", "step"][*part]),
    };
}

fn written_key(py: Attached<'_>, key: Borrowed<'_, '_>) -> String {
    let text = match key.repr() {
        Ok(text) => text,
        Err(raised) => {
            // An int of too many digits, or no memory.
            raised.clear(py);
            format!("<{}>", key.type_name())
        }
    };
    match text.char_indices().nth(KEY_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A word for the object at the end of the path that can stand in an expression: `source` for `jobs[3]['source']`.
pub(super) fn word<'a>(root: Root<'a>, steps: &'a [Step<'_>]) -> Option<String> {
    let name = match (root, steps) {
        (_, [.., Step::Value(key) | Step::Attribute(key)]) => match Exact::of(key.borrow()) {
            Exact::Text(text) => identifier(text)?,
            _ => return None,
        },
        (Root::Named(name) | Root::ForMany(name), []) => name,
        (Root::Parts(names), [Step::Index(part)]) => names.get(*part)?,
        _ => return None,
    };
    is_identifier(name).then(|| name.to_owned())
}

fn identifier<'a>(text: Text<'a, '_>) -> Option<&'a str> {
    std::str::from_utf8(text.data().1).ok()
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_')
}
