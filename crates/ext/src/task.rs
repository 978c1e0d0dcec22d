//! Tasks as Python sees them: handing a function over (`submit`), the handle that waits for it, and the bytes of a function.

use std::sync::OnceLock;

use atoll_core::client::{
    self, Engine, HostId, HostKind, Placement, SubmitError, TaskOutcome, Unfinished,
};
use atoll_py::class::{Class, HeapClass, This};
use atoll_py::interpreter::prepare_main;
use atoll_py::method::{Getter, Method};
use atoll_py::module::Module;
use atoll_py::slots::Slots;
use atoll_py::types::Exact;
use atoll_py::{Arguments, Attached, Borrowed, Owned, Raised, Result, Signature, Stored};

use crate::blocking::{self, Attempt};
use crate::channel::{self, parameters};
use crate::job::Job;
use crate::module::ModuleState;
use crate::{clone, current, job};

/// The classes of this interpreter that have to do with tasks.
pub(crate) struct Classes {
    handle: HeapClass<TaskHandle>,
    region: HeapClass<Region>,
    pub(crate) job: HeapClass<Job>,
    arrival: Stored,
}

impl Classes {
    /// Makes the classes and puts them into the module.
    ///
    /// Needs: attached. May run Python: yes.
    pub(crate) fn build(
        module: Module<'_, '_, ModuleState>,
        cancellation: &Stored,
    ) -> Result<Classes> {
        let py = module.py();
        let classes = Classes {
            handle: HeapClass::build(module)?,
            region: HeapClass::build(module)?,
            job: HeapClass::build(module)?,
            arrival: job::build_arrival(module, cancellation.get(py))?.store(),
        };
        module.add(c"TaskHandle", classes.handle.get(py))?;
        module.add(c"Region", classes.region.get(py))?;
        module.add(c"Job", classes.job.get(py))?;
        module.add(c"CancellationArrives", classes.arrival.get(py))?;
        Ok(classes)
    }

    pub(crate) fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        let all = [
            self.handle.stored(),
            self.region.stored(),
            self.job.stored(),
            &self.arrival,
        ];
        all.into_iter().for_each(visit);
    }
}

/// Sets the exception for a refused task or host.
#[cold]
pub(crate) fn raise_refusal(py: Attached<'_>, state: &ModuleState, error: &SubmitError) -> Raised {
    let class = match error {
        SubmitError::Unavailable { .. } => &state.errors.host_unavailable,
        SubmitError::HostClosed(_) | SubmitError::NoSuchHost(_) | SubmitError::Forked => {
            &state.errors.atoll_error
        }
    };
    Raised::new(class.get(py), &error.to_string())
}

/// Refuses what needs a worker in a forked child, before any lock of the engine is touched: a thread that stayed with the
/// parent may hold it.
pub(crate) fn refuse_fork(py: Attached<'_>, state: &ModuleState) -> Result<()> {
    match state.engine().is_forked() {
        true => Err(raise_refusal(py, state, &SubmitError::Forked)),
        false => Ok(()),
    }
}

/// Reads a kind of host; `None` is `auto`. Refuses those that this release does not have.
pub(crate) fn kind_of(
    py: Attached<'_>,
    state: &ModuleState,
    kind: Borrowed<'_, '_>,
) -> Result<Option<HostKind>> {
    let kind = kind.utf8_lossy()?;
    match kind.as_str() {
        "auto" => Ok(None),
        "interpreter" => Ok(Some(HostKind::Interpreter)),
        "isolate" => Ok(Some(HostKind::Isolate)),
        "process" | "thread" => {
            let text = format!(
                "cannot start a {kind} (not in this release); use kind='isolate' or kind='interpreter'"
            );
            Err(Raised::new(state.errors.host_unavailable.get(py), &text))
        }
        _ => Err(py.raise_value_error(&format!(
            "cannot use a host of kind={kind:?} (there is no such kind); use 'auto', 'isolate' or 'interpreter'"
        ))),
    }
}

