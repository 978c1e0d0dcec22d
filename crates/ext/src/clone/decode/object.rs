//! Instances, and whatever a call rebuilds.

use atoll_codec::{Attributes, Item, Parts, Token};
use atoll_py::types::{Exact, List, Tuple};
use atoll_py::{Borrowed, Owned, Result};

use super::frame::{Frame, Kind};
use super::leaf::Key;
use super::walk::Walk;
use super::{Failure, Step};
use crate::clone::memory::Memory;
use crate::clone::{plans, share};

impl<'a, 'py> Walk<'a, 'py> {
    /// Starts an object inside the innermost container, or makes one that holds nothing.
    pub(super) fn open_object(&mut self, item: &Item<'a>) -> Step<Option<Owned<'py>>> {
        if !self.runs_code {
            return Err(Failure::structure("it holds objects and does not say so"));
        }
        let py = self.py;
        match item.token {
            Token::Instance(number, attributes) => {
                let class = self.classes.get(number);
                let class = class
                    .ok_or_else(|| Failure::structure("a class has a number that none has"))?;
                let object = class.borrow().bare(self.state_of_nothing()?.borrow())?;
                let memo = self.remember(item, Some(object.clone()), true);
                self.enter(Frame {
                    container: object,
                    kind: Kind::Instance {
                        named: attributes.named,
                    },
                    len: attributes.total(),
                    done: 0,
                    key: None,
                    memo,
                })?;
                Ok(None)
            }
            Token::NewInstance(attributes) => {
                self.begin_object(item, Kind::NewInstance(attributes), 1)
            }
            Token::Reduced(parts) => {
                self.begin_object(item, Kind::Reduced(parts), parts.children())
            }
            Token::Named(module, qualname) => {
                let found = self.named(module, qualname)?;
                self.remember(item, Some(found.clone()), true);
                Ok(Some(found))
            }
            Token::Buffer { index, readonly } => {
                let region = self.regions.get_mut(index).and_then(Option::take);
                let region = region.ok_or_else(|| {
                    Failure::structure("it names a region that did not come with it")
                })?;
                let object = if region.share().is_some() {
                    share::capsule(py, region)?
                } else {
                    self.state.memory.make(py, Memory::new(region, readonly))?
                };
                self.remember(item, Some(object.clone()), true);
                Ok(Some(object))
            }
            _ => Err(Failure::structure("an item is in the wrong place")),
        }
    }

    /// What is found by this name, whose texts are mostly those of an earlier message.
    fn named(&mut self, module: &str, qualname: &str) -> Result<Owned<'py>> {
        let mut keys = Key {
            py: self.py,
            state: self.state,
            keys: &mut self.keys,
            names: &mut self.names,
            kept: &mut self.kept,
        };
        let is_plain = !qualname.contains('.');
        let (module, qualname) = (keys.text(module)?, keys.text(qualname)?);
        plans::find(
            self.py,
            &self.state.plans,
            module.borrow(),
            qualname.borrow(),
            is_plain,
        )
    }

