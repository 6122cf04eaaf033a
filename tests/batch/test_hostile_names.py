"""Names of images, volumes and stories are words of a job's script, and no part of its program."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from kolora.batch.jobs import aws, dlc, gcp, kubernetes, skypilot, slurm
from kolora.batch.jobs.job import Job
from kolora.cli.emit import TARGETS

ACTS = (
    "$(touch canary)",
    "`touch canary`",
    "; touch canary;",
    "| touch canary #",
    "&& touch canary",
    "\ntouch canary\n",
    "' ; touch canary ; '",
    '" ; touch canary ; "',
    "\\'; touch canary; \\'",
    "> canary",
    "${PATH} $HOME",
    "#SBATCH --wrap",
    "$(HF_TOKEN)",
    "x: {y: !!python/object/apply:os.system [touch canary]}",
    "- &a [*a]",
    "</script><script>",
)


def hostile(act: str, module) -> Job:
    """Put the act wherever a name goes; the job's own name and its stories' are slugs by then, but are tried too."""
    stories = {f"a{act}b.yaml".replace("/", "_"): "kolora: 1\n", "quickstart.yaml": None}
    return Job("job", f"image{act}@sha256:{act}", stories, 2, f"{module.OUT}{act}", f"{module.CACHE}{act}")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Stand in for what the scripts start: each notes how it was called, and does nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("apptainer", "docker", "scontrol", "kolora"):
        (folder / name).write_text('#!/bin/sh\nprintf "%s\\0" "$@" >> "$CALLS"\n', encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("module", [slurm, skypilot, dlc], ids=["slurm", "skypilot", "dlc"])
def test_a_script_runs_nothing_but_the_image(act: str, module, tools: Path, tmp_path: Path) -> None:
    job = hostile(act, module)
    files = module.emit(job)
    script = {
        slurm: lambda: files["job.sbatch"],
        skypilot: lambda: yaml.safe_load(files["task.yaml"])["run"],
        dlc: lambda: json.loads(files["job.json"])["UserCommand"],
    }[module]()
    calls = tmp_path / "calls"
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls), "SLURM_SUBMIT_DIR": str(tmp_path)}
    environment |= {"HF_TOKEN": "hf_told", "RANK": "0", "WORLD_SIZE": "1"}
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, check=False, capture_output=True, timeout=60)
    assert not (tmp_path / "canary").exists()
    words = calls.read_text(encoding="utf-8").split("\0")
    assert any(f"a{act}b.yaml".replace("/", "_") in word for word in words)
    assert module is dlc or any(word.endswith(job.image) for word in words)
    assert not any("hf_told" in word for word in words)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("module", TARGETS.values(), ids=list(TARGETS))
def test_documents_say_the_names_and_nothing_else(act: str, module) -> None:
    job = hostile(act, module)
    for name, text in module.emit(job).items():
        if name.endswith(".json"):
            document = json.loads(text)
        elif name.endswith(".yaml") and not name.startswith("stories/"):
            document = list(yaml.safe_load_all(text))
        else:
            continue
        plain = json.dumps(document, ensure_ascii=False)
        assert "job" in plain
        if module in (aws, gcp, kubernetes) and name != "submit-job.json":
            assert json.dumps(act, ensure_ascii=False)[1:-1] in plain.replace("$$(", "$(")


def test_kubernetes_puts_no_token_into_an_argument() -> None:
    (_, job) = yaml.safe_load_all(kubernetes.emit(hostile("$(HF_TOKEN)", kubernetes))["job.yaml"])
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [each for each in arguments if "$(HF_TOKEN)" in each.replace("$$(", "")] == []
    assert any("$$(HF_TOKEN)" in each for each in arguments)
