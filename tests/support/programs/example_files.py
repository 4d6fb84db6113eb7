# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The shell steps of ``examples/`` and of ``docs/ci.md``, extracted so that tests can run them."""

import re
import shlex
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Tuple

import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
EXAMPLES = REPOSITORY / "examples"
#: what gets Spack and this package onto a machine: the tests have them
SETUP = re.compile(r"^(?:\S*git clone |python3 -m pip install ).*$", re.MULTILINE)
_EXPRESSION = re.compile(r"\$\{\{\s*([\w.]+)\s*\}\}")
_OURS = re.compile(r"\bspack(?:-oci| (?:-e \S+ )?oci)\b")
#: words that end a command of a shell
_ENDS = {"&&", "||", "|", ";", ">", ">>", "<"}


def without_setup(text: str) -> str:
    """``text`` without the lines that bring Spack and this package; there must be some."""
    assert SETUP.search(text), f"nothing is set up in {text!r}"
    return SETUP.sub(":", text)


def filled(value: Any, values: Mapping[str, str]) -> Any:
    """``${{ NAME }}`` of GitHub replaced, everywhere in a document. KeyError for what is not in ``values``."""
    if isinstance(value, str):
        return _EXPRESSION.sub(lambda match: values[match.group(1)], value)
    if isinstance(value, dict):
        return {key: filled(item, values) for key, item in value.items()}
    return [filled(item, values) for item in value] if isinstance(value, list) else value


def github_steps(workflow: Dict[str, Any], job: str) -> Iterator[Tuple[str, str, Dict[str, str]]]:
    """(name, script, environment) of each step of a job that runs something."""
    described = workflow["jobs"][job]
    shared = {**(workflow.get("env") or {}), **(described.get("env") or {})}
    for step in described["steps"]:
        if "run" in step:
            yield step.get("name", ""), step["run"], {**shared, **(step.get("env") or {})}


def container_commands(text: str) -> List[str]:
    """What the RUN instructions of a Containerfile run, without their mounts; in the order of the file."""
    joined = re.sub(r"\\\n\s*", " ", text)
    runs = [line[len("RUN ") :] for line in joined.splitlines() if line.startswith("RUN ")]
    return [re.sub(r"--mount=\S+\s+", "", run) for run in runs]


def files() -> List[Path]:
    return sorted(path for path in EXAMPLES.rglob("*") if path.is_file())


def command_lines() -> List[Tuple[str, List[str]]]:
    """(where, words after the program) of each call of ours in examples and docs/ci.md; first word: the program."""
    found = []
    for path in [*files(), REPOSITORY / "docs" / "ci.md"]:
        if path.name == "README.md":
            continue
        text = re.sub(r"\\\n\s*", " ", path.read_text())
        if path.suffix == ".md":
            text = "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL))
        for line in text.replace("$(CACHE)", "$CACHE").splitlines():
            line = line.partition(" #")[0]
            if line.startswith("#") or "pip install" in line or "name:" in line:
                continue
            for match in _OURS.finditer(line):
                words = _words(line[match.end() :])
                if words:
                    program = "spack-oci" if match.group().startswith("spack-oci") else "spack oci"
                    found.append((f"{path.relative_to(REPOSITORY)}: {line.strip()}", [program, *words]))
    return found


def _words(text: str) -> List[str]:
    if not text.startswith(" "):  # `spack-oci[sign]`, a path
        return []
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if word in _ENDS:
            break
        words.append(word)
    return words


def load(path: Path, **replace: str) -> Any:
    text = path.read_text()
    for old, new in replace.items():
        text = text.replace(old, new)
    return yaml.safe_load(text)