/// Tells the engine what the next host of the crew, if the task needs one, is to start with.
fn set_up(py: Attached<'_>, engine: Engine, placement: Placement) -> Result<()> {
    while let Some(kind) = engine.wants_setup(placement) {
        prepare_main(py)?;
        if kind == HostKind::Interpreter {
            if placement == Placement::Auto {
                py.import(c"atoll._environment")?
                    .borrow()
                    .call_method(c"say_crew_falls_back", &[])?;
            }
            engine.set_setup(kind, Some(&module_path(py)?), None);
            break;
        }
        let word = match placement {
            Placement::Auto => "auto",
            Placement::Crew(_) | Placement::On(_) => "isolate",
        };
        let environment = py
            .import(c"atoll._environment")?
            .borrow()
            .call_method(c"for_crew", &[py.string(word)?.borrow()])?;
        if let Exact::Bytes(packed) = Exact::of(environment.borrow()) {
            // The path is for an interpreter that takes the place of an isolate which does not start.
            engine.set_setup(kind, Some(&module_path(py)?), Some(packed.data()));
            break;
        }
        engine.refuse_isolates();
    }
    Ok(())
}

/// Reads an optional name.
pub(crate) fn name_of(name: Borrowed<'_, '_>) -> Result<Option<String>> {
    if name.is_none() {
        Ok(None)
    } else {
        name.utf8_lossy().map(Some)
    }
}

/// Reads the number of a host.
pub(crate) fn host_of(py: Attached<'_>, number: Borrowed<'_, '_>) -> Result<HostId> {
    match Exact::of(number) {
        Exact::Int(number) => Ok(HostId::from_raw(
            number
                .to_i64()
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or(0),
        )),
        _ => Err(
            py.raise_type_error("cannot find a host by that (it is no int); pass the id of a host")
        ),
    }
}

/// `sys.path` of this interpreter.
pub(crate) fn module_path(py: Attached<'_>) -> Result<Vec<String>> {
    let path = py.import(c"sys")?.borrow().attr(c"path")?;
    texts_of(path.borrow())
}

/// The texts in a list; what is no text is left out, as the import system does.
pub(crate) fn texts_of(list: Borrowed<'_, '_>) -> Result<Vec<String>> {
    let items = list.iter()?;
    let mut texts = Vec::new();
    while let Some(item) = items.borrow().next()? {
        if let Exact::Text(_) = Exact::of(item.borrow()) {
            texts.push(item.borrow().utf8_lossy()?);
        }
    }
    Ok(texts)
}

pub(crate) const SUBMIT_DOC: &std::ffi::CStr = c"Hand a function over to a host (None: a worker of the crew), and return the task's handle at once.";

/// `submit(host_id, kind, payload, function, name) -> TaskHandle`.
pub(crate) fn submit<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<5> = Signature {
        function: "submit",
        parameters: ["host_id", "kind", "payload", "function", "name"],
        required: 5,
        positional: 5,
    };
    let (py, state) = (module.py(), module.state()?);
    let [
        Some(host),
        Some(kind),
        Some(payload),
        Some(function),
        Some(name),
    ] = arguments.parse(py, &SIGNATURE)?
    else {
        unreachable!("all five are required")
    };
    refuse_fork(py, state)?;
    let kind = kind_of(py, state, kind)?;
    let engine = state.engine();
    let placement = match host.is_none() {
        true => kind.map_or(Placement::Auto, Placement::Crew),
        false => Placement::On(host_of(py, host)?),
    };
    set_up(py, engine, placement)?;
    let function = state
        .tasks
        .region
        .body_of(function)
        .map(|region| region.0.clone());
    let name = name_of(name)?;
    let payload = clone::encode_parts(
        py,
        state,
        payload,
        &["how", "target", "ends", "args", "kwargs"],
    )?;
    match engine.submit(placement, name.as_deref(), payload, function) {
        Ok(task) => state.tasks.handle.make(
            py,
            TaskHandle {
                task,
                outcome: OnceLock::new(),
            },
        ),
        Err(error) => Err(raise_refusal(py, state, &error)),
    }
}

pub(crate) const CURRENT_TASK_DOC: &std::ffi::CStr =
    c"The id, name and host of the task that runs on this thread, or None.";

/// `current_task() -> tuple[int, str | None, int] | None`.
pub(crate) fn current_task<'py>(
    module: Module<'_, 'py, ModuleState>,
    _: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let py = module.py();
    match current::task() {
        Some(task) => py.tuple([
            py.uint(task.id())?,
            optional_text(py, task.name())?,
            py.uint(task.host().to_raw())?,
        ]),
        None => Ok(py.none().to_owned()),
    }
}

