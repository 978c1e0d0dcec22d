//! What a call was given: [`Arguments`], read by a [`Signature`] or, on fast paths, looked at directly.

use std::marker::PhantomData;

use crate::attached::Attached;
use crate::ffi;
use crate::object::{Borrowed, Owned};
use crate::raised::{Raised, Result};

/// The arguments of one call in the vectorcall convention, borrowed from the caller.
#[derive(Clone, Copy)]
pub struct Arguments<'a, 'py> {
    values: *const *mut ffi::PyObject,
    positional: usize,
    names: *mut ffi::PyObject,
    borrow: PhantomData<(&'a (), Attached<'py>)>,
}

/// The parameters of one function: the first `required` must be given, the first `positional` may be given by position.
pub struct Signature<const N: usize> {
    /// The function's name, for messages.
    pub function: &'static str,
    /// The parameters' names.
    pub parameters: [&'static str; N],
    /// How many of them must be given.
    pub required: usize,
    /// How many of them may be given by position.
    pub positional: usize,
}

impl<'a, 'py> Arguments<'a, 'py> {
    /// Reads the arguments of a vectorcall.
    ///
    /// # Safety
    /// `values` points to `positional` objects followed by one per name in `names` (a tuple of str, or null), all alive for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn from_vectorcall(
        values: *const *mut ffi::PyObject,
        positional: usize,
        names: *mut ffi::PyObject,
    ) -> Arguments<'a, 'py> {
        Arguments {
            values,
            positional,
            names,
            borrow: PhantomData,
        }
    }

    /// Calls *function* with the same arguments.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes.
    pub fn pass_to(self, function: Borrowed<'_, 'py>) -> Result<Owned<'py>> {
        // SAFETY: attached, a live function; the arguments are alive and in this very layout.
        unsafe {
            let result = ffi::PyObject_Vectorcall(
                function.as_ptr(),
                self.values,
                self.positional,
                self.names,
            );
            Owned::from_result(function.py(), result)
        }
    }

    /// The argument of a call with exactly one, given by position: the shape of every fast path.
    #[inline(always)]
    pub fn only(self) -> Option<Borrowed<'a, 'py>> {
        if self.positional == 1 && self.names.is_null() {
            return self.get(0);
        }
        None
    }

    /// Whether the call has no arguments at all.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.positional == 0 && self.names.is_null()
    }

    /// The argument given by position at `index`.
    #[inline(always)]
    pub fn get(self, index: usize) -> Option<Borrowed<'a, 'py>> {
        if index >= self.positional {
            return None;
        }
        // SAFETY: attached, as the arguments live only inside a call from Python.
        let py = unsafe { Attached::assume() };
        // SAFETY: in range, and the constructor's caller vouches for the array and its objects.
        Some(unsafe { Borrowed::from_ptr(py, *self.values.add(index)) })
    }

    /// The arguments given by position.
    pub fn by_position(self) -> impl Iterator<Item = Borrowed<'a, 'py>> {
        (0..self.positional).map_while(move |index| self.get(index))
    }

    /// The arguments given by name.
    pub fn by_name(self) -> impl Iterator<Item = (Borrowed<'a, 'py>, Borrowed<'a, 'py>)> {
        let count = if self.names.is_null() {
            0
        } else {
            // SAFETY: a live tuple.
            unsafe { ffi::PyTuple_Size(self.names) }.cast_unsigned()
        };
        (0..count).map(move |index| {
            // SAFETY: attached, as the arguments live only inside a call from Python.
            let py = unsafe { Attached::assume() };
            // SAFETY: the index is in the tuple's range, the tuple outlives `'a`.
            let name = unsafe {
                Borrowed::from_ptr(py, ffi::PyTuple_GetItem(self.names, index.cast_signed()))
            };
            // SAFETY: one value per name follows the positional ones.
            let value =
                unsafe { Borrowed::from_ptr(py, *self.values.add(self.positional + index)) };
            (name, value)
        })
    }

    /// Sorts the arguments into the signature's parameters; the first `required` are always `Some`. TypeError if they do not fit.
    pub fn parse<const N: usize>(
        self,
        py: Attached<'py>,
        signature: &Signature<N>,
    ) -> Result<[Option<Borrowed<'a, 'py>>; N]> {
        if self.positional > signature.positional {
            return Err(signature.too_many(py, self.positional));
        }
        let mut found = self.parse_named(py, signature)?;
        for (index, value) in self.by_position().enumerate() {
            if found[index].replace(value).is_some() {
                return Err(signature.twice(py, index));
            }
        }
        match found[..signature.required].iter().position(Option::is_none) {
            Some(missing) => Err(signature.complain(
                py,
                &format!("'{}' is missing", signature.parameters[missing]),
            )),
            None => Ok(found),
        }
    }

    /// Sorts the arguments given by name into the signature's parameters, and leaves those given by position to the caller.
    pub fn parse_named<const N: usize>(
        self,
        py: Attached<'py>,
        signature: &Signature<N>,
    ) -> Result<[Option<Borrowed<'a, 'py>>; N]> {
        let mut found = [None; N];
        for (name, value) in self.by_name() {
            let Some(index) = signature.index_of(name) else {
                return Err(signature.unknown(py, name));
            };
            // Python itself refuses a name that is given twice.
            found[index] = Some(value);
        }
        Ok(found)
    }
}

