"""Locks: on file systems without `flock`, or with one for each machine, against frozen machines, and in one process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import re
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from quick_python import fork

from icl_curriculum.core import locks
from icl_curriculum.core.locks import FolderLost, Locked, holder, is_locked, locked

FLOCK = fcntl.flock


def no_flock(handle: Any, how: int) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


#: What file systems there are, by what `flock` does on them: for all processes, for nobody, or for each machine alone.
FILE_SYSTEMS: dict[str, Callable[[Any, int], None]] = {
    "flock": FLOCK,
    "no flock": no_flock,
    "flock of each machine": lambda handle, how: None,
}


@pytest.fixture(params=FILE_SYSTEMS)
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(fcntl, "flock", FILE_SYSTEMS[request.param])
    return str(request.param)


@pytest.fixture(params=["no flock", "flock of each machine"])
def shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system where no lock of the system's tells machines apart, and where nobody waits long."""
    monkeypatch.setattr(fcntl, "flock", FILE_SYSTEMS[request.param])
    quick(monkeypatch)


def quick(monkeypatch: pytest.MonkeyPatch, *, stale: float = 0.06, beat: float = 0.01) -> None:
    monkeypatch.setattr("icl_curriculum.core.heartbeat.BEAT", beat)
    for name, seconds in {"LOOK_EVERY": 0.01, "STALE": stale, "CONFIRM": stale / 2}.items():
        monkeypatch.setattr(locks, name, seconds)


