"""Reading a batch service's variables: run, attempt and shard of each, and half a shard is an error."""

import pytest
from kolora.errors import UsageError
from kolora.service import Service, find_service, find_shard

AWS = {
    "AWS_BATCH_JOB_ID": "4e2f:3",
    "AWS_BATCH_JOB_ATTEMPT": "2",
    "AWS_BATCH_JOB_ARRAY_INDEX": "3",
    "AWS_BATCH_JOB_ARRAY_SIZE": "10",
}
SLURM = {
    "SLURM_JOB_ID": "812",
    "SLURM_RESTART_COUNT": "1",
    "SLURM_ARRAY_TASK_ID": "7",
    "SLURM_ARRAY_TASK_MIN": "1",
    "SLURM_ARRAY_TASK_MAX": "9",
    "SLURM_ARRAY_TASK_STEP": "2",
    "SLURM_ARRAY_TASK_COUNT": "5",
}


@pytest.mark.parametrize(
    ("environment", "service"),
    [
        (AWS, Service("AWS Batch", "4e2f:3", 2, 3, 10)),
        (AWS | {"JOB_COMPLETION_INDEX": "5", "HOSTNAME": "pod"}, Service("AWS Batch", "4e2f:3", 2, 3, 10)),
        (
            {
                "BATCH_JOB_UID": "j-1",
                "BATCH_TASK_RETRY_ATTEMPT": "0",
                "BATCH_TASK_INDEX": "0",
                "BATCH_TASK_COUNT": "1",
            },
            Service("Google Cloud Batch", "j-1", 1, 0, 1),
        ),
        (
            {"JOB_COMPLETION_INDEX": "2", "KOLORA_SHARD_COUNT": "4", "HOSTNAME": "story-2-x7k2p"},
            Service("Kubernetes", "story-2-x7k2p", None, 2, 4),
        ),
        (SLURM, Service("Slurm", "812", 2, 3, 5)),
        ({"SLURM_JOB_ID": "813"}, Service("Slurm", "813", None, None, None)),
        (
            {"SKYPILOT_TASK_ID": "sky-1", "SKYPILOT_JOB_RANK": "1", "SKYPILOT_NUM_JOBS": "2"},
            Service("SkyPilot", "sky-1", None, 1, 2),
        ),
        (
            {"KOLORA_RUN_ID": "mine", "KOLORA_ATTEMPT": "3", "KOLORA_SHARD_INDEX": "1", "KOLORA_SHARD_COUNT": "2"},
            Service(None, "mine", 3, 1, 2),
        ),
        (AWS | {"KOLORA_SHARD_INDEX": "0", "KOLORA_SHARD_COUNT": "2"}, Service("AWS Batch", "4e2f:3", 2, 0, 2)),
        ({"HOSTNAME": "laptop"}, None),
        ({}, None),
    ],
)
def test_every_service_is_read(environment, service):
    assert find_service(environment) == service


def test_without_a_service_all_the_work_is_ours():
    assert find_shard({}) == (0, 1)
    assert find_shard({"SLURM_JOB_ID": "813"}) == (0, 1)
    assert find_shard(AWS) == (3, 10)


@pytest.mark.parametrize(
    "environment",
    [
        {"JOB_COMPLETION_INDEX": "2"},
        {"KOLORA_SHARD_COUNT": "4"},
        {"KOLORA_SHARD_INDEX": "4", "KOLORA_SHARD_COUNT": "4"},
        {"KOLORA_SHARD_INDEX": "one", "KOLORA_SHARD_COUNT": "4"},
        SLURM | {"SLURM_ARRAY_TASK_STEP": "1", "SLURM_ARRAY_TASK_COUNT": "3"},
    ],
)
def test_half_a_shard_is_an_error(environment):
    with pytest.raises(UsageError, match="expected an index from 0"):
        find_shard(environment)
