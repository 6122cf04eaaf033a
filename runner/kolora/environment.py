"""The process's environment variables: every one that kolora sets, for whom, and why. No other module sets any.

Libraries read most of them once, when they are loaded, so ``set_environment`` comes before anything heavy. What the
user has set stays.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Variable(NamedTuple):
    """One variable, and why it has this value."""

    name: str
    value: str
    why: str


DEFAULTS = (
    Variable("CUBLAS_WORKSPACE_CONFIG", ":4096:8", "cuBLAS repeats its bits only in a workspace of one fixed size"),
    Variable("GOMP_SPINCOUNT", "1000", "torch's waiting threads sleep, instead of keeping busy cores from each other"),
    Variable("NCCL_SOCKET_IFNAME", "lo", "the processes of a training are on one host and need no network"),
    Variable("GLOO_SOCKET_IFNAME", "lo", "as for NCCL"),
    Variable("MODELSCOPE_DOWNLOAD_MAX_RETRIES", "0", "one layer tries again: kolora.hubs.retry"),
    Variable("MODELSCOPE_API_MAX_RETRIES", "1", "as above"),
    Variable("MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS", "1", "as above"),
    Variable("MODELSCOPE_LOG_LEVEL", "ERROR", "no lines of the client between ours"),
    Variable("HF_HUB_DISABLE_XET", "1", "plain HTTP can be continued after a cut"),
    Variable("HF_HUB_DISABLE_TELEMETRY", "1", "a story's machine tells nobody anything"),
    Variable("HF_HUB_VERBOSITY", "error", "no lines of the client between ours"),
    Variable("RAY_USAGE_STATS_ENABLED", "0", "a story's machine tells nobody anything"),
    Variable("TOKENIZERS_PARALLELISM", "false", "processes are started after a tokenizer was used"),
    Variable("TQDM_DISABLE", "1", "no progress bars between our lines"),
    Variable("TRANSFORMERS_VERBOSITY", "error", "no lines of the library between ours"),
)

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
"""What keeps the libraries off the network when it is ``1``."""

PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "SYSTEMROOT")
"""All that an isolated process sees of this one's environment: no tokens, no proxies, nobody's caches."""

_CACHES = ("XDG_CACHE_HOME", "CACHE_HOME", "DATA_JUICER_CACHE_HOME", "HF_HOME", "MODELSCOPE_CACHE", "TORCH_HOME")
"""Where libraries keep files of their own."""


def set_environment() -> None:
    """Set what every process of kolora needs; calling it again changes nothing."""
    for name, value, _ in DEFAULTS:
        # OMP_WAIT_POLICY is the standard's own word on how threads wait, and would be overruled by GCC's.
        if name != "GOMP_SPINCOUNT" or "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault(name, value)


def keep_kernels(choose: Callable[[], Path]) -> None:
    """Have Triton keep what it compiles in the chosen folder; it looks whenever a kernel is first used."""
    if not os.environ.get("TRITON_CACHE_DIR"):
        # Without a home or room for a folder there are no kernels, as is said where they are needed.
        with suppress(RuntimeError, OSError):
            os.environ["TRITON_CACHE_DIR"] = str(choose())


def go_offline() -> None:
    """Keep the libraries off the network, whatever was set before; to be called before they are loaded."""
    os.environ.update(dict.fromkeys(OFFLINE, "1"))


def limit_threads(count: int) -> None:
    """Compute on a CPU with ``count`` threads; read when torch is loaded. A number that the user set stays."""
    os.environ.setdefault("OMP_NUM_THREADS", str(count))


def isolated_environment(scratch: Path, *, packages: Path) -> dict[str, str]:
    """Build the environment of a process that sees no cache, no token, no network and no GPU.

    scratch: a folder for all that it writes. packages: the folder that kolora is imported from. On the CPU an operator
    with a model decides the same on every machine.
    """
    home = str(scratch)
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        "PYTHONPATH": str(packages),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        **dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR", *_CACHES), home),
        **dict.fromkeys(OFFLINE, "1"),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
