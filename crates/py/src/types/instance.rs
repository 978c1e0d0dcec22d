//! What an instance of a class consists of, and how one is made bare.

use crate::attached::Attached;
use crate::ffi;
use crate::object::{Borrowed, Owned};
use crate::raised::{Raised, Result};
use crate::types::{Text, Tuple};

unsafe extern "C" {
    /// Exported by every version of CPython since 3.3; pyo3-ffi leaves it out.
    fn _PyObject_GetDictPtr(object: *mut ffi::PyObject) -> *mut *mut ffi::PyObject;
}

impl<'a, 'py> Borrowed<'a, 'py> {
    /// Whether this is a class.
    ///
    /// Needs: attached. May run Python: no.
    #[inline]
    pub fn is_class(self) -> bool {
        // SAFETY: a live object (O2).
        unsafe { ffi::PyType_Check(self.as_ptr()) != 0 }
    }

    /// A number that changes with every change of the class and is no other class's in this interpreter, or 0 where Python has
    /// none for it at the moment.
    ///
    /// Needs: attached. May run Python: no.
    #[inline]
    pub fn class_version(self) -> u32 {
        debug_assert!(self.is_class());
        // SAFETY: a class, says the caller by asking (checked in debug builds); a plain field of it.
        unsafe { (*self.as_ptr().cast::<ffi::PyTypeObject>()).tp_version_tag }
    }

    /// Whether it has attributes in a `__dict__`, for an object of a type of C whose dict is made when it is needed.
    ///
    /// Needs: attached. May run Python: no.
    pub fn has_own_attributes(self) -> bool {
        // SAFETY: attached, a live object; the place of its dict is null, or holds null or a dict.
        unsafe {
            let place = _PyObject_GetDictPtr(self.as_ptr());
            !place.is_null() && !(*place).is_null() && ffi::PyDict_Size(*place) != 0
        }
    }

    /// The `__dict__` of an object whose class provides one, without asking the class's own `__getattribute__` or `__dict__`.
    ///
    /// Returns: owned; the object keeps it, too. Needs: attached. May run Python: no.
    #[inline]
    pub fn own_dict(self) -> Result<Owned<'py>> {
        // SAFETY: attached, a live object; it raises AttributeError where there is no dict.
        unsafe {
            let dict = ffi::PyObject_GenericGetDict(self.as_ptr(), std::ptr::null_mut());
            Owned::from_result(self.py(), dict)
        }
    }

    /// `object.__getattribute__(self, name)`, or nothing where there is no such attribute.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes, where `name` is a property; no, where it is a slot.
    pub fn own_attr(self, name: Borrowed<'_, '_>) -> Result<Option<Owned<'py>>> {
        let py = self.py();
        // SAFETY: attached, live objects.
        let found = unsafe {
            Owned::from_result(
                py,
                ffi::PyObject_GenericGetAttr(self.as_ptr(), name.as_ptr()),
            )
        };
        match found {
            Ok(value) => Ok(Some(value)),
            Err(raised) if raised.is_instance_of(py.attribute_error()) => {
                raised.clear(py);
                Ok(None)
            }
            Err(raised) => Err(raised),
        }
    }

    /// `object.__setattr__(self, name, value)`.
    ///
    /// Needs: attached. May run Python: yes, where `name` is a property; no, where it is a slot.
    #[inline]
    pub fn set_own_attr(self, name: Borrowed<'_, '_>, value: Borrowed<'_, '_>) -> Result<()> {
        // SAFETY: attached, live objects.
        let status =
            unsafe { ffi::PyObject_GenericSetAttr(self.as_ptr(), name.as_ptr(), value.as_ptr()) };
        self.py().done(status)
    }

    /// `class.__new__(class, *arguments)` for a class and a tuple; TypeError for anything else.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes.
    pub fn bare(self, arguments: Borrowed<'_, '_>) -> Result<Owned<'py>> {
        let py = self.py();
        // SAFETY: a live object.
        let is_tuple = unsafe { ffi::PyTuple_CheckExact(arguments.as_ptr()) } != 0;
        if !self.is_class() || !is_tuple {
            return Err(py.raise_type_error(
                "cannot make an instance (what should make it is no class); report this as a bug of atoll",
            ));
        }
        let class = self.as_ptr().cast::<ffi::PyTypeObject>();
        // SAFETY: a class, just seen.
        match unsafe { (*class).tp_new } {
            // SAFETY: attached, the class's own constructor, a tuple, no keywords.
            Some(new) => unsafe {
                Owned::from_result(py, new(class, arguments.as_ptr(), std::ptr::null_mut()))
            },
            None => Err(py.raise_type_error(&format!(
                "cannot make an instance of {:?} (it has no constructor)",
                self
            ))),
        }
    }

    /// `self(*arguments)` for a tuple of them; TypeError where it is none.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes.
    pub fn call_with(self, arguments: Borrowed<'_, '_>) -> Result<Owned<'py>> {
        // SAFETY: attached, live objects; the call refuses anything but a tuple.
        unsafe {
            let result =
                ffi::PyObject_Call(self.as_ptr(), arguments.as_ptr(), std::ptr::null_mut());
            Owned::from_result(self.py(), result)
        }
    }

    /// `self.name(*arguments)`, for an interned name, with at most three arguments.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes.
    pub fn call_named(
        self,
        name: Borrowed<'_, '_>,
        arguments: &[Borrowed<'_, '_>],
    ) -> Result<Owned<'py>> {
        let mut all = [self.as_ptr(); 4];
        for (place, argument) in all[1..].iter_mut().zip(arguments) {
            *place = argument.as_ptr();
        }
        // SAFETY: attached, live objects, as many as it says; no keywords.
        unsafe {
            let result = ffi::PyObject_VectorcallMethod(
                name.as_ptr(),
                all.as_ptr(),
                1 + arguments.len().min(3),
                std::ptr::null_mut(),
            );
            Owned::from_result(self.py(), result)
        }
    }

    /// `self[key] = value`.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn set_item(self, key: Borrowed<'_, '_>, value: Borrowed<'_, '_>) -> Result<()> {
        // SAFETY: attached, live objects.
        let status = unsafe { ffi::PyObject_SetItem(self.as_ptr(), key.as_ptr(), value.as_ptr()) };
        self.py().done(status)
    }

    /// `getattr(self, name, None)`, but for errors other than AttributeError.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes.
    pub fn attr_if_any(self, name: &std::ffi::CStr) -> Result<Option<Owned<'py>>> {
        let py = self.py();
        match self.attr(name) {
            Ok(value) => Ok(Some(value)),
            Err(raised) if raised.is_instance_of(py.attribute_error()) => {
                raised.clear(py);
                Ok(None)
            }
            Err(raised) => Err(raised),
        }
    }

    /// The items of an object whose class is a subclass of tuple.
    ///
    /// Returns: borrowed. Needs: attached. May run Python: no.
    ///
    /// # Safety
    /// It is one, and complete.
    pub unsafe fn tuple_items(self) -> &'a [Borrowed<'a, 'py>] {
        // SAFETY: instances of subclasses begin as tuples do, and nothing but that is read.
        unsafe { Tuple::from_object(self).items() }
    }

    /// The pairs of an object whose class is a subclass of dict, as a list; SystemError for any other.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn dict_pairs(self) -> Result<Owned<'py>> {
        // SAFETY: attached, a live object, which the call looks at.
        unsafe { Owned::from_result(self.py(), ffi::PyDict_Items(self.as_ptr())) }
    }

    /// `list(self)`.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes.
    pub fn to_list(self) -> Result<Owned<'py>> {
        // SAFETY: attached, a live object; the call iterates over it or raises.
        unsafe { Owned::from_result(self.py(), ffi::PySequence_List(self.as_ptr())) }
    }
}

