"""What is remembered of attempts: which picture was worked at when a process died, until the shard has ended."""

from advcam.scale.ledger import DEATHS, Ledger


def test_a_picture_at_which_processes_die_is_left_out_of_its_shard_alone():
    ledger = Ledger()
    assert ledger.begin(0) == (1, [])
    for attempt in range(2, 2 + DEATHS):
        assert ledger.begin(0) == (attempt, [])
        ledger.at(0, "a.png")
        ledger.at(0, "b.png")
    assert ledger.begin(0) == (2 + DEATHS, ["b.png"])
    assert ledger.begin(64) == (1, [])


def test_a_death_without_a_picture_blames_none():
    ledger = Ledger()
    assert [ledger.begin(0) for _ in range(4)] == [(attempt, []) for attempt in range(1, 5)]


def test_nothing_is_remembered_of_a_shard_that_has_ended():
    ledger = Ledger()
    for _ in range(1 + DEATHS):
        ledger.begin(0)
        ledger.at(0, "a.png")
    ledger.end(0)
    assert ledger.begin(0) == (1, [])
