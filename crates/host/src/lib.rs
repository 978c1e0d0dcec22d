//! Where Atoll's interpreters live: launching them, the threads that work in them, ending them.
//!
//! - [`inhabited`]: an interpreter and the threads of Atoll's in it, whatever kind of host it is.
//! - [`subinterpreter`]: the [`Driver`](atoll_core::client::Driver) that starts sub-interpreters.
//! - [`agent`]: what each of their threads does: take the next job, run it, report.
//! - [`cancel`]: throwing cancellations into running code.
//! - [`visit`]: entering a host for a moment, beside its own threads.
//! - [`driver`]: which of these serves a host.
//! - [`isolate`]: private copies of libpython, each in a linker namespace of its own.
//!
//! The engine (`atoll_core::hosts`) decides when a host starts, gets a thread, or ends; this crate does it. What the
//! threads execute is Python: `atoll._agent.serve()`, which asks the native module for jobs.

pub mod agent;
pub mod cancel;
pub mod driver;
mod fork;
pub mod inhabited;
pub mod isolate;
pub mod subinterpreter;
mod threads;
pub mod visit;
