"""Daemons that are absent, die, hang or come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import Data, Host

import trainhost

ENDLESS = {"hidden": [8], "epochs": 1_000_000_000}


def test_an_absent_host_is_known_at_once(tmp_path: Path) -> None:
    manager = trainhost.Manager(trainhost.Mode.HOST, f"unix://{tmp_path}/none.sock")
    with pytest.raises(trainhost.HostAbsentError, match=r"none\.sock"):
        manager.open()
    took = []
    for _ in range(20):
        begin = time.perf_counter()
        with pytest.raises(ConnectionError):
            manager.open()
        took.append(time.perf_counter() - begin)
    assert min(took) < 0.001


def test_a_killed_host_ends_a_wait_within_milliseconds(host: Host, data: Data) -> None:
    with host.open() as adapter:
        job = adapter.train(*data, ENDLESS)
        threading.Timer(0.1, host.kill).start()
        with pytest.raises(trainhost.HostLostError):
            job.wait()
        begin = time.monotonic()
        with pytest.raises(trainhost.HostLostError):
            job.result()
        assert time.monotonic() - begin < 1
        assert job.progress().job == job.number


def test_the_next_job_works_when_the_host_is_back(host: Host, data: Data) -> None:
    with host.open() as adapter:
        first = adapter.train(*data, epochs=2, detach=True)
        first.wait()
        host.kill()
        with pytest.raises(trainhost.HostLostError):
            adapter.train(*data)
    host.start()
    with host.open() as adapter:
        assert adapter.attach(first.number).result().card["best_epoch"] > 0
        assert adapter.train(*data, epochs=1).result().card["best_epoch"] == 1


def test_a_host_that_hangs_is_noticed_in_the_time_set(host: Host, data: Data) -> None:
    with host.open(stall_timeout=1, call_timeout=1) as adapter:
        job = adapter.train(*data, ENDLESS)
        host.process.send_signal(signal.SIGSTOP)
        with pytest.raises(trainhost.HostStalledError):
            adapter.health()
        with pytest.raises(trainhost.HostStalledError):
            job.wait(30)
        host.process.send_signal(signal.SIGCONT)
        job.cancel()
        job.wait()


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, shared_host: Host) -> None:
    monkeypatch.setenv("USE_TRAINING_HOST_SERVICE", "Yes")
    monkeypatch.setenv("TRAINING_HOST_SERVICE_URL", shared_host.url)
    manager = trainhost.Manager.from_env()
    assert manager.mode is trainhost.Mode.HOST
    assert manager.url == shared_host.url
    with trainhost.open(client="a backend") as adapter:
        assert any(session.client.endswith(", a backend") for session in adapter.sessions())
    monkeypatch.setenv("TRAINING_HOST_SERVICE_URL", "http://localhost:5002")
    with pytest.raises(trainhost.UsageError, match=r"TRAINING_HOST_SERVICE_URL.*unix://"):
        trainhost.open()
    monkeypatch.setenv("USE_TRAINING_HOST_SERVICE", "off")
    with trainhost.open() as adapter:
        assert adapter.mode is trainhost.Mode.LOCAL


def test_timeouts_that_are_none_are_refused(shared_host: Host) -> None:
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(trainhost.UsageError, match="call_timeout"):
            shared_host.open(call_timeout=seconds)
    shared_host.open(call_timeout=float("inf")).close()


def test_interrupts_end_a_wait(shared_host: Host) -> None:
    """Ctrl-C reaches the program, and not only when the job has something to say."""
    program = """
import os, signal, threading, time
import numpy as np, trainhost
host = trainhost.Manager(trainhost.Mode.HOST, os.environ["URL"]).open()
rows, labels = np.eye(4, dtype=np.float32), np.arange(4, dtype=np.int32)
quiet = host.train(rows, labels, epochs=1)
quiet.wait()
threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
job = host.train(rows, labels, epochs=1_000_000_000)
try:
    job.wait()
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "URL": shared_host.url}, stdout=subprocess.PIPE, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stdout == "interrupted\n"


def test_a_forked_child_is_told_to_open_its_own(host: Host, data: Data) -> None:
    with host.open() as adapter:
        job = adapter.train(*data, epochs=1)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                job.progress()
            except trainhost.UsageError as error:
                status = 0 if "fork" in str(error) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert job.result().card["best_epoch"] == 1


def test_every_code_of_c_has_a_class_of_its_own() -> None:
    from _trainhost import lib
    from trainhost.errors import error_class

    codes = {
        name: getattr(lib, name)
        for name in dir(lib)
        if name.startswith("TH_ERR_") and name != "TH_ERR_AGAIN"
    }
    assert len(codes) >= 17
    classes = {error_class(code) for code in codes.values()}
    assert len(classes) == len(codes)
    for name, code in codes.items():
        assert error_class(code)("why").name == name
        assert error_class(code)("why").code == code
