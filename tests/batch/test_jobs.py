"""Job files: each by the target's own schema where one can be installed, the others as they were read and approved.

The approved files in ``golden/`` were read line by line against the documentation of Slurm (sbatch, scontrol) and of
SkyPilot (task YAML, managed jobs); SkyPilot's were taken by its own reader, ``sky.Task.from_yaml_config`` of 0.14.1,
in an environment apart: it wants a click older than 8.2, kolora one not older than 8.5.
``python -m tests.batch.test_jobs`` writes the approved files anew, to be read again.
"""

import json
import subprocess
import time
from pathlib import Path

import botocore.session
import botocore.validate
import kubernetes_validate
import pytest
import yaml
from alibabacloud_pai_dlc20201203.models import CreateJobRequest
from google.cloud import batch_v1
from kolora.batch.jobs import aws, dlc, gcp, kubernetes, skypilot, slurm
from kolora.batch.jobs.job import RETRYABLE, Job
from kolora.cli.emit import TARGETS
from kolora.errors import KoloraError

GOLDEN = Path(__file__).parent / "golden"
TEXT = "kolora: 1\ntitle: 渡灯\nscenes:\n  - prompt: 一只小猫\n"
PINNED = "registry.example/kolora@sha256:" + "0a" * 32
MODULES = tuple(TARGETS.values())
APPROVED = (slurm, skypilot)
"""The services without a schema that a test could hold their files against."""


def one(module):
    return module.emit(Job("ferry", "registry.example/kolora:1", {"ferry.yaml": TEXT}, 1, module.OUT, module.CACHE))


def many(module):
    stories = {"ferry.yaml": TEXT, "quickstart.yaml": None, "cat.yaml": TEXT}
    return module.emit(Job("kolora", PINNED, stories, 3, module.OUT, module.CACHE))


def test_what_a_retry_cures_is_what_the_contract_says():
    codes = {each.code for each in KoloraError.__subclasses__()} | {KoloraError.code}
    assert set(RETRYABLE) & codes == {69, 75}
    assert 65 not in RETRYABLE


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_target_runs_the_stories_and_brings_them(module):
    files = many(module)
    everything = "\n".join(files.values())
    assert "batch" in everything
    assert "quickstart.yaml" in everything
    assert everything.count("一只小猫") == 2
    assert "run" in "\n".join(one(module).values())


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_digest_that_names_the_image_reaches_the_run(module):
    told = "\n".join(many(module).values())
    assert told.count("KOLORA_IMAGE_DIGEST") == 1
    assert told.count(PINNED.partition("@")[2]) == 2
    assert "KOLORA_IMAGE_DIGEST" not in "\n".join(one(module).values())


