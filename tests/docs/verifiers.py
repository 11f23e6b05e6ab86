"""The examples of docs/verifying-our-webhooks.md as programs: cut out of the page, given cases, asked for verdicts."""

import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.servers import PROJECT

PAGE: Final = PROJECT / "docs" / "verifying-our-webhooks.md"
PATIENCE_SECONDS: Final = 240
"""Go compiles its own HTTP library the first time."""


@dataclass(frozen=True)
class Case:
    """One request as a partner gets it."""

    secret: str
    headers: dict[str, str]
    body: bytes


def examples(heading: str, language: str) -> str:
    """Return the code below a heading of the page."""
    section = re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)
    found = [part for part in section if part.startswith(heading)]
    assert len(found) == 1, f"one section {heading!r}"
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```", found[0], flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"one block of {language} below {heading!r}"
    return blocks[0]


def run(command: Sequence[str | Path], folder: Path, *, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a program offline."""
    if not shutil.which(command[0]):
        pytest.skip(f"no {command[0]} on this machine")
    offline = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GO111MODULE": "off", "CGO_ENABLED": "0"}
    return subprocess.run(
        command,
        input=given,
        cwd=folder,
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def verdicts(command: Sequence[str | Path], folder: Path, cases: Sequence[Case]) -> list[bool]:
    """Let a program judge the cases: JSON in, a JSON list of verdicts out."""
    given = [{"secret": case.secret, "headers": case.headers, "body": b64encode(case.body).decode()} for case in cases]
    ended = run(command, folder, given=json.dumps(given))
    assert ended.returncode == 0, ended.stderr
    found: list[bool] = json.loads(ended.stdout)
    return found


Judge = Callable[[Sequence[Case]], list[bool]]


def python(folder: Path) -> Judge:
    (folder / "verifier.py").write_text(examples("Python", "python") + _PYTHON)
    return partial(verdicts, [sys.executable, "verifier.py"], folder)


def public_key(folder: Path) -> Judge:
    (folder / "verifier.py").write_text(examples("Public key, in Python", "python") + _PYTHON)
    return partial(verdicts, [sys.executable, "verifier.py"], folder)


def public_key_in_node(folder: Path) -> Judge:
    (folder / "verifier.mjs").write_text(examples("Public key, in Node", "js") + _NODE)
    return partial(verdicts, ["node", "verifier.mjs"], folder)


def node(folder: Path) -> Judge:
    (folder / "verifier.mjs").write_text(examples("Node", "js") + _NODE)
    return partial(verdicts, ["node", "verifier.mjs"], folder)


def go(folder: Path) -> Judge:
    (folder / "verifier.go").write_text(examples("Go", "go"))
    (folder / "driver.go").write_text(_GO)
    built = run(["go", "build", "-o", "verifier", "verifier.go", "driver.go"], folder)
    assert built.returncode == 0, built.stderr
    return partial(verdicts, [folder / "verifier"], folder)


def php(folder: Path) -> Judge:
    (folder / "verifier.php").write_text(examples("PHP", "php") + _PHP)
    return partial(verdicts, ["php", "verifier.php"], folder)


def openssl(folder: Path) -> Judge:
    (folder / "verifier.sh").write_text(examples("By hand", "bash") + '\nverify "$@"\n')

    def judge(cases: Sequence[Case]) -> list[bool]:
        return [_accepts(folder, case) for case in cases]

    return judge


def _accepts(folder: Path, case: Case) -> bool:
    (folder / "body").write_bytes(case.body)
    values = [case.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
    return run(["bash", "verifier.sh", case.secret, *values, "body"], folder).returncode == 0


_PYTHON: Final = """
import json
import sys
from base64 import b64decode

cases = json.load(sys.stdin)
print(json.dumps([verify(case["secret"], case["headers"], b64decode(case["body"])) for case in cases]))
"""
_NODE: Final = """
import { readFileSync } from "node:fs";

const cases = JSON.parse(readFileSync(0));
console.log(JSON.stringify(cases.map((c) => verify(c.secret, c.headers, Buffer.from(c.body, "base64")))));
"""
_PHP: Final = """
$cases = json_decode(file_get_contents('php://stdin'), true);
echo json_encode(array_map(fn ($c) => verify($c['secret'], $c['headers'], base64_decode($c['body'])), $cases));
"""
_GO: Final = """package main

import (
	"encoding/json"
	"net/http"
	"os"
)

func main() {
	var cases []struct {
		Secret  string
		Headers map[string]string
		Body    []byte
	}
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	verdicts := []bool{}
	for _, c := range cases {
		header := http.Header{}
		for name, value := range c.Headers {
			header.Set(name, value)
		}
		verdicts = append(verdicts, verify(c.Secret, header, c.Body))
	}
	json.NewEncoder(os.Stdout).Encode(verdicts)
}
"""
