//! Reading one line from a descriptor, in a way that can be ended from outside.
//!
//! A read that blocks cannot be ended, so a thread of its own waits for the descriptor and for the bell of [`ctrl_c`] together;
//! whoever wants the line sleeps where all of Atoll's waits sleep. The thread lives as long as one line takes: a person's pace.

use super::ctrl_c;
use crate::park::{Wait, WaitQueue};
use crate::sync::{Mutex, lock};
use crate::waiting::{Unfinished, wait_for};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What came of waiting for a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A line with its end; without one at the end of the input; nothing after that.
    Text(Vec<u8>),
    /// Ctrl-C was pressed.
    Interrupted,
    /// It cannot be read, for the reason with this number.
    Failed(i32),
}

/// What the thread that reads and the one that wants the line share.
struct Reading {
    line: Mutex<Option<Line>>,
    changes: WaitQueue,
    given_up: AtomicBool,
}

pub(super) fn read(descriptor: i32, wait: &Wait<'_>) -> Result<Line, Unfinished> {
    let Some(bell) = ctrl_c::bell() else {
        return Ok(Line::Failed(libc::EMFILE));
    };
    let reading = Arc::new(Reading {
        line: Mutex::new(None),
        changes: WaitQueue::new(),
        given_up: AtomicBool::new(false),
    });
    let reader = thread::Builder::new()
        .name("atoll-terminal".to_owned())
        .spawn({
            let reading = reading.clone();
            move || {
                if let Some(line) = read_until_rung(descriptor, bell, &reading.given_up) {
                    *lock(&reading.line) = Some(line);
                    reading.changes.notify_all();
                }
            }
        });
    let Ok(reader) = reader else {
        return Ok(Line::Failed(libc::EAGAIN));
    };
    let waited = wait_for(&reading.changes, None, wait, || lock(&reading.line).take());
    if waited.is_err() {
        reading.given_up.store(true, Ordering::SeqCst);
        ctrl_c::ring();
    }
    // It is on its way home: it has a line, or was rung.
    let _ = reader.join();
    waited
}

/// `None`: whoever wanted the line has given up.
fn read_until_rung(descriptor: i32, bell: i32, given_up: &AtomicBool) -> Option<Line> {
    let mut line = Vec::new();
    loop {
        let poll = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut both = [poll(descriptor), poll(bell)];
        // SAFETY: two entries, which live during the call.
        if unsafe { libc::poll(both.as_mut_ptr(), 2, -1) } < 0 {
            match last_error() {
                libc::EINTR => continue,
                number => return Some(Line::Failed(number)),
            }
        }
        if both[1].revents != 0 {
            ctrl_c::quieten();
            if given_up.load(Ordering::SeqCst) {
                return None;
            }
            if ctrl_c::was_pressed() {
                return Some(Line::Interrupted);
            }
            continue;
        }
        let mut byte = 0_u8;
        // SAFETY: room for one byte.
        match unsafe { libc::read(descriptor, (&raw mut byte).cast(), 1) } {
            0 => return Some(Line::Text(line)),
            1 => line.push(byte),
            _ => match last_error() {
                libc::EINTR | libc::EAGAIN => {}
                number => return Some(Line::Failed(number)),
            },
        }
        if byte == b'\n' {
            return Some(Line::Text(line));
        }
    }
}

fn last_error() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Deadline;
    use crate::park::Interrupt;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    /// Stands for the turn: one thread at most reads.
    static TURN: Mutex<()> = Mutex::new(());

    #[test]
    fn lines_come_one_by_one_and_what_follows_stays_where_it_was() {
        let _turn = lock(&TURN);
        let (input, mut output) = io::pipe().unwrap();
        output.write_all(b"next\n\nprint").unwrap();
        drop(output);
        let line = || read(input.as_raw_fd(), &Wait::forever());
        assert_eq!(line(), Ok(Line::Text(b"next\n".to_vec())));
        assert_eq!(line(), Ok(Line::Text(b"\n".to_vec())));
        assert_eq!(line(), Ok(Line::Text(b"print".to_vec())));
        assert_eq!(line(), Ok(Line::Text(Vec::new())));
    }

    #[test]
    fn a_descriptor_that_cannot_be_read_says_why() {
        let _turn = lock(&TURN);
        let read = read(1_000_000, &Wait::forever());
        assert_eq!(read, Ok(Line::Failed(libc::EBADF)));
    }

    #[test]
    fn an_interrupted_wait_takes_nothing_from_the_next_one() {
        let _turn = lock(&TURN);
        let (input, mut output) = io::pipe().unwrap();
        let interrupt = Interrupt::new();
        interrupt.raise();
        let wait = Wait {
            deadline: Deadline::NEVER,
            interrupt: Some(&interrupt),
            bell: None,
        };
        assert_eq!(read(input.as_raw_fd(), &wait), Err(Unfinished::Interrupted));

        output.write_all(b"later\n").unwrap();
        let line = read(input.as_raw_fd(), &Wait::forever());
        assert_eq!(line, Ok(Line::Text(b"later\n".to_vec())));
    }
}
