"""PAI-DLC: the body of a CreateJob call; the volumes are NAS file systems, the exit codes are put in its own terms."""

from __future__ import annotations

from kolora.batch.jobs.job import GRACE_SECONDS, HOURS, RETRYABLE, Files, Job, as_json

OUT, CACHE = "nas://0000000000.cn-hangzhou/kolora/out", "nas://0000000000.cn-hangzhou/kolora/cache"
"""NAS file systems: OSS mounted as a folder knows no atomic renames, which results stand on."""
RETRY_CODE = 138
"""With the restart policy ExitCode, codes under 128 end the job and those above restart the pod."""


def emit(job: Job) -> Files:
    """Write ``job.json``, the body of CreateJob."""
    codes = " | ".join(map(str, RETRYABLE))
    command = (
        # WORLD_SIZE and RANK count nodes here, each of which has its own share of the stories.
        f"export KOLORA_SHARD_INDEX=$RANK KOLORA_SHARD_COUNT=$WORLD_SIZE; {job.line('/out/stories')}; code=$?; "
        f"case $code in {codes}) exit {RETRY_CODE} ;; esac; exit $code"
    )
    document = {
        "DisplayName": job.name,
        "JobType": "PyTorchJob",
        "WorkspaceId": "00000",
        "JobMaxRunningTimeMinutes": HOURS * 60,
        "JobSpecs": [
            {
                "Type": "Worker",
                "PodCount": job.tasks,
                "Image": job.image,
                "EcsSpec": "ecs.gn7i-c8g1.2xlarge",
                "RestartPolicy": "ExitCode",
            }
        ],
        "DataSources": [
            {"Uri": job.out, "MountPath": "/out", "MountAccess": "RW"},
            {"Uri": job.cache, "MountPath": "/cache", "MountAccess": "RW"},
        ],
        "Envs": job.variables,
        "UserCommand": command,
        "Settings": {"TerminationGracePeriodSeconds": GRACE_SECONDS},
    }
    return {"job.json": as_json(document), **{f"stories/{name}": text for name, text in job.texts.items()}}
