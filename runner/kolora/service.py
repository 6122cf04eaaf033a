"""Which batch service runs this process, by its environment: the run, the attempt, and the share of the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kolora.errors import UsageError
from kolora.redaction import redact


@dataclass(frozen=True)
class Variables:
    """What a service calls its variables; ``first`` is the number that its first attempt has."""

    service: str
    run: str
    attempt: str = ""
    first: int = 0
    index: str = ""
    count: str = ""


SERVICES = (
    Variables(
        "AWS Batch",
        run="AWS_BATCH_JOB_ID",
        attempt="AWS_BATCH_JOB_ATTEMPT",
        first=1,
        index="AWS_BATCH_JOB_ARRAY_INDEX",
        count="AWS_BATCH_JOB_ARRAY_SIZE",
    ),
    Variables(
        "Google Cloud Batch",
        run="BATCH_JOB_UID",
        attempt="BATCH_TASK_RETRY_ATTEMPT",
        index="BATCH_TASK_INDEX",
        count="BATCH_TASK_COUNT",
    ),
    # A pod's host name is the pod's own name.
    Variables("Kubernetes", run="HOSTNAME", index="JOB_COMPLETION_INDEX"),
    Variables(
        "Slurm",
        run="SLURM_JOB_ID",
        attempt="SLURM_RESTART_COUNT",
        index="SLURM_ARRAY_TASK_ID",
        count="SLURM_ARRAY_TASK_COUNT",
    ),
    Variables("SkyPilot", run="SKYPILOT_TASK_ID", index="SKYPILOT_JOB_RANK", count="SKYPILOT_NUM_JOBS"),
)
"""The first whose variables are there is the service: AWS Batch on Kubernetes sets Kubernetes' variables too."""

OWN = Variables(
    "",
    run="KOLORA_RUN_ID",
    attempt="KOLORA_ATTEMPT",
    first=1,
    index="KOLORA_SHARD_INDEX",
    count="KOLORA_SHARD_COUNT",
)
"""Ours: they complete what a service does not say, and overrule it."""


@dataclass(frozen=True)
class Service:
    """The service, its id of the run, which attempt this is (from 1), and the shard: ``index`` of ``count``, from 0.

    What the service does not say is None.
    """

    name: str | None = None
    run: str | None = None
    attempt: int | None = None
    index: int | None = None
    count: int | None = None


def find_service(environment: Mapping[str, str]) -> Service | None:
    """Read who runs this process; None where no batch service says so."""
    theirs = next((each for each in SERVICES if _is_present(each, environment)), OWN)
    if not _is_present(theirs, environment):
        return None
    index = _number(OWN.index, environment)
    if index is None:
        index = _slurm_index(environment) if theirs.service == "Slurm" else _number(theirs.index, environment)
    attempt = _attempt(OWN, environment)
    return Service(
        name=theirs.service or None,
        run=redact(environment.get(OWN.run) or environment.get(theirs.run) or "") or None,
        attempt=_attempt(theirs, environment) if attempt is None else attempt,
        index=index,
        count=_number(OWN.count, environment) or _number(theirs.count, environment),
    )


def find_shard(environment: Mapping[str, str]) -> tuple[int, int]:
    """Read which share of the work is this process's, ``index`` (from 0) of ``count``; (0, 1) where all of it is.

    Raises UsageError where the service says half of it: work would be done twice, or by nobody.
    """
    service = find_service(environment)
    if service is None or (service.index is None and service.count in (None, 1)):
        return 0, 1
    index, count = service.index, service.count
    if index is None or count is None or index >= count:
        raise UsageError(
            f"shard {'?' if index is None else index} of {'?' if count is None else count}, says the environment of "
            f"{service.name or 'kolora'}; expected an index from 0 and a larger count",
            hint=f"set {OWN.index} and {OWN.count}",
        )
    return index, count


def _is_present(variables: Variables, environment: Mapping[str, str]) -> bool:
    """Say whether a service has set its variables; a host's name alone may come from anything."""
    names = {variables.run, variables.attempt, variables.index, variables.count} - {"", "HOSTNAME"}
    return any(environment.get(name) for name in names)


def _attempt(variables: Variables, environment: Mapping[str, str]) -> int | None:
    value = _number(variables.attempt, environment)
    return None if value is None else value + 1 - variables.first


def _slurm_index(environment: Mapping[str, str]) -> int | None:
    """Number an array's tasks from 0, which Slurm lets begin anywhere, in steps; a list with holes has no numbers."""
    task, least, most, step, count = (
        _number(f"SLURM_ARRAY_TASK_{name}", environment) for name in ("ID", "MIN", "MAX", "STEP", "COUNT")
    )
    if task is None or least is None or most is None or count is None:
        return task
    index, rest = divmod(task - least, step or 1)
    return index if rest == 0 and (most - least) // (step or 1) + 1 == count else None


def _number(name: str, environment: Mapping[str, str]) -> int | None:
    value = environment.get(name, "") if name else ""
    return int(value) if value.isdecimal() else None
