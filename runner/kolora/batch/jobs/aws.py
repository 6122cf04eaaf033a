"""AWS Batch: a job definition and its submission; the volumes are folders of EFS file systems."""

from __future__ import annotations

from typing import Any

from kolora.batch.jobs.job import CPUS, GID, HOURS, MEMORY_GIB, RETRIES, RETRYABLE, UID, Files, Job, as_json

OUT, CACHE = "fs-00000000000000000", "fs-00000000000000000"
"""EFS file systems; both may be the same."""


def emit(job: Job) -> Files:
    """Write what ``aws batch register-job-definition`` and ``submit-job`` take with ``--cli-input-json``."""
    volumes = [
        {
            "name": name,
            "efsVolumeConfiguration": {
                "fileSystemId": system,
                "rootDirectory": f"/kolora/{name}",
                "transitEncryption": "ENABLED",
            },
        }
        for name, system in (("out", job.out), ("cache", job.cache))
    ]
    definition = {
        "jobDefinitionName": job.name,
        "type": "container",
        "platformCapabilities": ["EC2"],
        "containerProperties": {
            "image": job.image,
            "command": job.arguments("/out/stories"),
            "environment": [{"name": name, "value": value} for name, value in job.variables.items()],
            "user": f"{UID}:{GID}",
            "readonlyRootFilesystem": True,
            "resourceRequirements": [
                {"type": "GPU", "value": "1"},
                {"type": "VCPU", "value": str(CPUS)},
                # A little less than the machine has: the agent takes its own part of it.
                {"type": "MEMORY", "value": str((MEMORY_GIB - 2) * 1024)},
            ],
            "linuxParameters": {"tmpfs": [{"containerPath": "/tmp", "size": 2048}]},  # noqa: S108 - the container's own
            "volumes": volumes,
            "mountPoints": [
                {"sourceVolume": name, "containerPath": f"/{name}", "readOnly": False} for name in ("out", "cache")
            ],
        },
        "retryStrategy": {
            "attempts": RETRIES + 1,
            "evaluateOnExit": [
                {"onStatusReason": "Host EC2*", "action": "RETRY"},
                *({"onExitCode": str(code), "action": "RETRY"} for code in RETRYABLE),
                # What matches nothing is retried: the last rule must match everything.
                {"onReason": "*", "action": "EXIT"},
            ],
        },
        "timeout": {"attemptDurationSeconds": HOURS * 3600},
    }
    submission: dict[str, Any] = {"jobName": job.name, "jobQueue": "kolora", "jobDefinition": job.name}
    if job.tasks > 1:
        submission["arrayProperties"] = {"size": job.tasks}
    return {
        "job-definition.json": as_json(definition),
        "submit-job.json": as_json(submission),
        **{f"stories/{name}": text for name, text in job.texts.items()},
    }
