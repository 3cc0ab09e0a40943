"""SIGTERM and Ctrl-C: a real process is asked once, twice, and by both; handlers are as before afterwards."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from advcam.pipeline.operations.shutdown import Terminated, ends_cleanly, handlers_kept

CHILD = """
import sys, time
from advcam.pipeline.operations.shutdown import ends_cleanly
with ends_cleanly() as ending:
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt as error:
        print(type(error).__name__, flush=True)
        if sys.argv[1:] == ["slow"]:
            time.sleep(1)
        print("finished", flush=True)
sys.exit(ending.exit_code)
"""


def child(*arguments: str, ignored: signal.Signals | None = None) -> subprocess.Popen[str]:
    def prepare() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN if number == ignored else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True, preexec_fn=prepare
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("number", "error", "code"), [(signal.SIGTERM, "Terminated", 143), (signal.SIGINT, "KeyboardInterrupt", 130)]
)
def test_asked_once_it_ends_cleanly(number: signal.Signals, error: str, code: int):
    process = child()
    process.send_signal(number)
    assert process.communicate(timeout=30)[0] == f"{error}\nfinished\n"
    assert process.returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_twice_it_ends_at_once(number: signal.Signals):
    process = child("slow")
    process.send_signal(number)
    process.stdout.readline()
    process.send_signal(number)
    assert process.communicate(timeout=30)[0] == ""
    assert process.returncode == -number


def test_one_of_each_is_one_request():
    process = child("slow")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "KeyboardInterrupt\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == "finished\n"
    assert process.returncode == 130


def test_what_the_process_was_started_to_ignore_stays_ignored():
    process = child(ignored=signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == "Terminated\nfinished\n"
    assert process.returncode == 143


def test_a_forked_process_ends_as_it_would_without():
    code = """
import os, signal, time
from advcam.pipeline.operations.shutdown import ends_cleanly
with ends_cleanly() as ending:
    child = os.fork()
    if child == 0:
        try:
            time.sleep(60)
        finally:
            os._exit(7)  # where something was raised
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ending.signal)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (found.stdout, found.stderr) == (f"{-signal.SIGTERM} None\n", "")


def test_terminated_is_what_handles_ctrl_c_handles():
    assert issubclass(Terminated, KeyboardInterrupt)


def test_handlers_are_as_before():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    endings = []

    def work() -> None:
        with ends_cleanly() as ending:
            endings.append(ending)
            assert (ending.signal, ending.exit_code) == (None, None)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated):
        work()
    assert [(ending.signal, ending.exit_code) for ending in endings] == [(signal.SIGTERM, 143)]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_what_takes_the_handlers_to_itself_gives_them_back():
    before = signal.getsignal(signal.SIGTERM)
    with handlers_kept():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_nothing_is_changed():
    during: list[object] = []

    def work() -> None:
        with ends_cleanly() as ending, handlers_kept():
            during.extend([signal.getsignal(signal.SIGTERM), ending.exit_code])

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert during == [before, None]