fn optional_text(py: Attached<'_>, text: Option<String>) -> Result<Owned<'_>> {
    match text {
        Some(text) => py.string(&text),
        None => Ok(py.none().to_owned()),
    }
}

/// Waits for something of the engine's that may time out.
pub(crate) fn wait_for<T: Send>(
    py: Attached<'_>,
    state: &ModuleState,
    timeout: Option<Borrowed<'_, '_>>,
    mut attempt: impl FnMut(&client::Wait<'_>) -> std::result::Result<T, Unfinished> + Send,
) -> Result<Option<T>> {
    let deadline = parameters::deadline(py, timeout)?;
    blocking::wait(py, state, deadline, |wait| match attempt(wait) {
        Ok(done) => Attempt::Done(Some(done)),
        Err(Unfinished::TimedOut) => Attempt::Done(None),
        Err(Unfinished::Interrupted) => Attempt::Interrupted,
    })
}

/// What a spawner holds of its task.
pub(crate) struct TaskHandle {
    task: client::Task,
    /// What `outcome()` gave: a message is decoded once, since channel ends move out of it.
    outcome: OnceLock<Stored>,
}

type ThisHandle<'a, 'py> = This<'a, 'py, TaskHandle>;

impl TaskHandle {
    fn id<'py>(this: ThisHandle<'_, 'py>) -> Result<Owned<'py>> {
        this.py().uint(this.task.id())
    }

    fn name<'py>(this: ThisHandle<'_, 'py>) -> Result<Owned<'py>> {
        optional_text(this.py(), this.task.name())
    }

    fn host_id<'py>(this: ThisHandle<'_, 'py>) -> Result<Owned<'py>> {
        this.py().uint(this.task.host().to_raw())
    }

    fn done<'py>(this: ThisHandle<'_, 'py>) -> Result<Owned<'py>> {
        let py = this.py();
        refuse_fork(py, this.state()?)?;
        Ok(py.bool(this.task.is_ended()).to_owned())
    }

    fn wait<'py>(this: ThisHandle<'_, 'py>, arguments: Arguments<'_, 'py>) -> Result<Owned<'py>> {
        const SIGNATURE: Signature<1> = Signature {
            function: "wait",
            parameters: ["timeout"],
            required: 0,
            positional: 1,
        };
        let (py, state) = (this.py(), this.state()?);
        let [timeout] = arguments.parse(py, &SIGNATURE)?;
        refuse_fork(py, state)?;
        // A bad timeout is an error even where there is nothing to wait for.
        parameters::deadline(py, timeout)?;
        let task = &this.body().task;
        let ended =
            task.is_ended() || wait_for(py, state, timeout, |wait| task.wait(wait))?.is_some();
        Ok(py.bool(ended).to_owned())
    }

    fn cancel<'py>(this: ThisHandle<'_, 'py>, wait: Borrowed<'_, 'py>) -> Result<Owned<'py>> {
        let (py, state) = (this.py(), this.state()?);
        refuse_fork(py, state)?;
        let task = &this.body().task;
        // Starts a thread, which should not wait for this one's GIL.
        py.detach(|| task.cancel());
        let delivered = wait_for(py, state, Some(wait), |wait| task.wait_cancelled(wait))?;
        Ok(py.bool(delivered.is_some()).to_owned())
    }

    fn notify<'py>(this: ThisHandle<'_, 'py>, arguments: Arguments<'_, 'py>) -> Result<Owned<'py>> {
        const SIGNATURE: Signature<2> = Signature {
            function: "notify",
            parameters: ["end", "token"],
            required: 2,
            positional: 2,
        };
        let (py, state) = (this.py(), this.state()?);
        let [Some(end), Some(token)] = arguments.parse(py, &SIGNATURE)? else {
            unreachable!("both are required")
        };
        refuse_fork(py, state)?;
        let message = clone::encode(py, state, token, "token")?;
        let Some(end) = channel::end_of(state, end).filter(|end| end.role().can_send()) else {
            return Err(py.raise_type_error(
                "cannot notify that (it is no open channel to send to); pass a Sender",
            ));
        };
        this.task
            .notify(end.share(client::Role::Sender, state.host()), message);
        Ok(py.none().to_owned())
    }

    fn outcome<'py>(this: ThisHandle<'_, 'py>) -> Result<Owned<'py>> {
        let (py, state) = (this.py(), this.state()?);
        if let Some(outcome) = this.body().outcome.get() {
            return Ok(outcome.get(py).to_owned());
        }
        refuse_fork(py, state)?;
        let Some(outcome) = this.task.take_outcome() else {
            let text = "cannot read the outcome of a task that still runs (it has none yet); wait() for it first";
            return Err(Raised::new(state.errors.atoll_error.get(py), text));
        };
        let (kind, value) = match outcome {
            TaskOutcome::Value(message) => ("ok", clone::decode(py, state, message)?),
            TaskOutcome::Error(message) => ("error", py.bytes(message.bytes())?),
            TaskOutcome::Cancelled => ("cancelled", py.none().to_owned()),
            TaskOutcome::Died(text) => ("died", py.string(&text)?),
            TaskOutcome::Unavailable(text) => ("unavailable", py.string(&text)?),
        };
        let outcome = py.tuple([py.string(kind)?, value])?;
        let _ = this.body().outcome.set(outcome.clone().store());
        Ok(outcome)
    }

    fn repr<'py>(this: ThisHandle<'_, 'py>) -> Result<Owned<'py>> {
        this.py().string(&format!(
            "<TaskHandle {} on host {}>",
            this.task.id(),
            this.task.host().to_raw()
        ))
    }
}

impl Class for TaskHandle {
    type State = ModuleState;
    const NAME: &'static std::ffi::CStr = c"atoll._native.TaskHandle";
    const DOC: &'static std::ffi::CStr = c"What a spawner holds of its task.";
    const METHODS: &'static [Method<Self>] = &[
        Method::without(c"done", c"Whether the task is over.", Self::done),
        Method::new(c"wait", c"Wait until the task is over; False after *timeout* seconds.", Self::wait),
        Method::without(
            c"outcome",
            c"How the task ended: (ok, value), (error, bytes), (cancelled, None), (died, text) or (unavailable, text).",
            Self::outcome,
        ),
        Method::with_one(
            c"cancel",
            c"Ask the task to end. True if it ended, or its code noticed, within the given seconds.",
            Self::cancel,
        ),
        Method::new(c"notify", c"Have the number *token* sent to *end* when the task is over.", Self::notify),
        Method::END,
    ];
    const GETTERS: &'static [Getter<Self>] = &[
        Getter::new(
            c"id",
            c"The task's number, unique in the process.",
            Self::id,
        ),
        Getter::new(
            c"name",
            c"The name that its spawner gave it, or None.",
            Self::name,
        ),
        Getter::new(
            c"host_id",
            c"The number of the host it runs on.",
            Self::host_id,
        ),
        Getter::END,
    ];
    const HOLDS_OBJECTS: bool = true;

    fn slots(slots: Slots<Self>) -> Slots<Self> {
        slots.repr(Self::repr)
    }

    fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        self.outcome.get().into_iter().for_each(visit);
    }
}