    /// Starts an object that does not exist before its first parts do.
    fn begin_object(
        &mut self,
        item: &Item<'a>,
        kind: Kind,
        len: usize,
    ) -> Step<Option<Owned<'py>>> {
        let memo = self.remember(item, None, false);
        self.enter(Frame {
            container: self.py.none().to_owned(),
            kind,
            len,
            done: 0,
            key: None,
            memo,
        })?;
        Ok(None)
    }

    fn state_of_nothing(&self) -> Result<Owned<'py>> {
        Tuple::create(self.py, &[])
    }

    /// Takes the next part of the innermost object.
    pub(super) fn add_part(&mut self, part: Owned<'py>) -> Step<()> {
        match self.frames.last().map(|frame| frame.kind) {
            Some(Kind::NewInstance(attributes)) => self.add_class(part, attributes),
            Some(Kind::Reduced(parts)) => self.add_reduced(part, parts),
            _ => Err(Failure::structure("a part is in no object")),
        }
    }

    fn add_class(&mut self, class: Owned<'py>, attributes: Attributes) -> Step<()> {
        let object = class.borrow().bare(self.state_of_nothing()?.borrow())?;
        self.classes.push(class);
        if let Some(frame) = self.frames.last_mut() {
            frame.container = object;
            frame.kind = Kind::Instance {
                named: attributes.named,
            };
            frame.len = attributes.total();
        }
        self.exists();
        Ok(())
    }

    fn add_reduced(&mut self, part: Owned<'py>, parts: Parts) -> Step<()> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(());
        };
        let index = frame.done;
        frame.done += 1;
        match index {
            0 => frame.key = Some(part),
            1 if parts.has(Parts::REPLACED) => {}
            1 => {
                let callable = frame.key.take();
                let callable =
                    callable.ok_or_else(|| Failure::structure("an object has no callable"))?;
                let object = if parts.has(Parts::BARE) {
                    callable.borrow().bare(part.borrow())?
                } else {
                    callable.borrow().call_with(part.borrow())?
                };
                // The frame is still the innermost one: Python code has walks of its own.
                if let Some(frame) = self.frames.last_mut() {
                    frame.container = object;
                }
                self.exists();
            }
            _ if parts.has(Parts::REPLACED) => {
                frame.container = part;
                self.exists();
            }
            _ => {
                let object = frame.container.clone();
                match nth(parts, index - 2) {
                    Parts::ITEMS => self.extend(object.borrow(), part.borrow())?,
                    Parts::PAIRS => set_pairs(object.borrow(), part.borrow())?,
                    Parts::SETTER => frame.key = Some(part),
                    _ => match frame.key.take() {
                        Some(setter) => {
                            setter.borrow().call(&[object.borrow(), part.borrow()])?;
                        }
                        None => self.set_state(object.borrow(), part.borrow())?,
                    },
                }
            }
        }
        Ok(())
    }

    /// The innermost object exists from here on: references may point at it.
    fn exists(&mut self) {
        if let Some(frame) = self.frames.last()
            && let Some(remembered) = self.memo.get_mut(frame.memo)
        {
            remembered.object = Some(frame.container.clone());
            remembered.complete = true;
        }
    }

    /// `object.extend(items)`, or `append` one after another.
    fn extend(&self, object: Borrowed<'_, 'py>, items: Borrowed<'_, 'py>) -> Result<()> {
        let name = self.state.plans.helpers(self.py)?.extend.get(self.py);
        let extend = match object.own_attr(name)? {
            Some(extend) => Some(extend),
            None => object.attr_if_any(c"extend")?,
        };
        if let Some(extend) = extend {
            extend.borrow().call(&[items])?;
            return Ok(());
        }
        let append = object.attr(c"append")?;
        let iterator = items.iter()?;
        while let Some(item) = iterator.borrow().next()? {
            append.borrow().call(&[item.borrow()])?;
        }
        Ok(())
    }

    /// Gives an object its state, as `pickle` would.
    fn set_state(&self, object: Borrowed<'_, 'py>, state: Borrowed<'_, 'py>) -> Result<()> {
        if let Exact::Dict(pairs) = Exact::of(state)
            && object.attr_if_any(c"__setstate__")?.is_none()
        {
            if pairs.is_empty() {
                return Ok(());
            }
            let own = object.attr(c"__dict__")?;
            if let Exact::Dict(own) = Exact::of(own.borrow()) {
                let pairs = pairs.copy()?;
                // SAFETY: a copy of a dict is one.
                let pairs = unsafe { atoll_py::types::Dict::from_object(pairs.borrow()) };
                let mut position = 0;
                // SAFETY: nobody else has the copy.
                while let Some((name, value)) = unsafe { pairs.next(&mut position) } {
                    let name = Borrowed::to_owned(name).interned();
                    own.set(name.borrow(), value)?;
                }
                return Ok(());
            }
        }
        let set_state = self.state.plans.helpers(self.py)?.set_state.get(self.py);
        set_state.call(&[object, state])?;
        Ok(())
    }
}

/// The part that comes as this one of those that there are.
fn nth(parts: Parts, index: usize) -> Parts {
    [Parts::ITEMS, Parts::PAIRS, Parts::SETTER]
        .into_iter()
        .filter(|part| parts.has(*part))
        .nth(index)
        .unwrap_or(Parts::STATE)
}

/// `object[key] = value` for keys and values in turn.
fn set_pairs(object: Borrowed<'_, '_>, pairs: Borrowed<'_, '_>) -> Step<()> {
    let Exact::List(list) = Exact::of(pairs) else {
        return Err(Failure::structure("pairs are no list"));
    };
    let pairs = List::to_tuple(list)?;
    for pair in plans::items(pairs.borrow()).unwrap_or_default().chunks(2) {
        let &[key, value] = pair else {
            return Err(Failure::structure("a key has no value"));
        };
        object.set_item(key, value)?;
    }
    Ok(())
}