@pytest.mark.parametrize("emit", [one, many])
def test_kubernetes_validates_and_retries_by_exit_code(emit):
    documents = list(yaml.safe_load_all(emit(kubernetes)["job.yaml"]))
    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    job = documents[-1]["spec"]
    rules = job["podFailurePolicy"]["rules"]
    assert rules[1] == {
        "action": "FailIndex",
        "onExitCodes": {"containerName": "kolora", "operator": "NotIn", "values": [69, 75, 143]},
    }
    # The API server refuses a list that is not in order.
    assert rules[1]["onExitCodes"]["values"] == sorted(RETRYABLE)
    pod = job["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]} >= {"/out", "/cache", "/stories"}
    assert pod["terminationGracePeriodSeconds"] >= 15
    assert documents[0]["data"]["ferry.yaml"] == TEXT


@pytest.mark.parametrize("emit", [one, many])
def test_aws_batch_validates_and_retries_by_exit_code(emit):
    files = emit(aws)
    definition, submission = json.loads(files["job-definition.json"]), json.loads(files["submit-job.json"])
    model = botocore.session.get_session().get_service_model("batch")
    for operation, body in (("RegisterJobDefinition", definition), ("SubmitJob", submission)):
        report = botocore.validate.ParamValidator().validate(body, model.operation_model(operation).input_shape)
        assert not report.has_errors(), report.generate_report()
    rules = definition["retryStrategy"]["evaluateOnExit"]
    assert len(rules) <= 5
    assert [rule["onExitCode"] for rule in rules if "onExitCode" in rule] == [str(code) for code in RETRYABLE]
    assert rules[-1] == {"onReason": "*", "action": "EXIT"}
    assert definition["retryStrategy"]["attempts"] <= 10
    assert {"type": "GPU", "value": "1"} in definition["containerProperties"]["resourceRequirements"]
    assert submission.get("arrayProperties") == ({"size": 3} if emit is many else None)


@pytest.mark.parametrize("emit", [one, many])
def test_gcp_batch_validates_and_retries_by_exit_code(emit):
    job = batch_v1.Job.from_json(emit(gcp)["job.json"], ignore_unknown_fields=False)
    (group,) = job.task_groups
    (policy,) = group.task_spec.lifecycle_policies
    assert policy.action == batch_v1.LifecyclePolicy.Action.RETRY_TASK
    assert set(policy.action_condition.exit_codes) == {*RETRYABLE, *gcp.MACHINE_GONE}
    assert 0 < group.task_spec.max_retry_count <= 10
    assert job.allocation_policy.instances[0].policy.accelerators[0].count == 1
    assert group.task_count == (3 if emit is many else 1)


@pytest.mark.parametrize("emit", [one, many])
def test_pai_dlc_validates_and_maps_what_is_to_be_retried(emit):
    body = json.loads(emit(dlc)["job.json"])
    request = CreateJobRequest().from_map(body)
    request.validate()
    assert_within(body, request.to_map())
    told = {}
    for code in (0, 65, 69, 75):
        command = body["UserCommand"].replace("kolora ", f"sh -c 'exit {code}' ")
        told[code] = subprocess.run(["sh", "-c", command], check=False, env={"RANK": "0", "WORLD_SIZE": "1"}).returncode
    assert told == {0: 0, 65: 65, 69: dlc.RETRY_CODE, 75: dlc.RETRY_CODE}


@pytest.mark.parametrize("code", [0, 65, 69, 75])
@pytest.mark.parametrize("restarts", [0, 5])
def test_the_slurm_script_requeues_what_a_retry_cures(tmp_path, code, restarts):
    left = play_slurm(tmp_path, f"exit {code}", restarts=restarts).wait()
    requeued = (tmp_path / "requeued").exists()
    assert requeued == (code in RETRYABLE and restarts < 5)
    assert left == (0 if requeued else code)


def test_the_slurm_script_hands_the_signal_on_and_waits(tmp_path):
    story = "trap 'sleep 0.3; exit 75' TERM; touch ready; while :; do sleep 0.05; done"
    script = play_slurm(tmp_path, story, restarts=5)
    while not (tmp_path / "ready").exists() and script.poll() is None:
        time.sleep(0.05)
    script.terminate()
    assert script.wait() == 75


@pytest.mark.parametrize("emit", [one, many])
@pytest.mark.parametrize("module", APPROVED, ids=lambda module: module.__name__.rpartition(".")[2])
def test_what_has_no_schema_is_as_it_was_approved(module, emit):
    for path, text in golden(module, emit).items():
        assert path.read_text(encoding="utf-8") == text, path


def test_a_skypilot_task_recovers_from_what_a_retry_cures_alone():
    task = yaml.safe_load(one(skypilot)["task.yaml"])
    recovery = task["resources"]["job_recovery"]
    assert recovery == {"recover_on_exit_codes": list(RETRYABLE)}
    assert "max_restarts_on_errors" not in recovery
    assert task["resources"]["accelerators"] == "L4:1"


def play_slurm(folder, story, *, restarts):
    """Run the script with stand-ins for Apptainer and scontrol."""
    for name, body in (("apptainer", story), ("scontrol", "touch requeued")):
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    (folder / "job.sbatch").write_text(one(slurm)["job.sbatch"])
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restarts)}
    return subprocess.Popen(["bash", "job.sbatch"], cwd=folder, env=environment)


def assert_within(given, read):
    """The service's client drops what it does not know: all that was given must come back."""
    if isinstance(given, dict):
        for key, value in given.items():
            assert key in read
            assert_within(value, read[key])
    elif isinstance(given, list):
        assert len(given) == len(read)
        for left, right in zip(given, read, strict=True):
            assert_within(left, right)
    else:
        assert given == read


def golden(module, emit):
    label = f"{module.__name__.rpartition('.')[2]}-{emit.__name__}"
    return {GOLDEN / f"{label}-{name}": text for name, text in emit(module).items() if "/" not in name}


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for emitting in APPROVED:
        for how in (one, many):
            for file, content in golden(emitting, how).items():
                file.write_text(content, encoding="utf-8")
