"""One heavy job at a time: its turn, its steps, its end."""

import threading

import pytest
from shown_runs import wait_until

from advcam.errors import RunError
from advcam.studio.jobs import FORGOTTEN, Job, Jobs, QueueFullError


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Held:
    """Work that goes on, step by step, until it is let go."""

    def __init__(self) -> None:
        self.go, self.begun, self.steps = threading.Event(), threading.Event(), 0

    def __call__(self, job: Job) -> str:
        self.begun.set()
        while not self.go.wait(0.005):
            job.step()
            self.steps += 1
        return "made"


@pytest.fixture
def jobs() -> Jobs:
    found = Jobs()
    yield found
    found.close()


def test_they_run_one_after_the_other(jobs: Jobs) -> None:
    order, running = [], []

    def work(name: str) -> object:
        def do(job: Job) -> None:
            running.append(name)
            assert len(running) == 1
            order.append(name)
            running.remove(name)

        return do

    made = [jobs.submit("climb", work(name)) for name in "abcde"]
    wait_until(lambda: all(job.has_ended for job in made))
    assert order == list("abcde")
    assert {job.state for job in made} == {"done"}


def test_places_in_the_queue(jobs: Jobs) -> None:
    first = Held()
    running, *waiting = [jobs.submit("climb", work) for work in (first, Held(), Held())]
    assert first.begun.wait(10)
    assert [jobs.position(job) for job in (running, *waiting)] == [0, 1, 2]
    assert [job.state for job in waiting] == ["queued", "queued"]
    jobs.cancel(waiting[0])
    assert waiting[0].state == "cancelled"
    assert jobs.position(waiting[1]) == 1
    first.go.set()
    wait_until(lambda: waiting[1].state == "running")
    assert (running.state, running.result, jobs.position(waiting[1])) == ("done", "made", 0)


def test_a_running_job_ends_at_its_next_step(jobs: Jobs) -> None:
    work = Held()
    job = jobs.submit("climb", work)
    assert work.begun.wait(10)
    wait_until(lambda: job.done > 0)
    jobs.cancel(job)
    wait_until(lambda: job.has_ended)
    assert (job.state, job.result) == ("cancelled", None)
    assert jobs.submit("climb", lambda _: 1) is not None


def test_a_climb_that_nobody_asks_about_ends() -> None:
    clock, work = Clock(), Held()
    jobs = Jobs(clock)
    job = jobs.submit("climb", work)
    assert work.begun.wait(10)
    clock.now += FORGOTTEN - 1
    jobs.get(job.id)
    clock.now += FORGOTTEN - 1
    wait_until(lambda: work.steps > 3)
    assert job.state == "running"
    clock.now += 2
    wait_until(lambda: job.has_ended)
    assert (job.state, job.detail) == ("cancelled", "nobody asked about it any more")
    jobs.close()


def test_a_climb_that_was_left_in_the_queue_is_not_begun() -> None:
    clock, first, second = Clock(), Held(), Held()
    jobs = Jobs(clock)
    running, waiting = jobs.submit("export", first), jobs.submit("climb", second)
    assert first.begun.wait(10)
    clock.now += FORGOTTEN + 1
    first.go.set()
    wait_until(lambda: waiting.has_ended)
    assert (running.state, waiting.state, second.begun.is_set()) == ("done", "cancelled", False)
    jobs.close()


def test_an_export_that_nobody_asks_about_goes_on() -> None:
    clock, work = Clock(), Held()
    jobs = Jobs(clock)
    job = jobs.submit("export", work)
    clock.now += 10 * FORGOTTEN
    wait_until(lambda: work.steps > 3)
    work.go.set()
    wait_until(lambda: job.has_ended)
    assert job.state == "done"
    jobs.close()


def test_a_job_that_fails_says_why_and_the_next_has_its_turn(jobs: Jobs) -> None:
    def known(job: Job) -> None:
        raise RunError("no room; make some")

    def unknown(job: Job) -> None:
        raise KeyError("x")

    made = [jobs.submit("climb", work) for work in (known, unknown, lambda _: "made")]
    wait_until(lambda: all(job.has_ended for job in made))
    assert [job.state for job in made] == ["failed", "failed", "done"]
    assert made[0].detail == "no room; make some"
    assert made[1].detail == "something went wrong (KeyError: 'x')"


def test_a_queue_has_an_end(jobs: Jobs) -> None:
    work = Held()
    jobs.submit("climb", work)
    assert work.begun.wait(10)
    for _ in range(20):
        jobs.submit("climb", work)
    with pytest.raises(QueueFullError, match="20 jobs are waiting already; try again"):
        jobs.submit("climb", work)
    work.go.set()


def test_results_are_kept_in_so_many_bytes(jobs: Jobs) -> None:
    size = 50 * 2**20
    made = [jobs.submit("climb", lambda _: "made", lambda _: size) for _ in range(4)]
    wait_until(lambda: all(job.has_ended for job in made))
    assert [job.result for job in made] == [None, None, "made", "made"]
    assert made[0].detail == "the result was dropped for later ones; do it again"
    huge = jobs.submit("climb", lambda _: "huge", lambda _: 10 * size)
    wait_until(lambda: huge.has_ended)
    assert huge.result == "huge"  # what was made last can always be fetched


def test_jobs_that_ended_long_ago_are_forgotten(jobs: Jobs) -> None:
    made = []
    for _ in range(205):
        made.append(jobs.submit("climb", lambda _: None))
        wait_until(lambda: made[-1].has_ended)
    with pytest.raises(LookupError):
        jobs.get(made[0].id)
    assert jobs.get(made[-1].id) is made[-1]


def test_closing_ends_everything() -> None:
    jobs, work = Jobs(), Held()
    running, waiting = jobs.submit("climb", work), jobs.submit("climb", Held())
    assert work.begun.wait(10)
    jobs.close()
    assert (running.state, waiting.state) == ("cancelled", "cancelled")
    with pytest.raises(QueueFullError):
        jobs.submit("climb", Held())