def move_to(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Be on another machine from now on."""
    monkeypatch.setattr(platform, "node", lambda: host)


def nothing(who: str) -> None:
    """Wait without a word."""


@contextlib.contextmanager
def child(work: Callable[[int], None]) -> Iterator[tuple[int, int]]:
    """Another process at work, its id, and a pipe that it writes to; it is killed at the end."""
    reading, writing = os.pipe()
    if (pid := fork()) == 0:
        with contextlib.suppress(BaseException):
            work(writing)
        os._exit(0)
    try:
        yield pid, reading
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)


def holding(lock: Path) -> Callable[[int], None]:
    def hold(say: int) -> None:
        with locked(lock) as claim:
            os.write(say, b"held")
            while True:
                time.sleep(0.005)
                try:
                    claim.check()
                except FolderLost as error:
                    os.write(say, str(error).encode())
                    return

    return hold


@pytest.mark.usefixtures("file_system")
def test_one_process_holds_a_folder_whatever_the_file_system_does(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with child(holding(lock)) as (pid, said):
        os.read(said, 10)
        assert is_locked(lock)
        assert re.fullmatch(rf"process {pid} on .+, since \d{{4}}-.+", holder(lock))
        with pytest.raises(Locked, match=rf"{tmp_path} is in use by process {pid} on .*; wait for it, or write to an"):
            locked(lock).__enter__()


@pytest.mark.usefixtures("file_system")
def test_what_a_killed_process_of_this_machine_held_is_free_at_once(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with child(holding(lock)) as (pid, said):
        os.read(said, 10)
        os.kill(pid, signal.SIGKILL)
        # Ended, though nobody has asked how: its parent is busy.
        while is_locked(lock):
            time.sleep(0.001)
        with locked(lock) as claim:
            claim.check()
            assert claim.attempt == 2


@pytest.mark.usefixtures("file_system")
def test_a_process_holds_several_locks_each_for_one_thread(tmp_path: Path) -> None:
    refused = list[str]()

    def try_it() -> None:
        try:
            locked(tmp_path / "a/.lock").__enter__()
        except Locked as error:
            refused.append(str(error))

    with locked(tmp_path / "a/.lock") as a, locked(tmp_path / "b/.lock") as b:
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
        a.check()
        b.check()
    assert len(refused) == 1
    assert not is_locked(tmp_path / "a/.lock")


@pytest.mark.usefixtures("file_system")
def test_every_hold_of_a_folder_is_an_attempt_of_its_own(tmp_path: Path) -> None:
    owners = set()
    for number in (1, 2, 3):
        with locked(tmp_path / ".lock") as claim:
            assert claim.attempt == number
            owners.add(claim.owner)
        assert sorted(os.listdir(tmp_path)) == [".lock", f".lock.{number}"]
    assert len(owners) == 3


@pytest.mark.usefixtures("file_system")
def test_a_fork_that_ends_does_not_free_what_its_parent_holds(tmp_path: Path) -> None:
    with locked(tmp_path / ".lock") as claim:
        if (pid := fork()) == 0:
            claim.release()
            os._exit(0)
        os.waitpid(pid, 0)
        claim.check()
        assert is_locked(tmp_path / ".lock")


@pytest.mark.usefixtures("file_system")
def test_a_claim_that_this_process_was_interrupted_over_holds_nothing(tmp_path: Path) -> None:
    """As in a notebook, whose process goes on."""
    with locked(tmp_path / ".lock") as claim:
        left = claim.path.read_bytes()
    claim.path.write_bytes(left)
    assert not is_locked(tmp_path / ".lock")
    with locked(tmp_path / ".lock") as later:
        assert later.attempt == 2


@pytest.mark.usefixtures("file_system")
def test_what_was_released_is_free_to_other_machines_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(tmp_path / ".lock"):
        pass
    move_to(monkeypatch, "node7")
    assert not is_locked(tmp_path / ".lock")
    with locked(tmp_path / ".lock") as claim:
        assert claim.attempt == 2


@pytest.mark.usefixtures("shared")
def test_a_process_id_that_was_given_away_again_does_not_hold_what_its_first_bearer_held(tmp_path: Path) -> None:
    """As of a run that a machine's end cut off, whose id another program has now."""
    with locked(tmp_path / ".lock") as claim:
        said = json.loads(claim.path.read_bytes())
    claim.path.write_text(json.dumps({**said, "pid": os.getppid(), "started": "1"}))
    assert not is_locked(tmp_path / ".lock")
    with locked(tmp_path / ".lock") as later:
        assert later.attempt == 2


def test_a_copy_of_a_folder_in_use_is_not_in_use(tmp_path: Path) -> None:
    with child(holding(tmp_path / "run/.lock")) as (_, said):
        os.read(said, 10)
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        assert is_locked(tmp_path / "run/.lock")
        with locked(tmp_path / "copy/.lock") as claim:
            claim.check()


def test_a_claim_after_ones_own_is_noticed_even_if_ones_own_could_not_be_removed(tmp_path: Path) -> None:
    """As where a folder lets each remove only what is its own."""
    with locked(tmp_path / ".lock") as claim:
        said = json.loads(claim.path.read_bytes())
        (tmp_path / ".lock.2").write_text(json.dumps({**said, "host": "node7", "owner": "another"}))
        with pytest.raises(FolderLost, match=rf"was taken over by process {os.getpid()} on node7, since "):
            claim.check()


def test_a_claim_that_is_removed_while_it_is_read_gives_way_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which a file system over a network may call stale."""
    lock, read = tmp_path / ".lock", Path.open
    for number in (1, 2):
        (tmp_path / f".lock.{number}").touch()

    def stale(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == ".lock.2" and not path.with_name(".lock.3").exists():
            path.unlink()
            path.with_name(".lock.3").touch()
            raise OSError(errno.ESTALE, "Stale file handle")
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", stale)
    with locked(lock) as claim:
        assert claim.attempt == 4


def test_claims_that_killed_processes_left_are_removed_by_the_next(tmp_path: Path) -> None:
    """One may be killed between making its claim and removing those before it."""
    with locked(tmp_path / ".lock") as claim:
        said = claim.path.read_text()
    for number in (3, 10, 12):
        (tmp_path / f".lock.{number}").write_text(said)
    for other in (".lock.x", ".lock.012", ".locks.99", ".lock.13.tmp"):
        (tmp_path / other).touch()
    with locked(tmp_path / ".lock") as claim:
        assert claim.attempt == 13
    assert sorted(os.listdir(tmp_path)) == [".lock", ".lock.012", ".lock.13", ".lock.13.tmp", ".lock.x", ".locks.99"]


@pytest.mark.parametrize(("flock", "is_free"), [(True, True), (False, False)])
def test_what_a_killed_container_held_is_free_at_once_where_both_have_locks(
    tmp_path: Path, flock: bool, is_free: bool
) -> None:
    """Its processes cannot be seen from here, but one kernel knows the locks of both."""
    with locked(tmp_path / ".lock") as claim:
        said = json.loads(claim.path.read_bytes())
    elsewhere = {"host": "3f2a", "namespace": "pid:[1]", "pid": 7, "flock": flock}
    claim.path.write_text(json.dumps({**said, **elsewhere, "inode": claim.path.stat().st_ino}))
    assert is_locked(tmp_path / ".lock") != is_free
    if is_free:
        with locked(tmp_path / ".lock") as later:
            later.check()
    else:
        with pytest.raises(Locked, match="process 7 on 3f2a"):
            locked(tmp_path / ".lock").__enter__()


# Other machines


@pytest.mark.usefixtures("shared")
def test_a_holder_on_another_machine_that_gives_signs_of_life_keeps_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, stale=0.3)
    lock, waits = tmp_path / ".lock", list[str]()

    class Enough(Exception):
        pass

    def waiting(who: str) -> None:
        waits.append(who)
        if time.monotonic() > began + 1.5 * locks.STALE:
            raise Enough

    with child(holding(lock)) as (pid, said):
        os.read(said, 10)
        move_to(monkeypatch, "node7")
        began = time.monotonic()
        with pytest.raises(Enough), locked(lock, waiting=waiting):
            pass
        assert is_locked(lock)
        with pytest.raises(Locked, match=rf"is in use by process {pid} on .*, whose last sign of life is 0 s old"):
            locked(lock).__enter__()
    assert re.fullmatch(
        rf"process {pid} on .+, since .+, whose last sign of life is 0 s old \(it is taken over after 0\.3 s without "
        r"one\)",
        waits[0],
    )


@pytest.mark.usefixtures("shared")
def test_a_frozen_machine_whose_folder_was_taken_over_stops_when_it_wakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / ".lock"
    with child(holding(lock)) as (pid, said):
        os.read(said, 10)
        os.kill(pid, signal.SIGSTOP)
        move_to(monkeypatch, "node7")
        with locked(lock, waiting=nothing) as claim:
            assert claim.attempt == 2
            os.kill(pid, signal.SIGCONT)
            lost = os.read(said, 1000).decode()
            assert re.match(rf"{tmp_path} was taken over by process {os.getpid()} on node7, since ", lost)
            assert lost.endswith("; this process has stopped, and has written nothing more there")
            claim.check()
        # Not even what it does as it ends frees or holds what is another's.
        assert os.listdir(tmp_path).count(".lock.2") == 1
    with locked(lock) as claim:
        assert claim.attempt == 3


@pytest.mark.usefixtures("shared")
def test_a_machine_that_has_been_gone_for_long_is_not_waited_for_by_who_would_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last sign of life is older than that of a file that is written now, by the file system's one clock."""
    with locked(tmp_path / ".lock") as claim:
        left = claim.path.read_bytes()
    claim.path.write_bytes(left)
    os.utime(claim.path, (0, time.time() - 100))
    move_to(monkeypatch, "node7")
    monkeypatch.setattr(locks, "STALE", 90.0)
    assert not is_locked(tmp_path / ".lock")
    with locked(tmp_path / ".lock") as later:
        assert later.attempt == 2
    # One that gave one just now is not waited for either, and keeps the folder.
    later.path.write_bytes(left)
    began = time.monotonic()
    with pytest.raises(Locked, match="whose last sign of life is 0 s old"):
        locked(tmp_path / ".lock").__enter__()
    assert time.monotonic() - began < 5.0


@pytest.mark.usefixtures("shared")
def test_no_clocks_of_two_machines_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's clock is days ahead of the file system's."""
    with child(holding(tmp_path / ".lock")) as (pid, said):
        os.read(said, 10)
        move_to(monkeypatch, "node7")
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 1e6)
        with pytest.raises(Locked, match=f"process {pid}"):
            locked(tmp_path / ".lock").__enter__()


@pytest.mark.usefixtures("shared")
def test_who_was_frozen_while_it_watched_begins_to_watch_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock went on, but it has not seen that no sign of life came."""
    with locked(tmp_path / ".lock") as claim:
        left = claim.path.read_bytes()
    claim.path.write_bytes(left)
    move_to(monkeypatch, "node7")
    quick(monkeypatch, stale=100.0)
    clock, waits = [0.0], list[str]()
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    class Enough(Exception):
        pass

    def waiting(who: str) -> None:
        clock[0] += 1000.0
        waits.append(who)
        if len(waits) == 20:
            raise Enough

    with pytest.raises(Enough), locked(tmp_path / ".lock", waiting=waiting):
        pass


@pytest.mark.usefixtures("shared")
def test_of_several_that_take_a_folder_over_at_once_one_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them see the same machine gone, and make the next claim at the same moment."""
    lock, together, tried = tmp_path / ".lock", threading.Barrier(3), threading.Barrier(3)
    monkeypatch.setattr(locks, "GLANCES", 0)
    look, won = locks.look, list[int]()

    def seen_by_all(path: Path) -> Any:
        found = look(path)
        if threading.current_thread() in threads:
            threads.remove(threading.current_thread())
            together.wait(10)
        return found

    def take(number: int) -> None:
        try:
            with locked(lock) as claim:
                won.append(number)
                claim.check()
                tried.wait(10)
        except Locked:
            tried.wait(10)

    for number in range(30):
        with locked(lock) as claim:
            gone = json.loads(claim.path.read_bytes())
        claim.path.write_text(json.dumps({**gone, "started": "1"}))
        threads = [threading.Thread(target=take, args=(number,)) for _ in range(3)]
        monkeypatch.setattr(locks, "look", seen_by_all)
        started = [*threads]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
        monkeypatch.setattr(locks, "look", look)
    assert won == list(range(30))


@pytest.mark.usefixtures("shared")
def test_a_number_that_was_used_and_removed_is_not_held_by_who_comes_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked before the others came, and makes its claim after they have gone on."""
    lock = tmp_path / ".lock"
    make, attempts = locks.made_claim, list[int]()

    def late(path: Path, *arguments: Any, **options: Any) -> bytes | None:
        monkeypatch.setattr(locks, "made_claim", make)
        for _ in range(3):
            with locked(lock) as claim:
                attempts.append(claim.attempt)
        # The first two are removed by now.
        return make(path, *arguments, **options)

    monkeypatch.setattr(locks, "made_claim", late)
    with locked(lock, waiting=nothing) as claim:
        attempts.append(claim.attempt)
    assert attempts == [1, 2, 3, 4]


# Servers that do not answer, and file systems that have less


def test_an_answer_of_the_server_that_was_lost_makes_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link is there, and the second request for it says that the name is taken."""
    link = os.link

    def asked_twice(*paths: Any) -> None:
        link(*paths)
        link(*paths)

    monkeypatch.setattr(os, "link", asked_twice)
    with locked(tmp_path / ".lock") as claim:
        assert claim.attempt == 1
        assert sorted(os.listdir(tmp_path)) == [".lock", ".lock.1"]


@pytest.mark.usefixtures("file_system")
def test_a_file_system_without_hard_links_has_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*paths: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with child(holding(tmp_path / ".lock")) as (pid, said):
        os.read(said, 10)
        with pytest.raises(Locked, match=f"in use by process {pid}"):
            locked(tmp_path / ".lock").__enter__()
        assert sorted(os.listdir(tmp_path)) == [".lock", ".lock.1"]


def test_a_full_disk_keeps_nobody_from_holding_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be written, though a file can be made."""
    lock = tmp_path / ".lock"
    lock.touch()
    lock.with_name(".lock.1").touch()
    with limited_to(0), locked(lock) as claim:
        claim.check()
        assert claim.path.read_bytes() == b""
        assert is_locked(lock)
        with pytest.raises(Locked, match="in use by another process"):
            locked(lock).__enter__()
    assert not is_locked(lock)


@contextlib.contextmanager
def limited_to(size: int) -> Iterator[None]:
    """No file may be longer, which what writes it is told by an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_the_folder_may_vanish_under_a_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, beat=0.001)
    with locked(tmp_path / "run/.lock") as claim:
        # None keeps its process alive.
        assert [thread.daemon for thread in threading.enumerate() if thread.name == "heartbeat"] == [True]
        shutil.rmtree(tmp_path / "run")
        time.sleep(0.01)
        with pytest.raises(FolderLost, match=r"run was moved, deleted or replaced while this process was writing"):
            claim.check()
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_a_claim_that_was_edited_is_not_held_any_more(tmp_path: Path) -> None:
    with locked(tmp_path / ".lock") as claim:
        claim.path.write_text("edited")
        with pytest.raises(FolderLost):
            claim.check()
