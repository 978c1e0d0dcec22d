//! The table as another copy of the library sees it.

mod world;

use atoll_core::abi;
use atoll_core::client::{Engine, HostId, HostKind, HostState};
use std::io::Read;
use std::os::fd::AsRawFd;
use world::{World, ended, soon};

#[test]
fn another_copy_attaches_to_the_running_engine_and_sees_its_hosts() {
    let world = World::ready(2);
    let host = world.host(HostKind::Interpreter);
    // SAFETY: the table of an engine in this process.
    let other = unsafe { Engine::attach(world.engine.table()) }.unwrap();
    assert_eq!(other.host_state(host), HostState::Ready);
    assert_eq!(other.host_kind(HostId::MAIN), Some(HostKind::Main));
    other.close_host(host);
    world.engine.wait_host_ended(host, &soon()).unwrap();
    assert_eq!(other.host_state(host), HostState::Ended);
    ended(&world.spawn("value"));
}

#[test]
fn a_table_of_another_release_is_refused_with_both_versions() {
    let table = [abi::VERSION + 1, 0];
    // SAFETY: of a table with another version only that is read.
    let refused = unsafe { Engine::attach(table.as_ptr().cast()) };
    let error = refused.err().unwrap();
    assert_eq!((error.engine, error.own), (abi::VERSION + 1, abi::VERSION));
    assert_eq!(
        error.to_string(),
        format!(
            "cannot attach to the running engine (its table has version {}, this copy needs {}); \
             install the same release of atoll in both environments",
            abi::VERSION + 1,
            abi::VERSION
        )
    );
}

#[test]
fn text_goes_through_the_table_to_a_descriptor_in_whole() {
    let engine = Engine::start();
    let (mut reader, writer) = std::io::pipe().unwrap();
    engine.write_whole(writer.as_raw_fd(), b"a line\n").unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "a line\n");
    assert_eq!(engine.write_whole(-1, b"x"), Err(libc::EBADF));
}
