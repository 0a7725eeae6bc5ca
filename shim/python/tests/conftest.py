"""Real daemons on private sockets, and data that can be learnt."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import trainhost

START_S_MAX = 20.0

Data = tuple[NDArray[np.float32], NDArray[np.int32]]
OpenAdapter = Callable[..., trainhost.Adapter]


class Host:
    """A trainhostd of its own."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "log"
        self.socket = directory / "trainhost.sock"
        self.url = f"unix://{self.socket}"
        self._directory = directory
        self.start()

    def start(self) -> None:
        command = [
            os.environ["TRAINHOSTD"], "--device", "cpu", "--socket", str(self.socket),
            "--state-dir", str(self._directory / "state"), "--jobs-max", "2000",
        ]  # fmt: skip
        # The libraries that a sanitizer wants preloaded here are linked there.
        environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        self.status = 0
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, env=environment, stderr=log)
        end = time.monotonic() + START_S_MAX
        while True:
            assert self.process.poll() is None, f"trainhostd ended: {self.log.read_text()}"
            assert time.monotonic() < end, "trainhostd does not answer"
            try:
                self.open().close()
            except trainhost.HostError:
                time.sleep(0.005)
            else:
                return

    def open(self, **timeouts: float) -> trainhost.Adapter:
        return trainhost.Manager(trainhost.Mode.HOST, self.url).open(**timeouts)

    def kill(self) -> None:
        self.status = -signal.SIGKILL
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        status = self.process.wait(START_S_MAX)
        assert status == self.status, f"trainhostd did not stop cleanly: {self.log.read_text()}"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A daemon for one test that may do what it likes to it."""
    host = Host(tmp_path)
    yield host
    host.stop()


@pytest.fixture(scope="session")
def shared_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A daemon for all tests that leave it as it was."""
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.stop()


@pytest.fixture(params=["host", "local"])
def adapter(request: pytest.FixtureRequest) -> Iterator[trainhost.Adapter]:
    """An adapter of each way: what is promised holds for both."""
    if request.param == "host":
        opened = request.getfixturevalue("shared_host").open()
    else:
        opened = trainhost.Manager(trainhost.Mode.LOCAL).open()
    with opened:
        yield opened


@pytest.fixture(scope="session")
def data() -> Data:
    """600 rows of 5 features in 3 classes that lie apart."""
    generator = np.random.default_rng(7)
    labels = (np.arange(600) % 3).astype(np.int32)
    features = generator.normal(labels[:, None] * 1.5, 1.0, (600, 5)).astype(np.float32)
    return features, labels
