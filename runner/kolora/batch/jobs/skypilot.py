"""SkyPilot: a managed job whose machine runs the image; the volumes are buckets with a cache on the machine's disk."""

from __future__ import annotations

import shlex

from kolora.batch.jobs.job import CPUS, DISK_GIB, MEMORY_GIB, RETRYABLE, STORIES, Files, Job, as_yaml
from kolora.hubs.hub import HUBS

OUT, CACHE = "s3://kolora-out", "s3://kolora-cache"
PASSED_ON = (
    *("SKYPILOT_TASK_ID", "SKYPILOT_JOB_RANK", "SKYPILOT_NUM_JOBS"),
    *sorted(hub.token for hub in HUBS.values()),
)
"""Variables that go on into the container: of the service, and every hub's token."""


def emit(job: Job) -> Files:
    """Write ``task.yaml`` for ``sky jobs launch``; the stories lie beside it."""
    assignments = [shlex.quote(f"{name}={value}") for name, value in job.variables.items()]
    variables = " ".join(f"-e {variable}" for variable in (*PASSED_ON, *assignments))
    mounts: dict[str, object] = {
        # A plain mount of a bucket knows no atomic renames, which results stand on.
        "/out": {"source": job.out, "mode": "MOUNT_CACHED"},
        "/cache": {"source": job.cache, "mode": "MOUNT_CACHED"},
    }
    volumes = "-v /out:/out -v /cache:/cache"
    if job.texts:
        mounts[STORIES] = "./stories"
        volumes += f" -v {STORIES}:{STORIES}:ro"
    image, command = shlex.quote(job.image), job.line().removeprefix("kolora ")
    task = {
        "name": job.name,
        "resources": {
            "accelerators": "L4:1",
            "cpus": f"{CPUS}+",
            "memory": f"{MEMORY_GIB}+",
            "disk_size": DISK_GIB,
            "use_spot": True,
            "job_recovery": {"recover_on_exit_codes": list(RETRYABLE)},
        },
        "file_mounts": mounts,
        "run": f"docker run --rm --gpus all --user $(id -u):0 {volumes} {variables} {image} {command}\n",
    }
    launch = "sky jobs launch task.yaml"
    if job.tasks > 1:
        launch = f"sky jobs launch --pool POOL --num-jobs {job.tasks} task.yaml"
    return {"task.yaml": as_yaml(task, head=launch), **{f"stories/{name}": text for name, text in job.texts.items()}}
