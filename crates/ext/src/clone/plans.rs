//! What a clone does with each class: asked of `atoll._clone` once, remembered per interpreter until the class changes.
//!
//! # Invariant
//! - **P1**: a plan is found under the address of its class and the class's version. A version is no other class's, so a plan
//!   needs no hold on its class.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use atoll_py::types::{Exact, Int, Tuple};
use atoll_py::{Attached, Borrowed, Owned, Result, Stored};

/// One interpreter's plans: a field of its module state.
#[derive(Default)]
pub(crate) struct Plans {
    known: Mutex<HashMap<usize, Known>>,
    helpers: OnceLock<Helpers>,
}

struct Known {
    version: u32,
    /// How many reducers `copyreg` knew.
    registered: usize,
    plan: Arc<Plan>,
}

/// How instances of a class cross, and the class itself.
pub(crate) struct Plan {
    pub(super) how: How,
    /// What it is found by, or nothing where it travels by value.
    pub(super) name: Option<Name>,
}

/// By which name a class is found.
pub(super) struct Name {
    pub(super) module: String,
    pub(super) qualname: String,
    /// The same two as `str` objects.
    texts: [Stored; 2],
}

pub(super) enum How {
    /// By what they consist of.
    Plain {
        has_dict: bool,
        /// A tuple of names, or nothing where there are no slots.
        slots: Option<Stored>,
    },
    /// By `__reduce_ex__(5)`.
    Reduce,
    /// By a function that gives what `__reduce_ex__` would.
    Reducer(Stored),
    /// As memory.
    Buffer,
    /// By `__atoll_share__`: its payload is shared.
    Share,
    /// As a class of `collections`, which is read without Python code.
    Collection(Collection),
}

/// Classes of `collections`, exactly.
#[derive(Clone, Copy)]
pub(super) enum Collection {
    Deque,
    DefaultDict,
    OrderedDict,
    /// Whatever `namedtuple()` made.
    NamedTuple,
}

/// Functions of `atoll._clone` and what else a walk compares with.
pub(super) struct Helpers {
    plan: Stored,
    pub(super) find: Stored,
    pub(super) global_name: Stored,
    pub(super) refusal: Stored,
    pub(super) flattened: Stored,
    pub(super) set_state: Stored,
    pub(super) ship: Stored,
    pub(super) new_object: Stored,
    /// The names of methods and attributes.
    pub(super) extend: Stored,
    pub(super) max_length: Stored,
    pub(super) default_factory: Stored,
    /// The name `__reduce_ex__` and the number of the protocol.
    pub(super) reduce_ex: [Stored; 2],
    reducers: Stored,
}

/// What objects are asked to take themselves apart for.
const PROTOCOL: i64 = 5;

/// More plans than these are not kept.
const MOST: usize = 4096;

impl Plans {
    /// The functions of `atoll._clone`.
    ///
    /// Needs: attached. May run Python: yes, the first time.
    pub(super) fn helpers(&self, py: Attached<'_>) -> Result<&Helpers> {
        if let Some(helpers) = self.helpers.get() {
            return Ok(helpers);
        }
        let module = py.import(c"atoll._clone")?;
        let get = |name| Ok(module.borrow().attr(name)?.store());
        let helpers = Helpers {
            plan: get(c"plan")?,
            find: get(c"find")?,
            global_name: get(c"global_name")?,
            refusal: get(c"refusal")?,
            flattened: get(c"flattened")?,
            set_state: get(c"set_state")?,
            ship: get(c"ship")?,
            new_object: get(c"_new_object")?,
            extend: py.string("extend")?.interned().store(),
            max_length: py.string("maxlen")?.interned().store(),
            default_factory: py.string("default_factory")?.interned().store(),
            reduce_ex: [
                py.string("__reduce_ex__")?.interned().store(),
                py.int(PROTOCOL)?.store(),
            ],
            reducers: py
                .import(c"copyreg")?
                .borrow()
                .attr(c"dispatch_table")?
                .store(),
        };
        if let Err(second) = self.helpers.set(helpers) {
            // Another thread was faster.
            second.each_stored_owned(|stored| stored.release(py));
        }
        self.helpers(py)
    }

