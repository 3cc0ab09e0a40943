"""Reading ahead and writing behind: order, errors, what happens where somebody stops, and how much is held."""

import threading
import time
from collections.abc import Iterator

import pytest

from advcam.pipeline.flow import WriteBehind, read_ahead


def test_items_come_in_order_with_what_was_read():
    found = [(item, future.result()) for item, future in read_ahead(range(20), lambda n: n * n, 4)]
    assert found == [(n, n * n) for n in range(20)]


def test_nothing_to_read():
    assert list(read_ahead([], str, 3)) == []


def test_an_error_belongs_to_its_item():
    def read(n: int) -> int:
        return 1 // (n - 2)

    futures = dict(read_ahead(range(4), read, 2))
    with pytest.raises(ZeroDivisionError):
        futures[2].result()
    assert futures[3].result() == 1


def test_only_so_many_are_read_ahead():
    asked: list[int] = []

    def items() -> Iterator[int]:
        for n in range(100):
            asked.append(n)
            yield n

    coming = read_ahead(items(), lambda n: n, 5)
    for n in range(10):
        assert next(coming)[0] == n
        assert len(asked) <= n + 1 + 5
    coming.close()
    assert len(asked) < 20


def test_who_stops_listening_leaves_no_thread():
    before = threading.active_count()
    coming = read_ahead(range(100), lambda n: time.sleep(0.001), 8)
    next(coming)
    coming.close()
    assert threading.active_count() == before


def test_writing_happens_in_order_and_is_done_at_the_end():
    written: list[int] = []

    def write(n: int) -> None:
        time.sleep(0.002 * (5 - n))
        written.append(n)

    with WriteBehind() as writer:
        for n in range(5):
            writer.submit(write, n)
    assert written == [0, 1, 2, 3, 4]


def test_the_first_error_ends_the_work_and_reaches_the_giver():
    written: list[int] = []
    gate = threading.Event()

    def write(n: int) -> None:
        gate.wait(5)
        if n == 1:
            raise OSError("disk full")
        written.append(n)

    writer = WriteBehind()
    for n in range(6):
        writer.submit(write, n)
    gate.set()
    with pytest.raises(OSError, match="disk full"):
        writer.finish()
    with writer:  # what was cancelled stays undone
        pass
    assert written[0] == 0
    assert 1 not in written


def test_an_interrupt_of_the_giver_keeps_what_was_given():
    written: list[int] = []

    def work() -> None:
        with WriteBehind() as writer:
            writer.submit(written.append, 1)
            writer.submit(written.append, 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert written == [1, 2]


def test_so_many_may_wait():
    gate, given = threading.Event(), []

    def give() -> None:
        with WriteBehind(room=3) as writer:
            for n in range(10):
                writer.submit(gate.wait, 5)
                given.append(n)

    giver = threading.Thread(target=give)
    giver.start()
    time.sleep(0.1)
    assert given == [0, 1, 2]
    gate.set()
    giver.join(10)
    assert given == list(range(10))
