//! The agent's side: the next job, running it under the eyes of its canceller, and how it ended.
//!
//! # Cancellation
//!
//! A cancelled task is reached on two ways, and hears of it once: its blocked verbs are interrupted and raise
//! `atoll.Cancellation` themselves ([`crate::blocking`]), or the exception is thrown at its thread and arrives at the next
//! bytecode. What is thrown is the class [`build_arrival`] makes: Python instantiates it at the moment of arrival, which
//! tells the engine that the task has noticed, and gives a plain `atoll.Cancellation`. [`Job::run`] is the boundary: an
//! exception that was thrown but has not arrived when the function ends is withdrawn before any other bytecode runs.

use std::ffi::{CStr, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use atoll_core::client::{self, Message, Poisoner, TaskOutcome};
use atoll_host::{agent, cancel};
use atoll_py::class::{Class, This};
use atoll_py::interpreter::{thread_ident, throw_into};
use atoll_py::method::{Getter, Method};
use atoll_py::module::Module;
use atoll_py::types::Exact;
use atoll_py::{Arguments, Attached, Borrowed, Owned, Raised, Result, Signature, ffi};

use crate::asyncio;
use crate::clone;
use crate::current::{self, Current};
use crate::module::ModuleState;

pub(crate) const NEXT_JOB_DOC: &CStr =
    c"The next job of this thread's host, waiting for one; None: go home.";

/// `next_job() -> Job | None`.
pub(crate) fn next_job<'py>(
    module: Module<'_, 'py, ModuleState>,
    _: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let (py, state) = (module.py(), module.state()?);
    let Some(next) = agent::next_job(py) else {
        return Err(py.raise_runtime_error(
            "cannot take a job (this thread is no worker's); use atoll.spawn",
        ));
    };
    let Some(job) = next else {
        return Ok(py.none().to_owned());
    };
    let idle = current::get().map(|current| Current::clone(&current));
    let task = job.task();
    current::set(Some(Current {
        interrupt: task.interrupt(),
        task: Some(task.clone()),
    }));
    let body = Job {
        task,
        idle,
        work: Mutex::new(Work {
            job,
            departed: false,
            watch: None,
            poisoners: Vec::new(),
        }),
    };
    state.tasks.job.make(py, body)
}

pub(crate) const SHIELDED_DOC: &CStr =
    c"Call fn(*args); a cancellation of this thread's task that comes meanwhile is raised after it, unless fn waits.";

/// `shielded(fn, *args)`.
pub(crate) fn shielded<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let (py, state) = (module.py(), module.state()?);
    let given: Vec<_> = arguments.by_position().collect();
    let Some((function, rest)) = given.split_first() else {
        return Err(py.raise_type_error("cannot shield nothing (no function was given); pass one"));
    };
    let Some(task) = current::task() else {
        return function.call(rest);
    };
    if task.suspend_code() {
        // SAFETY: null withdraws what is pending.
        unsafe { throw_into(py, thread_ident(), std::ptr::null_mut()) };
    }
    let result = function.call(rest);
    if task.resume_code() {
        return result;
    }
    // Whatever came of it: the task is to end.
    drop(result.map_err(|raised| raised.clear(py)));
    Err(Raised::new(
        state.errors.cancellation.get(py),
        "the task was cancelled",
    ))
}

/// A job in the hands of this thread, or of an event loop.
pub(crate) struct Job {
    task: client::Task,
    /// Where the thread is when it has no job.
    idle: Option<Current>,
    work: Mutex<Work>,
}

struct Work {
    job: client::Job,
    /// Whether it has left the thread that took it, for an event loop.
    departed: bool,
    /// Tells that event loop of a cancellation.
    watch: Option<client::Watch>,
    /// The channels of all ends that came with the payload.
    poisoners: Vec<Poisoner>,
}

type ThisJob<'a, 'py> = This<'a, 'py, Job>;

impl Job {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id<'py>(this: ThisJob<'_, 'py>) -> Result<Owned<'py>> {
        this.py().uint(this.task.id())
    }

    fn name<'py>(this: ThisJob<'_, 'py>) -> Result<Owned<'py>> {
        match this.task.name() {
            Some(name) => this.py().string(&name),
            None => Ok(this.py().none().to_owned()),
        }
    }

    fn payload<'py>(this: ThisJob<'_, 'py>) -> Result<Owned<'py>> {
        let payload = {
            let mut work = this.body().work();
            let payload = work.job.take_payload();
            work.poisoners
                .extend(payload.ends().iter().map(Poisoner::of));
            payload
        };
        clone::decode(this.py(), this.state()?, payload)
    }