    /// The plan of a class, if it is known and the class did not change.
    ///
    /// Needs: attached. May run Python: no.
    pub(super) fn known(&self, class: Borrowed<'_, '_>) -> Option<Arc<Plan>> {
        let version = class.class_version();
        let registered = self.registered(class.py())?;
        let known = self.known.lock().ok()?;
        let found = known.get(&class.as_ptr().addr())?;
        (version != 0 && found.version == version && found.registered == registered)
            .then(|| found.plan.clone())
    }

    /// The plan of a class.
    ///
    /// Needs: attached. May run Python: yes.
    pub(super) fn of(&self, class: Borrowed<'_, '_>) -> Result<Arc<Plan>> {
        if let Some(plan) = self.known(class) {
            return Ok(plan);
        }
        let py = class.py();
        let helpers = self.helpers(py)?;
        let version = class.class_version();
        let described = helpers.plan.get(py).call(&[class])?;
        let plan = Arc::new(Plan::read(py, described.borrow())?);
        // Looking attributes up may have given the class its first version.
        let version = if version == 0 {
            class.class_version()
        } else {
            version
        };
        let known = Known {
            version,
            registered: self.registered(py).unwrap_or_default(),
            plan: plan.clone(),
        };
        let mut out = Vec::new();
        if let Ok(mut plans) = self.known.lock() {
            if plans.len() >= MOST {
                out.extend(plans.drain().map(|(_, known)| known.plan));
            }
            out.extend(
                plans
                    .insert(class.as_ptr().addr(), known)
                    .map(|known| known.plan),
            );
        }
        release(py, out);
        Ok(plan)
    }

    /// Forgets every plan: what they were made from has changed.
    ///
    /// Needs: attached. May run Python: yes.
    pub(super) fn forget(&self, py: Attached<'_>) {
        let out = match self.known.lock() {
            Ok(mut plans) => plans.drain().map(|(_, known)| known.plan).collect(),
            Err(_) => Vec::new(),
        };
        release(py, out);
    }

    fn registered(&self, py: Attached<'_>) -> Option<usize> {
        match Exact::of(self.helpers.get()?.reducers.get(py)) {
            Exact::Dict(reducers) => Some(reducers.len()),
            _ => Some(0),
        }
    }

    /// Shows every stored object to `visit`.
    pub(crate) fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        if let Some(helpers) = self.helpers.get() {
            helpers.each().into_iter().for_each(&mut *visit);
        }
        // Held by another thread for a moment on a build without a GIL: what is not shown is kept.
        if let Ok(plans) = self.known.try_lock() {
            for known in plans.values() {
                if let Some(name) = &known.plan.name {
                    name.texts.iter().for_each(&mut *visit);
                }
                match &known.plan.how {
                    How::Plain {
                        slots: Some(stored),
                        ..
                    }
                    | How::Reducer(stored) => visit(stored),
                    How::Plain { slots: None, .. }
                    | How::Reduce
                    | How::Buffer
                    | How::Share
                    | How::Collection(_) => {}
                }
            }
        }
    }
}

/// Gives back what plans hold. One that a walk is using keeps it for ever: a tuple or a function.
fn release(py: Attached<'_>, plans: Vec<Arc<Plan>>) {
    for plan in plans.into_iter().filter_map(Arc::into_inner) {
        if let Some(name) = plan.name {
            name.texts.into_iter().for_each(|text| text.release(py));
        }
        match plan.how {
            How::Plain {
                slots: Some(stored),
                ..
            }
            | How::Reducer(stored) => stored.release(py),
            How::Plain { slots: None, .. }
            | How::Reduce
            | How::Buffer
            | How::Share
            | How::Collection(_) => {}
        }
    }
}

impl Helpers {
    fn each(&self) -> [&Stored; 14] {
        [
            &self.plan,
            &self.find,
            &self.global_name,
            &self.refusal,
            &self.flattened,
            &self.set_state,
            &self.ship,
            &self.new_object,
            &self.extend,
            &self.max_length,
            &self.default_factory,
            &self.reduce_ex[0],
            &self.reduce_ex[1],
            &self.reducers,
        ]
    }

