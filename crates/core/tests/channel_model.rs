//! Every channel against a simple model: a deque with a capacity, a closed flag and a poison flag.
#![cfg(not(loom))]

use atoll_core::channel::{Batch, Capacity, Channel, RecvError, SendError};
use atoll_core::clock::Deadline;
use atoll_core::park::Wait;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;

#[derive(Clone, Debug)]
enum Step {
    Send,
    Recv,
    SendBatch(usize),
    RecvBatch(usize),
    Close,
    Poison,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Send),
        8 => Just(Step::Recv),
        4 => (0usize..200).prop_map(Step::SendBatch),
        4 => (0usize..200).prop_map(Step::RecvBatch),
        1 => Just(Step::Close),
        1 => Just(Step::Poison),
    ]
}

#[derive(Default)]
struct Model {
    inside: VecDeque<u64>,
    closed: bool,
    poisoned: bool,
    sent: u64,
    high_water: u64,
}

impl Model {
    fn send(&mut self, message: u64, capacity: usize) -> Result<(), SendError<u64>> {
        if self.poisoned {
            return Err(SendError::Poisoned(message));
        }
        if self.closed {
            return Err(SendError::Closed(message));
        }
        if self.inside.len() >= capacity {
            return Err(SendError::Full(message));
        }
        self.inside.push_back(message);
        self.sent += 1;
        self.high_water = self.high_water.max(self.inside.len() as u64);
        Ok(())
    }

    fn recv(&mut self) -> Result<u64, RecvError> {
        match self.inside.pop_front() {
            Some(message) => Ok(message),
            None if self.poisoned => Err(RecvError::Poisoned),
            None if self.closed => Err(RecvError::Closed),
            None => Err(RecvError::Empty),
        }
    }
}

fn check(capacity: Capacity, steps: Vec<Step>) {
    let channel = Channel::new(capacity);
    let room = match capacity {
        Capacity::Bounded(n) => n.get(),
        Capacity::Unbounded => usize::MAX,
        Capacity::Rendezvous => 0,
    };
    let mut model = Model::default();
    let mut next = 0u64;
    let now = Wait::until(Deadline::NOW);
    for step in steps {
        match step {
            Step::Send => {
                assert_eq!(channel.try_send(next), model.send(next, room));
                next += 1;
            }
            Step::Recv => assert_eq!(channel.try_recv(), model.recv()),
            Step::SendBatch(size) => {
                let mut messages: Vec<_> = (next..).take(size).map(ManuallyDrop::new).collect();
                // SAFETY: as many initialised messages as told; ManuallyDrop has the layout of its content,
                // and what is not taken needs no drop.
                let mut batch = unsafe { Batch::from_raw(messages.as_mut_ptr().cast(), size) };
                let result = channel.send_batch(&mut batch, &now);
                let mut expected = Ok(());
                let mut taken = 0;
                for message in (next..).take(size) {
                    if let Err(error) = model.send(message, room) {
                        expected = Err(error.reason());
                        break;
                    }
                    taken += 1;
                }
                assert_eq!(result, expected);
                assert_eq!(batch.taken(), taken);
                next += size as u64;
            }
            Step::RecvBatch(max) => {
                let mut got = Vec::new();
                let result = channel.recv_batch(max, &now, |message| got.push(message));
                let mut expected = Vec::new();
                let mut error = None;
                while expected.len() < max {
                    match model.recv() {
                        Ok(message) => expected.push(message),
                        Err(reason) => {
                            error = Some(reason);
                            break;
                        }
                    }
                }
                match (expected.len(), error) {
                    (0, Some(error)) if max > 0 => assert_eq!(result, Err(error)),
                    (count, _) => assert_eq!(result, Ok(count)),
                }
                assert_eq!(got, expected);
            }
            Step::Close => {
                assert_eq!(channel.close(), !model.closed);
                model.closed = true;
            }
            Step::Poison => {
                assert_eq!(channel.poison(b"reason"), !model.poisoned);
                model.poisoned = true;
                model.closed = true;
                model.inside.clear();
            }
        }
        assert_eq!(channel.len(), model.inside.len());
        assert_eq!(channel.is_closed(), model.closed);
        let counts = channel.counts();
        assert_eq!(counts.sent, model.sent);
        match capacity {
            Capacity::Bounded(_) => assert_eq!(counts.high_water, model.high_water),
            // Kept to a sixteenth.
            Capacity::Unbounded => assert!(
                (model.high_water - model.high_water / 16..=model.high_water)
                    .contains(&counts.high_water)
            ),
            Capacity::Rendezvous => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_bounded_channel_behaves_like_a_deque_with_a_capacity(
        capacity in 1usize..70,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        check(Capacity::Bounded(capacity.try_into().unwrap()), steps);
    }

    #[test]
    fn an_unbounded_channel_behaves_like_a_deque(steps in prop::collection::vec(step(), 0..80)) {
        check(Capacity::Unbounded, steps);
    }

    #[test]
    fn a_rendezvous_without_a_partner_refuses_everything(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        check(Capacity::Rendezvous, steps);
    }
}