    fn is_cancelled<'py>(this: ThisJob<'_, 'py>) -> Result<Owned<'py>> {
        Ok(this.py().bool(this.task.is_cancelled()).to_owned())
    }

    fn function<'py>(this: ThisJob<'_, 'py>) -> Result<Owned<'py>> {
        let function = this.body().work().job.function();
        match function {
            Some(region) => this.py().bytes(region.bytes()),
            None => Ok(this.py().none().to_owned()),
        }
    }

    /// Calls the function where a cancellation may be thrown at it, and nowhere else.
    fn run<'py>(this: ThisJob<'_, 'py>, arguments: Arguments<'_, 'py>) -> Result<Owned<'py>> {
        const SIGNATURE: Signature<3> = Signature {
            function: "run",
            parameters: ["fn", "args", "kwargs"],
            required: 3,
            positional: 3,
        };
        let py = this.py();
        let [Some(function), Some(args), Some(kwargs)] = arguments.parse(py, &SIGNATURE)? else {
            unreachable!("all three are required")
        };
        if !this.task.enter_code() {
            return Err(Raised::new(
                this.state()?.errors.cancellation.get(py),
                "the task was cancelled",
            ));
        }
        // SAFETY: attached, live objects; Python checks that they are a tuple and a dict.
        let result =
            unsafe { ffi::PyObject_Call(function.as_ptr(), args.as_ptr(), kwargs.as_ptr()) };
        if this.task.leave_code() {
            // SAFETY: null withdraws what is pending.
            unsafe { throw_into(py, thread_ident(), std::ptr::null_mut()) };
        }
        // SAFETY: the result of the call above; withdrawing leaves a raised exception alone.
        unsafe { Owned::from_result(py, result) }
    }

    fn succeed<'py>(this: ThisJob<'_, 'py>, value: Borrowed<'_, 'py>) -> Result<Owned<'py>> {
        let message = clone::encode(this.py(), this.state()?, value, "result")?;
        Ok(Job::finish(this, TaskOutcome::Value(message)))
    }

    fn fail<'py>(this: ThisJob<'_, 'py>, blob: Borrowed<'_, 'py>) -> Result<Owned<'py>> {
        let Exact::Bytes(blob) = Exact::of(blob) else {
            return Err(this
                .py()
                .raise_type_error("cannot fail with that (it is no bytes); pass bytes"));
        };
        let message = Message::copied(blob.data(), Vec::new());
        Ok(Job::finish(this, TaskOutcome::Error(message)))
    }

    fn cancelled<'py>(this: ThisJob<'_, 'py>) -> Result<Owned<'py>> {
        Ok(Job::finish(this, TaskOutcome::Cancelled))
    }

    /// Poisons every channel of which the task was given an end.
    fn poison_ends<'py>(this: ThisJob<'_, 'py>, reason: Borrowed<'_, 'py>) -> Result<Owned<'py>> {
        let reason = clone::encode_for_many(this.py(), this.state()?, reason, "reason")?;
        let poisoners = std::mem::take(&mut this.body().work().poisoners);
        for poisoner in poisoners {
            poisoner.poison(reason.bytes());
        }
        Ok(this.py().none().to_owned())
    }

    /// The job goes to an event loop, and this thread on to its next job.
    fn depart<'py>(this: ThisJob<'_, 'py>) -> Result<Owned<'py>> {
        let mut work = this.body().work();
        work.job.depart();
        work.departed = true;
        drop(work);
        current::set(this.body().idle.clone());
        Ok(this.py().none().to_owned())
    }

    /// Has the number rung when the task is cancelled; at once if it is, and once for each request.
    fn watch<'py>(this: ThisJob<'_, 'py>, arguments: Arguments<'_, 'py>) -> Result<Owned<'py>> {
        const SIGNATURE: Signature<2> = Signature {
            function: "watch",
            parameters: ["chime", "number"],
            required: 2,
            positional: 2,
        };
        let (py, state) = (this.py(), this.state()?);
        let [Some(chime), Some(number)] = arguments.parse(py, &SIGNATURE)? else {
            unreachable!("both are required")
        };
        let chime = state.asyncio.chime_in(py, chime)?;
        let number = asyncio::number_of(py, number)?;
        let watch = chime.watch(&this.task.interrupt(), number);
        let before = this.body().work().watch.replace(watch);
        drop(before);
        Ok(py.none().to_owned())
    }

    /// The event loop passes the cancellation on. A later request counts anew: `watch` again after this.
    fn notice_cancellation<'py>(this: ThisJob<'_, 'py>) -> Result<Owned<'py>> {
        this.task.interrupt().clear();
        // Nothing is thrown at a task outside of `run`, so there is nothing to withdraw.
        let _ = this.task.claim_cancellation();
        Ok(this.py().none().to_owned())
    }

