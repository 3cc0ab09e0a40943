"""The mark of a session: gone after any end, left by a death."""

import subprocess
import sys
from pathlib import Path

import pytest

from advcam.errors import RunError
from advcam.store.session import session


def test_an_end_is_no_death(tmp_path):
    for _ in range(2):
        with session(tmp_path / "run") as died:
            assert not died
            assert (tmp_path / "run" / ".working").read_text() == "a session of advcam is working here, or died\n"
        assert not (tmp_path / "run" / ".working").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RunError, SystemExit])
def test_errors_and_interrupts_are_ends(tmp_path, error):
    def work():
        with session(tmp_path):
            raise error("on purpose")

    with pytest.raises(error, match="on purpose"):
        work()
    with session(tmp_path) as died:
        assert not died


@pytest.mark.parametrize("death", ["os._exit(1)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 11)"])
def test_a_death_leaves_the_mark_for_the_next_session_alone(tmp_path, death):
    code = (
        "import os, sys; from pathlib import Path; from advcam.store.session import session\n"
        f"with session(Path(sys.argv[1])): {death}"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode != 0
    for expected in (True, False):
        with session(tmp_path) as died:
            assert died is expected


def test_a_folder_that_cannot_be_written():
    with (
        pytest.raises(RunError, match=r"^cannot write /proc/run-of-advcam/\.working \("),
        session(Path("/proc/run-of-advcam")),
    ):
        raise AssertionError("no session begins")


def test_at_a_url(s3, folder):
    with session(folder) as died:
        assert not died
        with session(folder) as again:  # two processes at once, of which a store cannot tell
            assert again
    with session(folder) as died:
        assert not died
