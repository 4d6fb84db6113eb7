# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The jobs of a GitLab pipeline, run as GitLab's shell executor runs them, one after the other.

A job gets the project's directory with the artifacts of the jobs before it, its variables, and a home of its own: what
is installed or cached in one job is not there in the next. ``before_script`` and ``script`` are one shell, which ends
at the first command that fails; ``after_script`` is another. Source: https://docs.gitlab.com/ci/yaml/ (stages, needs,
when, variables).
"""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping

import yaml

#: keys of a pipeline that are no jobs
_GLOBAL = ("stages", "variables", "workflow", "default", "include", "image", "before_script", "after_script")


@dataclass
class JobRun:
    name: str
    status: int
    output: str


@dataclass
class Runner:
    """``project``: the directory of the project; ``environment``: ``environment(home)``, what a machine gives a job
    whose home is ``home``; ``variables``: of the project, as they are set in GitLab's user interface."""

    project: Path
    environment: Callable[[Path], Mapping[str, str]]
    variables: Mapping[str, str] = field(default_factory=dict)
    runs: List[JobRun] = field(default_factory=list)

    def run(self, pipeline: Path, timeout: float = 300) -> List[JobRun]:
        """Every job in the order of the stages. After a failure only those run that run always."""
        document = yaml.safe_load(pipeline.read_text(encoding="utf-8"))
        failed, before = False, len(self.runs)
        for name, job in _in_order(document):
            if failed and job.get("when") != "always":
                continue
            done = self.run_job(name, job, document.get("variables") or {}, timeout)
            failed = failed or done.status != 0
        return self.runs[before:]

    def run_job(self, name: str, job: Mapping[str, Any], variables: Mapping[str, Any], timeout: float = 300) -> JobRun:
        home = self.project.parent / "jobs" / str(len(self.runs))
        home.mkdir(parents=True)
        environment = {
            **self.environment(home),
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_PROJECT_DIR": str(self.project),
            "CI_JOB_NAME": name,
            "CI_PIPELINE_ID": "1",
            "CI_JOB_ID": str(len(self.runs)),
            **self.variables,
            **{key: str(value) for key, value in {**variables, **(job.get("variables") or {})}.items()},
        }
        lines = [*(job.get("before_script") or []), *(job.get("script") or [])]
        done = self._shell(lines, environment, timeout)
        after = self._shell(job.get("after_script") or [], environment, timeout)
        self.runs.append(JobRun(name, done.returncode, done.stdout + after.stdout))
        return self.runs[-1]

    def _shell(
        self, lines: List[str], environment: Mapping[str, str], timeout: float
    ) -> "subprocess.CompletedProcess[str]":
        # a pipe for standard input, never /dev/null: see SpackInstance.popen
        return subprocess.run(
            ["bash", "--norc", "-c", "\n".join(["set -eo pipefail", *lines])],
            input="",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self.project,
            env=dict(environment),
            timeout=timeout,
        )


def _in_order(document: Mapping[str, Any]) -> List[Any]:
    """(name, job) by stage; in one stage in the order in which they are written."""
    default: Dict[str, Any] = document.get("default") or {}
    stages = document.get("stages") or ["build", "test", "deploy"]
    jobs = [(name, {**default, **job}) for name, job in document.items() if _is_job(name, job)]
    return sorted(jobs, key=lambda item: stages.index(item[1].get("stage", "test")))


def _is_job(name: str, job: Any) -> bool:
    return name not in _GLOBAL and not name.startswith(".") and isinstance(job, dict)


def machine_environment() -> Dict[str, str]:
    keep = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
    return {key: os.environ[key] for key in keep if key in os.environ}


def spack_yaml(specs: List[str], mirrors: Mapping[str, Any], **sections: Any) -> str:
    """The text of an environment's file, as JSON, which is YAML."""
    return json.dumps({"spack": {"specs": specs, "mirrors": mirrors, "view": False, **sections}}, indent=1) + "\n"
