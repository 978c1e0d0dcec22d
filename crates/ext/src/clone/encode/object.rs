//! Objects that are not of built-in types: instances, classes, memory, and whatever takes itself apart.

use std::sync::Arc;

use atoll_codec::Parts;
use atoll_core::client::Region;
use atoll_py::types::{Dict, Exact, Tuple};
use atoll_py::{Borrowed, FREE_THREADED, Owned, Result};

use super::sink::Met;
use super::walk::{Call, Frame, Items, Walk};
use super::{Refusal, Written};
use crate::clone::memory::Memory;
use crate::clone::plans::{Collection, How, Plan, Plans, items};
use crate::clone::share;

/// Memory of at least this many bytes travels beside the message instead of inside of it.
const REGION_BYTES: usize = 64 * 1024;

/// The function that gives back what travels by value.
const LOADER: (&str, &str) = ("atoll._clone", "load_shipped");

impl<'a, 'py> Walk<'a, 'py, '_> {
    /// Writes an object of any type, or its head.
    #[inline(never)]
    pub(super) fn object(&mut self, object: Borrowed<'a, 'py>) -> Written<'a, 'py, ()> {
        self.sink.has_objects = true;
        if object.is_class() {
            return if self.sink.repeats(object) {
                Ok(())
            } else {
                self.class(object)
            };
        }
        let index = self.met(object.ty())?;
        let plan = &self.sink.classes[index].plan;
        match plan.how {
            How::Plain { has_dict, .. } => return self.instance(object, index, has_dict),
            How::Collection(kind) if !self.sink.runs_python => {
                return self.collection(object, kind);
            }
            _ => {}
        }
        if !self.sink.runs_python {
            return Err(Box::new(Refusal::RunPython));
        }
        let plan = plan.clone();
        match &plan.how {
            How::Buffer => self.memory(object),
            How::Share => self.shared(object),
            How::Reduce | How::Plain { .. } | How::Collection(_) => self.taken_apart(object, None),
            How::Reducer(reducer) => {
                let reducer = reducer.get(object.py()).to_owned();
                self.taken_apart(object, Some(reducer.borrow()))
            }
        }
    }

    /// Where in `classes` this class is.
    #[inline]
    fn met(&mut self, class: Borrowed<'a, 'py>) -> Written<'a, 'py, usize> {
        let sink = &mut self.sink;
        if let Some(met) = sink.classes.get(sink.recent)
            && met.class.is(class)
        {
            return Ok(sink.recent);
        }
        let index = match sink.classes.iter().position(|met| met.class.is(class)) {
            Some(index) => index,
            None => {
                let plan = self.plan(class)?;
                let sink = &mut self.sink;
                sink.keep(class.to_owned());
                sink.classes.push(Met {
                    class,
                    plan,
                    number: None,
                });
                sink.classes.len() - 1
            }
        };
        self.sink.recent = index;
        Ok(index)
    }

    #[cold]
    fn plan(&mut self, class: Borrowed<'a, 'py>) -> Written<'a, 'py, Arc<Plan>> {
        let plans = &self.sink.state.plans;
        if self.sink.runs_python {
            return Ok(plans.of(class)?);
        }
        plans
            .known(class)
            .ok_or_else(|| Box::new(Refusal::RunPython))
    }

    /// Writes a class that was not written before.
    #[cold]
    fn class(&mut self, class: Borrowed<'a, 'py>) -> Written<'a, 'py, ()> {
        let plan = self.plan(class)?;
        if plan.names(class)?
            && let Some(name) = &plan.name
        {
            self.sink.writer.named(&name.module, &name.qualname);
            return Ok(());
        }
        let py = class.py();
        let known = self
            .sink
            .shipped
            .iter()
            .find(|(known, _)| known.borrow().is(class));
        let arguments = match known {
            Some((_, arguments)) => arguments.borrow(),
            None if !self.sink.runs_python => return Err(Box::new(Refusal::Ship(class))),
            None => {
                let ship = self.sink.state.plans.helpers(py)?.ship.get(py);
                match ship.call(&[class]) {
                    Ok(arguments) => self.sink.keep(arguments),
                    Err(raised) => return Err(Box::new(Refusal::Apart(class, raised))),
                }
            }
        };
        self.sink.writer.reduced(Parts::NONE);
        self.sink.writer.named(LOADER.0, LOADER.1);
        self.open(arguments)
    }

    /// Writes the head of an instance that consists of its `__dict__` and its slots.
    #[inline]
    fn instance(
        &mut self,
        object: Borrowed<'a, 'py>,
        index: usize,
        has_dict: bool,
    ) -> Written<'a, 'py, ()> {
        if self.sink.repeats(object) {
            return Ok(());
        }
        let mut attributes = None;
        if has_dict {
            let dict = object.own_dict()?;
            // SAFETY: W1: the object keeps its dict, and stands still (K1); otherwise `still_dict` copies it.
            let dict = unsafe { Borrowed::from_ptr(object.py(), dict.as_ptr()) };
            if let Exact::Dict(dict) = Exact::of(dict) {
                attributes = Some(self.sink.still_dict(dict)?);
            }
        }
        let slots = self.slots(object, index)?;
        let count = |dict: &Option<Dict<'_, '_>>| dict.map_or(0, Dict::len);
        let (named, slotted) = (count(&attributes), count(&slots));
        let sink = &mut self.sink;
        let class = match sink.classes[index].number {
            Some(number) => {
                sink.writer.instance(number, named, slotted);
                None
            }
            None => {
                sink.writer.new_instance(named, slotted);
                sink.classes[index].number = Some(sink.numbered);
                sink.numbered += 1;
                Some(sink.classes[index].class)
            }
        };
        // Last in, first out: the class, the attributes, the slots.
        for dict in [slots, attributes].into_iter().flatten() {
            if !dict.is_empty() {
                self.enter(Frame::Dict {
                    dict,
                    position: 0,
                    done: 0,
                    key: object,
                    value: None,
                    attributes: true,
                })?;
            }
        }
        match class {
            Some(class) if !self.sink.repeats(class) => self.class(class),
            Some(_) | None => Ok(()),
        }
    }

    /// The slots that have a value, as a dict.
    #[inline]
    fn slots(
        &mut self,
        object: Borrowed<'a, 'py>,
        index: usize,
    ) -> Written<'a, 'py, Option<Dict<'a, 'py>>> {
        let plan = &self.sink.classes[index].plan;
        let How::Plain {
            slots: Some(slots), ..
        } = &plan.how
        else {
            return Ok(None);
        };
        let py = object.py();
        let found = Dict::create(py)?;
        // SAFETY: a dict, just made.
        let dict = unsafe { Dict::from_object(found.borrow()) };
        for &name in items(slots.get(py)).unwrap_or_default() {
            if let Some(value) = object.own_attr(name)? {
                dict.set(name, value.borrow())?;
            }
        }
        let kept = self.sink.keep(found);
        // SAFETY: the same one.
        Ok(Some(unsafe { Dict::from_object(kept) }))
    }

    /// Writes memory: small one as `bytes` or `bytearray`, large one beside the message, a copy unless it is shared already.
    fn memory(&mut self, object: Borrowed<'a, 'py>) -> Written<'a, 'py, ()> {
        if self.sink.repeats(object) {
            return Ok(());
        }
        let lent = match object.lend() {
            Ok(lent) => lent,
            Err(raised) => return Err(Box::new(Refusal::Apart(object, raised))),
        };
        let (data, readonly) = (lent.bytes(), lent.is_readonly());
        let sink = &mut self.sink;
        let memory = lent
            .owner()
            .and_then(|owner| sink.state.memory.body_of(owner));
        if let Some(region) = memory.and_then(Memory::shared) {
            sink.writer.buffer(sink.regions.len(), true);
            sink.regions.push(region);
        } else if data.len() >= REGION_BYTES {
            let Some(region) = Region::copy_of(data) else {
                return Err(Box::new(Refusal::Memory));
            };
            sink.writer.buffer(sink.regions.len(), readonly);
            sink.regions.push(region);
        } else if readonly {
            sink.writer.bytes(data);
        } else {
            sink.writer.bytearray(data);
        }
        Ok(())
    }

    /// Writes an object whose payload its type shares.
    fn shared(&mut self, object: Borrowed<'a, 'py>) -> Written<'a, 'py, ()> {
        if self.sink.repeats(object) {
            return Ok(());
        }
        let capsule = match object.call_method(c"__atoll_share__", &[]) {
            Ok(capsule) => capsule,
            Err(raised) => return Err(Box::new(Refusal::Apart(object, raised))),
        };
        let taken = match share::take(capsule.borrow()) {
            Ok(taken) => taken,
            Err(why) => return Err(Box::new(Refusal::Share(object, why))),
        };
        let sink = &mut self.sink;
        sink.writer.reduced(Parts::NONE);
        sink.writer.named(&taken.module, &taken.function);
        sink.writer.tuple(1);
        sink.writer.buffer(sink.regions.len(), true);
        sink.regions.push(taken.region);
        Ok(())
    }

    /// Writes the head of an object of `collections`, as its own reduction would, in a walk that runs no Python code.
    fn collection(&mut self, object: Borrowed<'a, 'py>, kind: Collection) -> Written<'a, 'py, ()> {
        if let Some(earlier) = self.sink.memo.get(object.as_ptr().addr()) {
            self.sink.writer.reference(earlier);
            return Ok(());
        }
        if self.is_being_called(object) {
            // What it is made of holds it: the other walk knows every object, and ends.
            return Err(Box::new(Refusal::RunPython));
        }
        let py = object.py();
        let class = object.ty();
        let none = py.none();
        let create = |items: &[Borrowed<'_, 'py>]| Tuple::create(py, items);
        match kind {
            Collection::NamedTuple => {
                // SAFETY: its plan says that it is of a subclass of tuple; whatever Python code could hand over is complete.
                let fields = unsafe { object.tuple_items() };
                self.rebuilt(object, class, fields, Parts::NONE.with(Parts::BARE), &[])
            }
            Collection::Deque => {
                let name = self.sink.state.plans.helpers(py)?.max_length.get(py);
                let length = object.own_attr(name)?;
                let length = length.as_ref().map_or(none, Owned::borrow);
                let arguments = if length.is_none() {
                    create(&[])?
                } else {
                    let nothing = create(&[])?;
                    create(&[nothing.borrow(), length])?
                };
                let arguments = self.sink.keep(arguments);
                self.call(object, class, arguments, &[none, object])
            }
            Collection::DefaultDict => {
                let name = self.sink.state.plans.helpers(py)?.default_factory.get(py);
                let factory = object.own_attr(name)?;
                let factory = factory.as_ref().map_or(none, Owned::borrow);
                let arguments = if factory.is_none() {
                    create(&[])?
                } else {
                    create(&[factory])?
                };
                let arguments = self.sink.keep(arguments);
                let pairs = self.sink.keep(object.dict_pairs()?);
                self.call(object, class, arguments, &[none, none, pairs])
            }
            Collection::OrderedDict => {
                if object.has_own_attributes() {
                    return Err(Box::new(Refusal::RunPython));
                }
                let arguments = self.sink.keep(create(&[])?);
                // In its own order, which is not that of the dict that it is, too.
                let pairs = self.sink.keep(object.call_method(c"items", &[])?);
                self.call(object, class, arguments, &[none, none, pairs])
            }
        }
    }

    /// Whether the arguments of this object are being written.
    fn is_being_called(&self, object: Borrowed<'a, 'py>) -> bool {
        let met_once = object.has_one_reference() && !object.is(self.sink.root);
        !met_once
            && self.frames.iter().any(|frame| {
                matches!(frame, Frame::Items { of: Items::Call(call), .. } if call.object.is(object))
            })
    }

    /// Writes the head of an object that Python code takes apart.
    fn taken_apart(
        &mut self,
        object: Borrowed<'a, 'py>,
        reducer: Option<Borrowed<'_, 'py>>,
    ) -> Written<'a, 'py, ()> {
        debug_assert!(self.sink.runs_python || FREE_THREADED);
        if let Some(earlier) = self.sink.memo.get(object.as_ptr().addr()) {
            self.sink.writer.reference(earlier);
            return Ok(());
        }
        let reduction = match reduction(&self.sink.state.plans, object, reducer) {
            Ok(reduction) => self.sink.keep(reduction),
            Err(raised) => return Err(Box::new(Refusal::Apart(object, raised))),
        };
        if let Exact::Text(_) = Exact::of(reduction) {
            return self.global(object, reduction);
        }
        match items(reduction) {
            Some(&[callable, arguments, ref parts @ ..]) if parts.len() <= 4 => {
                self.call(object, callable, arguments, parts)
            }
            _ => Err(Box::new(Refusal::Type(object))),
        }
    }

    /// Writes what its reduction calls a global of that name.
    fn global(
        &mut self,
        object: Borrowed<'a, 'py>,
        name: Borrowed<'a, 'py>,
    ) -> Written<'a, 'py, ()> {
        let py = object.py();
        let helper = self.sink.state.plans.helpers(py)?.global_name.get(py);
        let found = match helper.call(&[object, name]) {
            Ok(found) => found,
            Err(raised) => return Err(Box::new(Refusal::Apart(object, raised))),
        };
        let Some(&[module, qualname]) = items(found.borrow()) else {
            return Err(Box::new(Refusal::Type(object)));
        };
        if !self.sink.repeats(object) {
            let (module, qualname) = (module.utf8_lossy()?, qualname.utf8_lossy()?);
            self.sink.writer.named(&module, &qualname);
        }
        Ok(())
    }

    /// Writes the head of an object that a call rebuilds; `rest` are state, items, pairs and setter, as far as there are.
    fn call(
        &mut self,
        object: Borrowed<'a, 'py>,
        callable: Borrowed<'a, 'py>,
        arguments: Borrowed<'a, 'py>,
        rest: &[Borrowed<'a, 'py>],
    ) -> Written<'a, 'py, ()> {
        let py = object.py();
        let Exact::Tuple(given) = Exact::of(arguments) else {
            return Err(Box::new(Refusal::Type(object)));
        };
        let mut parts = Parts::NONE;
        let new_object = self.sink.state.plans.helpers(py)?.new_object.get(py);
        // SAFETY: Python code made it, so it is complete.
        let mut arguments = unsafe { given.items() };
        let mut callable = callable;
        if callable.is(new_object)
            && let [class, rest @ ..] = arguments
        {
            parts = parts.with(Parts::BARE);
            (callable, arguments) = (*class, rest);
        }
        self.rebuilt(object, callable, arguments, parts, rest)
    }

    /// As [`call`](Self::call), for a callable and arguments that are as they are written.
    fn rebuilt(
        &mut self,
        object: Borrowed<'a, 'py>,
        callable: Borrowed<'a, 'py>,
        arguments: &'a [Borrowed<'a, 'py>],
        mut parts: Parts,
        rest: &[Borrowed<'a, 'py>],
    ) -> Written<'a, 'py, ()> {
        let mut following = Vec::new();
        let part = |index: usize| rest.get(index).copied().filter(|part| !part.is_none());
        if let Some(items) = part(1) {
            let items = self.asked(object, items.to_list())?;
            parts = parts.with(Parts::ITEMS);
            following.push(items);
        }
        if let Some(pairs) = part(2) {
            let pairs = self.asked(object, flattened(&self.sink.state.plans, pairs))?;
            parts = parts.with(Parts::PAIRS);
            following.push(pairs);
        }
        if let Some(state) = part(0) {
            if let Some(setter) = part(3) {
                parts = parts.with(Parts::SETTER);
                following.push(setter);
            }
            parts = parts.with(Parts::STATE);
            following.push(state);
        }
        let head = self.sink.writer.position();
        self.sink.writer.reduced(parts);
        if !following.is_empty() {
            let frame = self.items(&following, Items::Parts(parts))?;
            self.enter(frame)?;
        }
        let call = Call {
            object,
            head,
            parts,
        };
        // The tuple of the arguments is nobody's: it is not noted, and written without its first item where that is the class.
        self.enter(Frame::Items {
            items: arguments,
            next: 0,
            of: Items::Call(call),
        })?;
        match self.sink.memo.get(callable.as_ptr().addr()) {
            Some(earlier) => {
                self.sink.writer.reference(earlier);
                self.sink.writer.tuple(arguments.len());
                Ok(())
            }
            None => {
                let frame = self.items(&[callable], Items::Callable(arguments.len()))?;
                self.enter(frame)
            }
        }
    }

    /// What Python code gave for a part of `object`, kept until the walk ends.
    fn asked(
        &mut self,
        object: Borrowed<'a, 'py>,
        answer: Result<Owned<'py>>,
    ) -> Written<'a, 'py, Borrowed<'a, 'py>> {
        match answer {
            Ok(answer) => Ok(self.sink.keep(answer)),
            Err(raised) => Err(Box::new(Refusal::Apart(object, raised))),
        }
    }

    fn items(
        &mut self,
        objects: &[Borrowed<'a, 'py>],
        of: Items<'a, 'py>,
    ) -> Written<'a, 'py, Frame<'a, 'py>> {
        let tuple = self.sink.keep(Tuple::create(self.sink.root.py(), objects)?);
        let items = items(tuple).unwrap_or_default();
        Ok(Frame::Items { items, next: 0, of })
    }

    /// The callable and the arguments of an object are written: from here on it can be referred to.
    #[cold]
    pub(super) fn called(&mut self, call: Call<'a, 'py>) {
        if !self.sink.runs_python
            && call.object.has_one_reference()
            && !call.object.is(self.sink.root)
        {
            // W2: it is not met again.
            return;
        }
        let address = call.object.as_ptr().addr();
        let Some(earlier) = self.sink.memo.note(address, call.head) else {
            return;
        };
        // Its arguments held it, and there it was written to its end.
        self.sink
            .writer
            .change_parts(call.head, call.parts.with(Parts::REPLACED));
        self.sink.writer.reference(earlier);
        if call.parts.children() > 2 {
            self.frames.pop();
        }
    }
}

