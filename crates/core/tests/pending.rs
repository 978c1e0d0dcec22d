//! Waits without a thread, as the glue of an event loop uses them: through the table.

use atoll_core::client::{
    Begun, Capacity, Case, Chime, Engine, HostId, Interrupt, Message, Op, Outcome, Pending,
};

fn message(byte: u8) -> Message {
    Message::copied(&[byte], Vec::new())
}

fn receive(end: &atoll_core::client::End) -> Vec<Case<'_>> {
    vec![Case { end, op: Op::Recv }]
}

fn waits(begun: Begun) -> Pending {
    match begun {
        Begun::Waits(pending) => pending,
        Begun::Chosen(selected) => panic!("{selected:?} was ready"),
    }
}

fn received(begun: Begun) -> Vec<u8> {
    match begun {
        Begun::Chosen(selected) => match selected.outcome {
            Outcome::Received(message) => message.bytes().to_vec(),
            outcome => panic!("{outcome:?}"),
        },
        Begun::Waits(_) => panic!("it waits"),
    }
}

fn rung(chime: &Chime) -> Vec<u64> {
    let mut room = [0; 8];
    let taken = chime.take(&mut room);
    room[..taken].to_vec()
}

#[test]
fn a_message_rings_the_chime_with_the_number_of_the_wait_that_may_have_it() {
    let engine = Engine::start();
    let chime = Chime::new(engine).unwrap();
    let quiet = engine.channel(Capacity::Unbounded, HostId::MAIN);
    let end = engine.channel(Capacity::Unbounded, HostId::MAIN);
    let first = waits(chime.begin(1, receive(&quiet)));
    let second = waits(chime.begin(2, receive(&end)));
    assert_eq!(rung(&chime), []);
    end.try_send(message(7)).unwrap();
    assert_eq!(rung(&chime), [2]);
    assert_eq!(received(second.finish()), [7]);
    assert!(first.cancel().is_none());
    assert_eq!(quiet.stats().counts.blocked_receivers, 0);
}

#[test]
fn what_is_ready_is_done_at_once_and_rings_nothing() {
    let engine = Engine::start();
    let chime = Chime::new(engine).unwrap();
    let end = engine.channel(Capacity::Unbounded, HostId::MAIN);
    let send = vec![Case {
        end: &end,
        op: Op::Send(message(1)),
    }];
    assert!(matches!(chime.begin(1, send), Begun::Chosen(_)));
    assert_eq!(received(chime.begin(2, receive(&end))), [1]);
    assert_eq!(rung(&chime), []);
}

#[test]
fn a_wait_whose_message_went_to_somebody_else_waits_on_under_its_number() {
    let engine = Engine::start();
    let chime = Chime::new(engine).unwrap();
    let end = engine.channel(Capacity::Unbounded, HostId::MAIN);
    let pending = waits(chime.begin(5, receive(&end)));
    end.try_send(message(1)).unwrap();
    end.try_recv().unwrap();
    assert_eq!(rung(&chime), [5]);
    let pending = waits(pending.finish());
    end.try_send(message(2)).unwrap();
    assert_eq!(rung(&chime), [5]);
    assert_eq!(received(pending.finish()), [2]);
}

#[test]
fn a_cancelled_wait_has_taken_nothing_but_what_a_rendezvous_handed_over() {
    let engine = Engine::start();
    let chime = Chime::new(engine).unwrap();
    let buffered = engine.channel(Capacity::Unbounded, HostId::MAIN);
    let pending = waits(chime.begin(1, receive(&buffered)));
    buffered.try_send(message(1)).unwrap();
    assert!(pending.cancel().is_none());
    assert_eq!(buffered.len(), 1);
    let direct = engine.channel(Capacity::Rendezvous, HostId::MAIN);
    let pending = waits(chime.begin(2, receive(&direct)));
    direct.try_send(message(2)).unwrap();
    let Some(selected) = pending.cancel() else {
        panic!("the sender has returned: the message is ours");
    };
    assert!(matches!(selected.outcome, Outcome::Received(message) if message.bytes() == [2]));
}

#[test]
fn a_closed_channel_ends_its_pending_waits() {
    let engine = Engine::start();
    let chime = Chime::new(engine).unwrap();
    let end = engine.channel(Capacity::Unbounded, HostId::MAIN);
    let pending = waits(chime.begin(1, receive(&end)));
    end.close();
    assert_eq!(rung(&chime), [1]);
    let Begun::Chosen(selected) = pending.finish() else {
        panic!("it is closed")
    };
    assert!(matches!(selected.outcome, Outcome::Closed));
}

#[test]
fn a_wait_keeps_its_channel_although_the_ends_and_the_chime_are_gone() {
    let engine = Engine::start();
    let chime = Chime::new(engine).unwrap();
    let end = engine.channel(Capacity::Bounded(1.try_into().unwrap()), HostId::MAIN);
    end.try_send(message(1)).unwrap();
    let send = vec![Case {
        end: &end,
        op: Op::Send(message(2)),
    }];
    let pending = waits(chime.begin(1, send));
    drop(end);
    drop(chime);
    let Begun::Chosen(selected) = pending.finish() else {
        panic!("nobody receives any more")
    };
    assert!(matches!(selected.outcome, Outcome::Closed));
}

#[test]
fn a_raised_interrupt_rings_once_whether_before_or_after_it_is_watched() {
    let engine = Engine::start();
    let chime = Chime::new(engine).unwrap();
    let interrupt = Interrupt::new(engine);
    let early = chime.watch(&interrupt, 1);
    drop(chime.watch(&interrupt, 2));
    interrupt.raise();
    interrupt.raise();
    assert_eq!(rung(&chime), [1]);
    let late = chime.watch(&interrupt, 3);
    assert_eq!(rung(&chime), [3]);
    drop((early, late));
}
