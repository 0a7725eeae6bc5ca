"""The README's example runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Data, Host

README = Path(__file__).parents[3] / "README.md"


def test_the_readmes_example_trains(
    shared_host: Host,
    data: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = re.search(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USE_TRAINING_HOST_SERVICE", "true")
    monkeypatch.setenv("TRAINING_HOST_SERVICE_URL", shared_host.url)
    exec(found[1], {"features": data[0], "labels": data[1]})
    assert len(capsys.readouterr().out.splitlines()) == 20
    assert (tmp_path / "model.safetensors").stat().st_size > 1000
