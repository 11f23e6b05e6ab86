"""The processes of the Procfile, started together, watched, and stopped together."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from honcho.environ import parse_procfile

import settings
from embedded import processes

PROJECT: Final = Path(__file__).resolve().parent.parent


class Crew:
    """Starts every line of the Procfile once."""

    def __init__(self, environment: dict[str, str], logs: Path) -> None:
        """Each process writes to `logs/<name>.log`."""
        self.logs = logs
        own_programs = str(Path(sys.executable).parent)
        path = f"{own_programs}:{settings.inherited().get('PATH', '')}"
        self._environment = {**settings.inherited(), **environment, "PATH": path, "PYTHONUNBUFFERED": "1"}
        lines = parse_procfile((PROJECT / "Procfile").read_text())
        self.commands: dict[str, str] = dict(lines.processes)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all of them."""
        for name in self.commands:
            self.start_one(name)

    def start_one(self, name: str, *, instance: str | None = None) -> "subprocess.Popen[bytes]":
        """Start one, or one more under the name `instance`."""
        known_as = instance or name
        command = self.commands[name].split()
        process = processes.start(command, self.log(known_as), env=self._environment)
        self.running[known_as] = process
        return process

    def log(self, name: str) -> Path:
        """Return the log file of one process."""
        return self.logs / f"{name}.log"

    def ended(self) -> dict[str, int]:
        """Return the exit codes of those that have ended."""
        codes = {name: process.poll() for name, process in self.running.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def stop(self) -> None:
        """Tell all of them to stop, then wait for each."""
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        for process in self.running.values():
            processes.stop(process)
        self.running.clear()
