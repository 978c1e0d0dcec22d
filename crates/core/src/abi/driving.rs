//! The table's functions for the threads that work in hosts, whichever copy of the library they belong to.

use crate::abi::hosts::{RawBytes, hosts_of, status_of};
use crate::abi::tasks::RawJob;
use crate::abi::{RawWait, Status, channels};
use crate::client::HostId;
use crate::host::{Agent, AgentRole, HostState, Visit};
use crate::hosts::Hosts;
use std::ffi::c_void;

/// The agent of the thread that asks.
pub(crate) type RawAgent = *mut c_void;
/// Somebody's stay in a host.
pub(crate) type RawVisit = *mut c_void;

/// What an interpreter's owner, its other threads and its visitors report and ask.
#[repr(C)]
pub(crate) struct DrivingTable {
    pub(crate) ready: unsafe extern "C" fn(*const Hosts, u64) -> bool,
    pub(crate) state: unsafe extern "C" fn(*const Hosts, u64) -> HostState,
    pub(crate) kind: unsafe extern "C" fn(*const Hosts, u64) -> u32,
    pub(crate) wait_alone: unsafe extern "C" fn(*const Hosts, u64, *const RawWait) -> Status,
    pub(crate) ended: unsafe extern "C" fn(*const Hosts, u64, RawBytes),
    pub(crate) visit: unsafe extern "C" fn(*const Hosts, u64) -> RawVisit,
    pub(crate) leave: unsafe extern "C" fn(RawVisit),
    pub(crate) enter: unsafe extern "C" fn(*const Hosts, u64, AgentRole) -> RawAgent,
    pub(crate) agent_host: unsafe extern "C" fn(RawAgent) -> u64,
    pub(crate) next_job: unsafe extern "C" fn(RawAgent, u64) -> RawJob,
    pub(crate) agent_release: unsafe extern "C" fn(RawAgent),
}

pub(super) const TABLE: DrivingTable = DrivingTable {
    ready,
    state,
    kind,
    wait_alone,
    ended,
    visit,
    leave,
    enter,
    agent_host,
    next_job,
    agent_release,
};

// The functions below share the contract of `abi::hosts` (B1–B5). A visit is used as an agent is (B3).

unsafe extern "C" fn ready(hosts: *const Hosts, host: u64) -> bool {
    // SAFETY: B1.
    let found = unsafe { hosts_of(hosts) }.find(HostId::from_raw(host));
    found.is_some_and(|host| host.ready())
}

unsafe extern "C" fn state(hosts: *const Hosts, host: u64) -> HostState {
    // SAFETY: B1.
    let found = unsafe { hosts_of(hosts) }.find(HostId::from_raw(host));
    found.map_or(HostState::Ended, |host| host.state())
}

/// `NO_KIND`: there is no such host.
unsafe extern "C" fn kind(hosts: *const Hosts, host: u64) -> u32 {
    // SAFETY: B1.
    let found = unsafe { hosts_of(hosts) }.find(HostId::from_raw(host));
    found.map_or(crate::abi::hosts::NO_KIND, |host| host.kind() as u32)
}

unsafe extern "C" fn wait_alone(hosts: *const Hosts, host: u64, wait: *const RawWait) -> Status {
    // SAFETY: B1 and B4.
    let (hosts, wait) = unsafe { (hosts_of(hosts), channels::wait(wait)) };
    let found = hosts.find(HostId::from_raw(host));
    status_of(found.map_or(Ok(()), |host| host.wait_alone(&wait)))
}

/// No reason: it has ended as it was meant to.
unsafe extern "C" fn ended(hosts: *const Hosts, host: u64, reason: RawBytes) {
    // SAFETY: B1 and B4.
    let (hosts, reason) = unsafe { (hosts_of(hosts), reason.text()) };
    if let Some(host) = hosts.find(HostId::from_raw(host)) {
        host.ended(reason);
    }
}

/// Null: it is too late, or too early.
unsafe extern "C" fn visit(hosts: *const Hosts, host: u64) -> RawVisit {
    // SAFETY: B1.
    let found = unsafe { hosts_of(hosts) }.find(HostId::from_raw(host));
    let visit = found.and_then(|host| host.visit());
    visit.map_or(std::ptr::null_mut(), |visit| {
        Box::into_raw(Box::new(visit)).cast()
    })
}

unsafe extern "C" fn leave(visit: RawVisit) {
    // SAFETY: B3: made by Box, and the caller gives it up.
    drop(unsafe { Box::from_raw(visit.cast::<Visit>()) });
}

/// Null: there is no such host.
unsafe extern "C" fn enter(hosts: *const Hosts, host: u64, role: AgentRole) -> RawAgent {
    // SAFETY: B1.
    let found = unsafe { hosts_of(hosts) }.find(HostId::from_raw(host));
    found.map_or(std::ptr::null_mut(), |host| {
        Box::into_raw(Box::new(Agent::new(host, role))).cast()
    })
}

/// Null: go home.
unsafe extern "C" fn next_job(agent: RawAgent, thread: u64) -> RawJob {
    // SAFETY: B3.
    let agent = unsafe { &mut *agent.cast::<Agent>() };
    agent.next_job(thread).map_or(std::ptr::null_mut(), |job| {
        Box::into_raw(Box::new(job)).cast()
    })
}

unsafe extern "C" fn agent_host(agent: RawAgent) -> u64 {
    // SAFETY: B3.
    unsafe { &*agent.cast::<Agent>() }.host().id().to_raw()
}

unsafe extern "C" fn agent_release(agent: RawAgent) {
    // SAFETY: B3: made by Box, and the caller gives it up.
    drop(unsafe { Box::from_raw(agent.cast::<Agent>()) });
}
