"""Google Cloud Batch: a job of container tasks on spot machines with one L4; the volumes are NFS shares."""

from __future__ import annotations

from typing import Any

from kolora.batch.jobs.job import CPUS, GID, HOURS, MEMORY_GIB, RETRIES, RETRYABLE, UID, Files, Job, as_json

OUT, CACHE = "10.0.0.2:/kolora/out", "10.0.0.2:/kolora/cache"
"""NFS shares, as of Filestore: a bucket mounted as a folder knows no atomic renames, which results stand on."""
MACHINE_GONE = (50001, 50002, 50003)
"""Codes that Batch itself gives for a preempted, a silent and a rebooted machine."""


def emit(job: Job) -> Files:
    """Write what ``gcloud batch jobs submit --config`` takes."""
    container = {
        "imageUri": job.image,
        "commands": job.arguments("/out/stories"),
        "volumes": ["/mnt/disks/out:/out:rw", "/mnt/disks/cache:/cache:rw"],
        "options": f"--gpus all --user {UID}:{GID} --read-only --tmpfs /tmp --cap-drop ALL",
    }
    # 4 GiB less than the machine has: its own system takes some, and a task that asks for all is never placed.
    spec = {
        "runnables": [{"container": container, "environment": {"variables": job.variables}}],
        "computeResource": {"cpuMilli": CPUS * 1000, "memoryMib": (MEMORY_GIB - 4) * 1024},
        "maxRunDuration": f"{HOURS * 3600}s",
        "maxRetryCount": RETRIES,
        "lifecyclePolicies": [
            {"action": "RETRY_TASK", "actionCondition": {"exitCodes": [*RETRYABLE, *MACHINE_GONE]}},
        ],
        "volumes": [
            {"nfs": _share(share), "mountPath": f"/mnt/disks/{name}"}
            for name, share in (("out", job.out), ("cache", job.cache))
        ],
    }
    policy = {
        "machineType": "g2-standard-8",
        "accelerators": [{"type": "nvidia-l4", "count": 1}],
        "provisioningModel": "SPOT",
        "bootDisk": {"sizeGb": 100},
    }
    document = {
        "taskGroups": [{"taskCount": job.tasks, "parallelism": job.tasks, "taskSpec": spec}],
        "allocationPolicy": {"instances": [{"installGpuDrivers": True, "policy": policy}]},
        "logsPolicy": {"destination": "CLOUD_LOGGING"},
        "labels": {"app": "kolora"},
    }
    return {"job.json": as_json(document), **{f"stories/{name}": text for name, text in job.texts.items()}}


def _share(share: str) -> dict[str, Any]:
    server, _, path = share.partition(":")
    return {"server": server, "remotePath": path}
