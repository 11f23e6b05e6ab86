"""`make` on a machine that lacks something."""

import os
import subprocess
from pathlib import Path

from tests.servers import PROJECT

PYTHON_WHOSE_PIP_FAILS = """#!/bin/sh
case "$*" in
    *"-m venv"*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
    *"-m pip"*) echo "error: subprocess-exited-with-error" >&2; exit 1 ;;
esac
"""


def test_a_setup_that_fails_ends_with_what_is_needed(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(PYTHON_WHOSE_PIP_FAILS)
    python.chmod(0o755)

    made = subprocess.run(
        ["make", "setup", f"VENV={tmp_path / 'venv'}"],  # noqa: S607 (the make that users have)
        cwd=PROJECT,
        env=os.environ | {"PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert made.returncode != 0
    assert "C compiler" in made.stderr.split("subprocess-exited-with-error", 1)[1]
    assert not (tmp_path / "venv" / ".ready").exists()