    fn finish<'py>(this: ThisJob<'_, 'py>, outcome: TaskOutcome) -> Owned<'py> {
        let departed = {
            let mut work = this.body().work();
            work.watch = None;
            work.job.finish(outcome);
            work.departed
        };
        if !departed {
            current::set(this.body().idle.clone());
        }
        this.py().none().to_owned()
    }
}

impl Class for Job {
    type State = ModuleState;
    const NAME: &'static CStr = c"atoll._native.Job";
    const DOC: &'static CStr =
        c"A task in the hands of the thread that runs it. Dropped unfinished, the task has died.";
    const METHODS: &'static [Method<Self>] = &[
        Method::without(
            c"payload",
            c"What to call and with what, once.",
            Self::payload,
        ),
        Method::without(
            c"function",
            c"The pickle of the function, or None.",
            Self::function,
        ),
        Method::new(
            c"run",
            c"Call fn(*args, **kwargs); a cancellation is raised inside of it and nowhere else.",
            Self::run,
        ),
        Method::without(
            c"is_cancelled",
            c"Whether somebody asked for the task's end.",
            Self::is_cancelled,
        ),
        Method::without(
            c"depart",
            c"The job goes to an event loop, and this thread on to its next job.",
            Self::depart,
        ),
        Method::new(
            c"watch",
            c"Have *number* rung on *chime* when the task is cancelled.",
            Self::watch,
        ),
        Method::without(
            c"notice_cancellation",
            c"The cancellation has reached the task's code; then watch() for the next.",
            Self::notice_cancellation,
        ),
        Method::with_one(
            c"succeed",
            c"The task returned this value. CloneError if it cannot be sent.",
            Self::succeed,
        ),
        Method::with_one(
            c"fail",
            c"The task raised what these bytes describe.",
            Self::fail,
        ),
        Method::without(
            c"cancelled",
            c"The task ended by its cancellation.",
            Self::cancelled,
        ),
        Method::with_one(
            c"poison_ends",
            c"Poison every channel of which the task was given an end.",
            Self::poison_ends,
        ),
        Method::END,
    ];
    const GETTERS: &'static [Getter<Self>] = &[
        Getter::new(c"id", c"The task's number.", Self::id),
        Getter::new(c"name", c"The task's name, or None.", Self::name),
        Getter::END,
    ];
}

/// The class that is thrown at a cancelled task's thread; see the module's documentation.
///
/// Returns: owned. Needs: attached. May run Python: yes.
pub(crate) fn build_arrival<'py>(
    module: Module<'_, 'py, ModuleState>,
    cancellation: Borrowed<'_, 'py>,
) -> Result<Owned<'py>> {
    let mut slots = [
        ffi::PyType_Slot {
            slot: ffi::Py_tp_new,
            pfunc: arrive as *mut c_void,
        },
        ffi::PyType_Slot {
            slot: 0,
            pfunc: std::ptr::null_mut(),
        },
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"atoll._native.CancellationArrives".as_ptr(),
        basicsize: 0,
        itemsize: 0,
        flags: u32::try_from(ffi::Py_TPFLAGS_DEFAULT).expect("type flags fit 32 bits"),
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: attached; Python copies the slots; the base is an exception class, whose layout the new one takes over.
    unsafe {
        let class = ffi::PyType_FromModuleAndSpec(
            module.object().as_ptr(),
            &mut spec,
            cancellation.as_ptr(),
        );
        Owned::from_result(module.py(), class)
    }
}

unsafe extern "C" fn arrive(
    class: *mut ffi::PyTypeObject,
    _arguments: *mut ffi::PyObject,
    _keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls this attached.
    let py: Attached<'_> = unsafe { Attached::assume() };
    let in_vain = cancel::arrived_in_vain(py).unwrap_or_else(|raised| {
        raised.clear(py);
        false
    });
    if let Some(task) = current::task() {
        if in_vain {
            task.arrived_in_vain();
        } else {
            // What it says of a pending exception is this very one.
            let _ = task.claim_cancellation();
        }
    }
    // SAFETY: the class was built with `atoll.Cancellation` as its base, which it keeps alive.
    let cancellation = unsafe { Borrowed::from_ptr(py, (*class).tp_base.cast()) };
    let made = py
        .string("the task was cancelled")
        .and_then(|text| cancellation.call(&[text.borrow()]));
    made.map_or(std::ptr::null_mut(), Owned::into_ptr)
}
