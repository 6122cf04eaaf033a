"""What Data-Juicer may not do here: install packages, start programs, reach the network."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

_PROGRAMS = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn"})
_NETWORK = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"})


class PackageAbsent(ImportError):
    """An operator needs a package that is not installed."""


def forbid() -> None:
    """Close the doors of this process, for good; to be called before data_juicer is imported.

    Data-Juicer 1.6.1 answers a missing package with pip, in its LazyLoader and in some operators by hand. A run that
    installs is not the run that was locked, so both end in an error here.
    """
    sys.addaudithook(_refuse)
    _skip_executors()


def forbid_installing(lazy_loader: Any) -> None:
    """Make data_juicer's LazyLoader name the package that is missing instead of installing it."""

    def refuse(package: str, pip_args: object = None) -> NoReturn:
        raise PackageAbsent(f"the package '{package}' is not installed")

    lazy_loader._install_package = staticmethod(refuse)


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event in _PROGRAMS:
        # Not all arguments: the environment is among them.
        raise PermissionError(f"filters may not start programs: {arguments[:2]}")
    if event in _NETWORK:
        raise PermissionError(f"filters may not reach the network: {arguments[1:] or arguments}")


def _skip_executors() -> None:
    """Let `data_juicer.core.data` load without `data_juicer/core/__init__.py`.

    Every operator imports `data_juicer.core.data`; the package above it imports the Ray executor, which needs Ray
    even where nobody asked for a cluster.
    """
    found = importlib.util.find_spec("data_juicer")
    if found is None or found.origin is None:
        raise PackageAbsent("the package 'py-data-juicer' is not installed")
    core = ModuleType("data_juicer.core")
    core.__path__ = [str(Path(found.origin).parent / "core")]
    sys.modules["data_juicer.core"] = core