/// Bytes that interpreters share by reference: the pickle of a function.
pub(crate) struct Region(client::Region);

impl Region {
    fn construct<'py>(
        py: Attached<'py>,
        _state: &ModuleState,
        arguments: Arguments<'_, 'py>,
    ) -> Result<Region> {
        const SIGNATURE: Signature<1> = Signature {
            function: "Region",
            parameters: ["blob"],
            required: 1,
            positional: 1,
        };
        match arguments.parse(py, &SIGNATURE)? {
            [Some(blob)] if matches!(Exact::of(blob), Exact::Bytes(_)) => {
                let Exact::Bytes(blob) = Exact::of(blob) else {
                    unreachable!("just seen")
                };
                Ok(Region(client::Region::from_vec(blob.data().to_vec())))
            }
            _ => {
                Err(py
                    .raise_type_error("cannot make a Region of that (it is no bytes); pass bytes"))
            }
        }
    }

    fn bytes<'py>(this: This<'_, 'py, Region>) -> Result<Owned<'py>> {
        this.py().bytes(this.0.bytes())
    }
}

impl Class for Region {
    type State = ModuleState;
    const NAME: &'static std::ffi::CStr = c"atoll._native.Region";
    const DOC: &'static std::ffi::CStr = c"Bytes that several interpreters share by reference.";
    const METHODS: &'static [Method<Self>] = &[
        Method::without(c"bytes", c"A copy of the bytes.", Self::bytes),
        Method::END,
    ];

    fn slots(slots: Slots<Self>) -> Slots<Self> {
        slots.construct(Self::construct)
    }
}