    fn each_stored_owned(self, give_back: impl FnMut(Stored)) {
        let [name, protocol] = self.reduce_ex;
        [
            self.plan,
            self.find,
            self.global_name,
            self.refusal,
            self.flattened,
            self.set_state,
            self.ship,
            self.new_object,
            self.extend,
            self.max_length,
            self.default_factory,
            name,
            protocol,
            self.reducers,
        ]
        .into_iter()
        .for_each(give_back);
    }
}

impl Plan {
    /// Reads what `atoll._clone.plan` said: how, module, qualified name, whether there is a dict, slots, reducer.
    fn read(py: Attached<'_>, described: Borrowed<'_, '_>) -> Result<Plan> {
        let wrong = || py.raise_system_error("atoll._clone.plan() gave no plan");
        let Exact::Tuple(parts) = Exact::of(described) else {
            return Err(wrong());
        };
        // SAFETY: Python code made it, so it is complete.
        let &[how, module, qualname, has_dict, slots, reducer] = (unsafe { parts.items() }) else {
            return Err(wrong());
        };
        let name = match (Exact::of(module), Exact::of(qualname)) {
            (Exact::Text(_), Exact::Text(_)) => Some(Name {
                module: module.utf8_lossy()?,
                qualname: qualname.utf8_lossy()?,
                texts: [module, qualname].map(|text| Borrowed::to_owned(text).interned().store()),
            }),
            _ => None,
        };
        let how = match small(how) {
            Some(0) => How::Plain {
                has_dict: has_dict.is_true()?,
                slots: match Exact::of(slots) {
                    Exact::Tuple(names) if !names.is_empty() => Some(slots.to_owned().store()),
                    _ => None,
                },
            },
            Some(1) => How::Reduce,
            Some(2) => How::Reducer(reducer.to_owned().store()),
            Some(3) => How::Buffer,
            Some(4) => How::Share,
            Some(5) => How::Collection(Collection::Deque),
            Some(6) => How::Collection(Collection::DefaultDict),
            Some(7) => How::Collection(Collection::OrderedDict),
            Some(8) => How::Collection(Collection::NamedTuple),
            _ => return Err(wrong()),
        };
        Ok(Plan { how, name })
    }

    /// Whether the class is still what its name means. (Below the top of its module it was when the plan was made.)
    ///
    /// Needs: attached. May run Python: no.
    pub(super) fn names(&self, class: Borrowed<'_, '_>) -> Result<bool> {
        let Some(name) = &self.name else {
            return Ok(false);
        };
        if name.qualname.contains('.') {
            return Ok(true);
        }
        let py = class.py();
        let [Exact::Text(module), Exact::Text(qualname)] =
            name.texts.each_ref().map(|text| Exact::of(text.get(py)))
        else {
            return Ok(false);
        };
        let found = py.imported(module, qualname)?;
        Ok(found.is_some_and(|found| found.borrow().is(class)))
    }
}

fn small(object: Borrowed<'_, '_>) -> Option<i64> {
    match Exact::of(object) {
        Exact::Int(int) => Int::to_i64(int),
        _ => None,
    }
}

/// What crossed by name: a class, function or module.
///
/// Returns: owned. Needs: attached. May run Python: yes.
pub(super) fn find<'py>(
    py: Attached<'py>,
    plans: &Plans,
    module: Borrowed<'_, 'py>,
    qualname: Borrowed<'_, 'py>,
    is_plain: bool,
) -> Result<Owned<'py>> {
    if is_plain
        && let (Exact::Text(module), Exact::Text(name)) = (Exact::of(module), Exact::of(qualname))
        && let Some(found) = py.imported(module, name)?
    {
        return Ok(found);
    }
    let find = plans.helpers(py)?.find.get(py);
    find.call(&[module, qualname])
}

/// The items of a tuple that Python code made.
pub(super) fn items<'a, 'py>(object: Borrowed<'a, 'py>) -> Option<&'a [Borrowed<'a, 'py>]> {
    match Exact::of(object) {
        // SAFETY: what Python code hands over is complete.
        Exact::Tuple(tuple) => Some(unsafe { Tuple::items(tuple) }),
        _ => None,
    }
}
