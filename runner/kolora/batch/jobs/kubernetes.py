"""Kubernetes: an Indexed Job that counts failures by index, and the stories as a ConfigMap."""

from __future__ import annotations

from kolora.batch.jobs.job import (
    CPUS,
    GID,
    GRACE_SECONDS,
    HOURS,
    MEMORY_GIB,
    RETRIES,
    RETRYABLE,
    STORIES,
    UID,
    Files,
    Job,
    as_yaml,
)

OUT, CACHE = "kolora-out", "kolora-cache"
"""PersistentVolumeClaims."""


def emit(job: Job) -> Files:
    """Write ``job.yaml`` for ``kubectl apply -f``."""
    volumes = [
        {"name": "out", "persistentVolumeClaim": {"claimName": job.out}},
        {"name": "cache", "persistentVolumeClaim": {"claimName": job.cache}},
        {"name": "tmp", "emptyDir": {}},
    ]
    mounts: list[dict[str, object]] = [
        {"name": "out", "mountPath": "/out"},
        {"name": "cache", "mountPath": "/cache"},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own
    ]
    documents = []
    if job.texts:
        documents.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{job.name}-stories"}, "data": job.texts}
        )
        volumes.append({"name": "stories", "configMap": {"name": f"{job.name}-stories"}})
        mounts.append({"name": "stories", "mountPath": STORIES, "readOnly": True})
    container = {
        "name": "kolora",
        "image": job.image,
        # Kubernetes puts variables, tokens among them, where it reads $(NAME).
        "args": [each.replace("$(", "$$(") for each in job.arguments()],
        "env": [
            {"name": "KOLORA_RUN_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "KOLORA_SHARD_COUNT", "value": str(job.tasks)},
            *({"name": name, "value": value} for name, value in job.variables.items()),
        ],
        "envFrom": [{"secretRef": {"name": "kolora-tokens", "optional": True}}],
        "resources": {
            "requests": {"cpu": str(CPUS), "memory": f"{MEMORY_GIB}Gi"},
            "limits": {"memory": f"{MEMORY_GIB}Gi", "nvidia.com/gpu": 1},
        },
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {"runAsNonRoot": True, "runAsUser": UID, "runAsGroup": GID, "fsGroup": GID},
        "containers": [container],
        "volumes": volumes,
    }
    codes = list(RETRYABLE)
    documents.append(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": job.name, "labels": {"app.kubernetes.io/name": "kolora"}},
            "spec": {
                "completionMode": "Indexed",
                "completions": job.tasks,
                "parallelism": job.tasks,
                "backoffLimitPerIndex": RETRIES,
                "activeDeadlineSeconds": HOURS * 3600,
                "podFailurePolicy": {
                    "rules": [
                        # A node that goes away is not the story's failure, and is not counted as one.
                        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                        {
                            "action": "FailIndex",
                            "onExitCodes": {"containerName": "kolora", "operator": "NotIn", "values": codes},
                        },
                    ]
                },
                "template": {"metadata": {"labels": {"app.kubernetes.io/name": "kolora"}}, "spec": pod},
            },
        }
    )
    return {"job.yaml": as_yaml(*documents, head="kubectl apply -f job.yaml")}
