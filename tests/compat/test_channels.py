"""PEP 554's channels: what CPython's own tests of them do not say, or say only from 3.14 on."""

from __future__ import annotations

import threading

import pytest
from tests.kinds import KINDS, skip_unless_available

import atoll
from atoll.compat import channels, interpreters


def test_create_and_list_all_are_in_interpreters_too():
    recv, send = interpreters.create_channel()

    assert (recv, send) in interpreters.list_all_channels()
    assert isinstance(recv, interpreters.RecvChannel)
    assert isinstance(send, interpreters.SendChannel)


def test_send_waits_until_the_object_was_received():
    recv, send = channels.create()
    got = []
    thread = threading.Thread(target=lambda: got.append(recv.recv()))
    thread.start()
    send.send([1, 2])
    thread.join()

    assert got == [[1, 2]]


def test_what_was_not_received_in_time_is_taken_back():
    recv, send = channels.create()
    with pytest.raises(TimeoutError):
        send.send("late", timeout=0.05)

    with pytest.raises(channels.ChannelEmptyError):
        recv.recv_nowait()


def test_closing_wakes_a_sender_that_waits():
    recv, send = channels.create()
    errors = []

    def wait():
        try:
            send.send("never received")
        except channels.ChannelClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while recv._info.waiting == 0:
        thread.join(0.001)
    recv.close()
    thread.join()

    assert len(errors) == 1


def test_a_closed_sending_end_lets_the_rest_be_received():
    recv, send = channels.create()
    send.send_nowait(1)
    send.close()

    assert (send.is_closed, recv.is_closed) == (True, False)
    assert recv.recv() == 1
    assert recv.is_closed
    with pytest.raises(channels.ChannelClosedError):
        recv.recv_nowait()


def test_a_released_end_is_not_to_be_used_again():
    recv, send = channels.create()
    send.send_nowait(1)
    send.release()

    with pytest.raises(channels.ChannelClosedError):
        send.send_nowait(2)
    assert recv.recv() == 1


def test_another_interpreter_keeps_what_this_one_released():
    recv, send = channels.create()
    interp = interpreters.create()
    interp.prepare_main(send=send)
    interp.exec("send.send_nowait(1)")
    send.send_nowait(2)
    send.release()
    interp.exec("send.send_nowait(3)")

    assert [recv.recv(), recv.recv(), recv.recv()] == [1, 2, 3]
    interp.close()


@pytest.mark.parametrize("kind", KINDS)
def test_an_end_is_an_argument_of_atolls_own_tasks_too(kind):
    skip_unless_available(kind)
    recv, send = channels.create()
    task = atoll.spawn(_greet, send, kind=kind)

    assert recv.recv() == "hello"
    task.result()


def _greet(send):
    send.send("hello")


def test_a_buffer_sent_is_the_same_memory_in_another_interpreter():
    recv, send = channels.create()
    interp = interpreters.create()
    interp.prepare_main(recv=recv)
    memory = bytearray(b"....")
    send.send_buffer_nowait(memory)
    interp.exec("view = recv.recv(); view[0:1] = b'x'; view.release()")

    assert bytes(memory) == b"x..."
    interp.close()
