"""What the scripts of the pages compute, tested with node's own test runner."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODE = shutil.which("node")


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.js")))
def test_the_scripts_of_the_pages(name: str) -> None:
    if NODE is None:
        pytest.fail("no node on the PATH; `make node` installs one")
    command = [NODE, "--test", "--test-reporter=spec", str(HERE / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass 0\n" not in done.stdout