/// Keys and values in turn, of pairs.
fn flattened<'py>(plans: &Plans, pairs: Borrowed<'_, 'py>) -> Result<Owned<'py>> {
    let py = pairs.py();
    let list = pairs.to_list()?;
    let all = match Exact::of(list.borrow()) {
        Exact::List(list) => list.to_tuple()?,
        _ => return plans.helpers(py)?.flattened.get(py).call(&[pairs]),
    };
    let mut flat = Vec::new();
    for &pair in items(all.borrow()).unwrap_or_default() {
        match items(pair) {
            Some(&[key, value]) => flat.extend([key, value]),
            _ => {
                let helper = plans.helpers(py)?.flattened.get(py);
                return helper.call(&[list.borrow()]);
            }
        }
    }
    Tuple::create(py, &flat)?.borrow().to_list()
}

/// What the object says that it is made of.
fn reduction<'py>(
    plans: &Plans,
    object: Borrowed<'_, 'py>,
    reducer: Option<Borrowed<'_, 'py>>,
) -> Result<Owned<'py>> {
    match reducer {
        Some(reducer) => reducer.call(&[object]),
        None => {
            let helpers = plans.helpers(object.py())?;
            let [name, protocol] = helpers
                .reduce_ex
                .each_ref()
                .map(|stored| stored.get(object.py()));
            object.call_named(name, &[protocol])
        }
    }
}
