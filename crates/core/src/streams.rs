//! Writing to the descriptors that all interpreters of the process share, so that nobody's lines come between another's.

use crate::sync::{Mutex, lock};
use std::io;
use std::mem::MaybeUninit;

/// One lock for standard output, one for standard error if it leads elsewhere, one for all other descriptors.
pub(crate) struct Streams {
    locks: [Mutex<()>; 3],
    process: u32,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self {
            locks: Default::default(),
            process: std::process::id(),
        }
    }

    /// Writes all of *bytes*, waiting if the descriptor takes no more for now. The error is the system's number.
    pub(crate) fn write_whole(&self, descriptor: i32, bytes: &[u8]) -> Result<(), i32> {
        let which = match descriptor {
            libc::STDOUT_FILENO => 0,
            libc::STDERR_FILENO if is_same_file(libc::STDOUT_FILENO, libc::STDERR_FILENO) => 0,
            libc::STDERR_FILENO => 1,
            _ => 2,
        };
        // In a forked child a lock may be held by a thread that stayed with the parent.
        let is_fork = std::process::id() != self.process;
        let _guard = (!is_fork).then(|| lock(&self.locks[which]));
        let mut left = bytes;
        while !left.is_empty() {
            match write(descriptor, left) {
                Ok(written) => left = &left[written..],
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN) => wait_writable(descriptor)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether two descriptors lead to the same pipe, terminal or file. They may be redirected at any time.
fn is_same_file(one: i32, other: i32) -> bool {
    let identity = |descriptor| {
        let mut stat = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: room for the answer, which is there if the call succeeds.
        unsafe {
            (libc::fstat(descriptor, stat.as_mut_ptr()) == 0).then(|| {
                let stat = stat.assume_init();
                (stat.st_dev, stat.st_ino)
            })
        }
    };
    identity(one).is_some_and(|one| Some(one) == identity(other))
}

fn write(descriptor: i32, bytes: &[u8]) -> Result<usize, i32> {
    // SAFETY: the bytes are there during the call, which only reads them.
    let written = unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written).map_err(|_| last_error())
}

/// For a descriptor that somebody has set to fail where it would wait.
fn wait_writable(descriptor: i32) -> Result<(), i32> {
    let mut poll = libc::pollfd {
        fd: descriptor,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one entry, which lives during the call.
    match unsafe { libc::poll(&mut poll, 1, -1) } {
        -1 if last_error() != libc::EINTR => Err(last_error()),
        _ => Ok(()),
    }
}

fn last_error() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read};
    use std::os::fd::AsRawFd;

    #[test]
    fn two_ends_of_one_pipe_are_the_same_file_and_two_pipes_are_not() {
        let (_reader, one) = io::pipe().unwrap();
        let (_other_reader, other) = io::pipe().unwrap();
        let twin = one.try_clone().unwrap();
        assert!(is_same_file(one.as_raw_fd(), twin.as_raw_fd()));
        assert!(!is_same_file(one.as_raw_fd(), other.as_raw_fd()));
        assert!(!is_same_file(-1, -1));
    }

    #[test]
    fn lines_of_many_threads_through_a_full_pipe_stay_whole() {
        let (reader, writer) = io::pipe().unwrap();
        // SAFETY: sets a flag of a descriptor that is ours.
        unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        let streams = Streams::new();
        // Longer than a pipe writes at once, so that writes are cut and threads meet.
        let line = |letter: u8| [vec![letter; 30_000], b"\n".to_vec()].concat();
        let lines = std::thread::scope(|scope| {
            let (streams, writer) = (&streams, &writer);
            let writers: Vec<_> = (b'a'..b'e')
                .map(|letter| {
                    scope.spawn(move || {
                        for _ in 0..20 {
                            streams
                                .write_whole(writer.as_raw_fd(), &line(letter))
                                .unwrap();
                        }
                    })
                })
                .collect();
            let mut lines = BufReader::new(reader).lines();
            let got: Vec<_> = lines.by_ref().take(80).map(Result::unwrap).collect();
            for writer in writers {
                writer.join().unwrap();
            }
            got
        });
        for text in &lines {
            assert_eq!(text.len(), 30_000);
            let first = text.as_bytes()[0];
            assert!(text.bytes().all(|byte| byte == first));
        }
    }

    #[test]
    fn a_write_that_fails_says_why() {
        assert_eq!(Streams::new().write_whole(-1, b"x"), Err(libc::EBADF));
        let (mut reader, writer) = io::pipe().unwrap();
        assert_eq!(Streams::new().write_whole(writer.as_raw_fd(), b""), Ok(()));
        drop(writer);
        assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
    }
}
