//! The concurrent engine of Atoll: channels, parking, select, tasks. No Python in it.
//!
//! - [`channel`]: FIFOs for many senders and receivers: bounded, unbounded, or hand to hand.
//! - [`mod@select`]: waiting for the first of several operations.
//! - [`park`]: the one place where a thread sleeps, and what may wake it.
//! - [`message`]: what travels. [`region`]: bytes that many may read.
//! - `hosts`, `host`, [`jobs`]: where tasks run, the life of each place, and which of its threads takes the next job. `driver`:
//!   what they need from the layer that knows the language.
//! - [`abi`]: the engine as a table of C functions; [`client`]: the safe face of that table, which is all
//!   that the glue between Python and the engine uses.
//!
//! ```
//! use atoll_core::channel::{Capacity, Channel, RecvError};
//! use atoll_core::park::Wait;
//! use std::sync::Arc;
//!
//! let channel = Arc::new(Channel::new(Capacity::Bounded(8.try_into().unwrap())));
//! let sender = channel.clone();
//! std::thread::spawn(move || {
//!     for number in 1..=3 {
//!         sender.send(number, &Wait::forever()).unwrap();
//!     }
//!     sender.close();
//! });
//! let mut total = 0;
//! while let Ok(number) = channel.recv(&Wait::forever()) {
//!     total += number;
//! }
//! assert_eq!(total, 6);
//! assert_eq!(channel.try_recv(), Err(RecvError::Closed));
//! ```

pub mod channel;
pub mod clock;
pub mod jobs;
pub mod park;
pub mod select;
pub mod stats;
mod sync;
mod waiting;

// The engine and its table count by std's atomics: loom models look at the modules above.
#[cfg(not(loom))]
pub mod abi;
#[cfg(not(loom))]
pub mod client;
#[cfg(not(loom))]
mod crew;
#[cfg(not(loom))]
pub mod driver;
#[cfg(not(loom))]
mod engine;
#[cfg(not(loom))]
pub mod host;
#[cfg(not(loom))]
pub mod hosts;
#[cfg(not(loom))]
pub mod message;
#[cfg(not(loom))]
mod pages;
#[cfg(not(loom))]
mod pool;
#[cfg(not(loom))]
pub mod region;
#[cfg(not(loom))]
mod streams;
#[cfg(not(loom))]
pub mod task;
#[cfg(not(loom))]
mod terminal;