impl<'py> Owned<'py> {
    /// The one `str` of this content that attribute names are, in place of this exact `str`; anything else stays itself.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    #[inline]
    pub fn interned(self) -> Owned<'py> {
        let py = self.py();
        // SAFETY: a live object.
        if unsafe { ffi::PyUnicode_CheckExact(self.as_ptr()) } == 0 {
            return self;
        }
        let mut pointer = self.into_ptr();
        // SAFETY: attached; the call takes our reference and puts one in its place.
        unsafe { ffi::PyUnicode_InternInPlace(&raw mut pointer) };
        // SAFETY: that one.
        unsafe { Owned::from_ptr(py, pointer) }
    }
}

impl<'py> Attached<'py> {
    /// What `module.name` is, for a module that is imported already and a plain name in its namespace.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn imported(
        self,
        module: Text<'_, 'py>,
        name: Text<'_, 'py>,
    ) -> Result<Option<Owned<'py>>> {
        let get = |dict: *mut ffi::PyObject, key: Text<'_, 'py>| -> Result<Option<Owned<'py>>> {
            let key = key.as_object();
            // SAFETY: attached; a dict and an exact str, whose hash and comparison are CPython's own.
            let found = unsafe { ffi::PyDict_GetItemWithError(dict, key.as_ptr()) };
            if !found.is_null() {
                // SAFETY: the dict keeps it; it is taken hold of before anything else happens.
                return Ok(Some(unsafe { Borrowed::from_ptr(self, found) }.to_owned()));
            }
            // SAFETY: attached.
            if unsafe { ffi::PyErr_Occurred() }.is_null() {
                Ok(None)
            } else {
                // SAFETY: just seen.
                Err(unsafe { Raised::assume(self) })
            }
        };
        // SAFETY: attached; borrowed from the interpreter.
        let modules = unsafe { ffi::PyImport_GetModuleDict() };
        // SAFETY: a live object.
        if unsafe { ffi::PyDict_CheckExact(modules) } == 0 {
            return Ok(None);
        }
        let Some(module) = get(modules, module)? else {
            return Ok(None);
        };
        // SAFETY: a live object.
        if unsafe { ffi::PyModule_Check(module.as_ptr()) } == 0 {
            return Ok(None);
        }
        // SAFETY: attached, a module; its dict is borrowed from it.
        get(unsafe { ffi::PyModule_GetDict(module.as_ptr()) }, name)
    }
}