impl<const N: usize> Signature<N> {
    #[cold]
    fn twice(&self, py: Attached<'_>, index: usize) -> Raised {
        self.complain(py, &format!("'{}' was given twice", self.parameters[index]))
    }

    fn index_of(&self, name: Borrowed<'_, '_>) -> Option<usize> {
        self.parameters.iter().position(|parameter| {
            let length = parameter.len().cast_signed();
            // SAFETY: attached, `name` is a str (keyword names always are), pointer and length describe UTF-8.
            unsafe {
                ffi::PyUnicode_EqualToUTF8AndSize(name.as_ptr(), parameter.as_ptr().cast(), length)
                    != 0
            }
        })
    }

    #[cold]
    fn too_many(&self, py: Attached<'_>, given: usize) -> Raised {
        let most = self.positional;
        self.complain(
            py,
            &format!("it takes at most {most} positional, {given} were given"),
        )
    }

    #[cold]
    fn unknown(&self, py: Attached<'_>, name: Borrowed<'_, '_>) -> Raised {
        match name.repr() {
            Ok(name) => self.complain(py, &format!("there is no parameter {name}")),
            Err(raised) => raised,
        }
    }

    #[cold]
    fn complain(&self, py: Attached<'_>, why: &str) -> Raised {
        let parameters = self.parameters.join(", ");
        py.raise_type_error(&format!(
            "cannot call {0}() ({why}); call it as {0}({parameters})",
            self.function
        ))
    }
}

/// The arguments of `tp_new`, which come as a tuple and a dict, laid out as a vectorcall.
pub(crate) struct TupleAndDict<'py> {
    values: Vec<*mut ffi::PyObject>,
    positional: usize,
    names: Option<Owned<'py>>,
}

impl<'py> TupleAndDict<'py> {
    /// # Safety
    /// `arguments` is a live tuple, `keywords` a live dict with str keys, or null; neither changes while the value lives.
    pub(crate) unsafe fn new(
        py: Attached<'py>,
        arguments: *mut ffi::PyObject,
        keywords: *mut ffi::PyObject,
    ) -> Result<TupleAndDict<'py>> {
        // SAFETY: a live tuple.
        let positional = unsafe { ffi::PyTuple_Size(arguments) };
        let mut values: Vec<_> = (0..positional)
            // SAFETY: a live tuple, an index in range.
            .map(|index| unsafe { ffi::PyTuple_GetItem(arguments, index) })
            .collect();
        let mut names = None;
        if !keywords.is_null() {
            // SAFETY: a live dict.
            names = Some(unsafe { Owned::from_result(py, ffi::PyDict_Keys(keywords))? });
            // SAFETY: a live list of the keys, made a line above.
            names = Some(unsafe {
                Owned::from_result(py, ffi::PyList_AsTuple(names.unwrap_unchecked().as_ptr()))?
            });
            let mut position = 0;
            let mut value = std::ptr::null_mut();
            // SAFETY: a live dict that does not change; the order is that of its keys.
            while unsafe {
                ffi::PyDict_Next(keywords, &mut position, std::ptr::null_mut(), &mut value)
            } != 0
            {
                values.push(value);
            }
        }
        Ok(TupleAndDict {
            values,
            positional: positional.cast_unsigned(),
            names,
        })
    }

    pub(crate) fn arguments(&self) -> Arguments<'_, 'py> {
        let names = self
            .names
            .as_ref()
            .map_or(std::ptr::null_mut(), Owned::as_ptr);
        // SAFETY: the vector holds the positional values and then one per name; tuple and dict keep them alive.
        unsafe { Arguments::from_vectorcall(self.values.as_ptr(), self.positional, names) }
    }
}
