"""Several processes of one host, each with its device, that train one LoRA together: the main one, and its workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any, cast

import torch
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from kolora.errors import DeviceUnusable, KoloraError

_HOST = "127.0.0.1"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What asks a run to stop. Only the main process listens: it saves, then ends its workers, which hold no state."""
_PAUSE = 0.0005
"""Seconds between two looks at a device that is waited for."""


@dataclass(frozen=True)
class Worker:
    """A process whose end matters, and where it says why it ended."""

    process: BaseProcess
    receiver: connection.Connection


class ProcessGroup:
    """One process's view of the group: each computes its share of a step, gradients are averaged.

    Lightning's strategies for several processes are not used: they learn of gradients by hooks, which a captured step
    never calls, and ask the device at every step whether a signal came, which waits for it. To Lightning each process
    trains alone.
    """

    def __init__(self, rank: int, size: int, *, device: str, store: TCPStore, workers: Sequence[Worker] = ()) -> None:
        self.rank, self.size = rank, size
        self.device = torch.device(device, rank) if device == "cuda" else torch.device(device)
        self._store: Any = store  # its methods bear no types
        self._workers = workers

    def open(self) -> None:
        """Open the group that averages. It lives on this host alone: ``kolora.environment``."""
        self.barrier("the start")
        backend = "nccl" if self.device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=self._store, rank=self.rank, world_size=self.size)

    def barrier(self, where: str) -> None:
        """Say that this process got here; rank 0 waits for all. Raises DeviceUnusable when one ended on the way."""
        self._store.set(f"{where}/{self.rank}", "here")
        # By looking again and again: torch's own barrier would wait for a process that has died.
        while self.is_main and not self._store.check([f"{where}/{rank}" for rank in range(self.size)]):
            self.check()
            time.sleep(_PAUSE)

    def check_same(self, what: str, value: str) -> None:
        """See that every process has the same value. The main one raises DeviceUnusable when one has another."""
        self._store.set(f"{what}/{self.rank}", value)
        self.barrier(f"agreed on {what}")
        for rank in range(self.size) if self.is_main else ():
            theirs = self._store.get(f"{what}/{rank}").decode()
            if theirs != value:
                raise DeviceUnusable(
                    f"of {self.size} processes that train together, process {rank + 1} has other {what}: {theirs}, "
                    f"the first {value}",
                    hint="set lora.devices to 1",
                )

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which saves, stops and reports."""
        return self.rank == 0

    def average(self, tensor: torch.Tensor) -> torch.Tensor:
        """Make a tensor the mean of all processes', in place; on a GPU nobody waits for it."""
        distributed.all_reduce(tensor)
        return tensor.div_(self.size)

    def wait(self) -> None:
        """Wait for the device, unless a process that it waits for has ended: raises DeviceUnusable then."""
        if self.device.type != "cuda":
            return
        event = cast(Any, torch.cuda).Event()
        event.record()
        while not event.query():
            self.check()
            time.sleep(_PAUSE)

    def check(self) -> None:
        """Raise DeviceUnusable when another process has ended."""
        for rank, worker in enumerate(self._workers, 1):
            if worker.process.exitcode not in (None, 0):
                reason = worker.receiver.recv() if worker.receiver.poll() else f"exit code {worker.process.exitcode}"
                raise DeviceUnusable(
                    f"process {rank + 1} of {self.size} that train together has ended: {reason}",
                    hint="set lora.devices to 1, or lower lora.batch_size",
                )


_WorkerMain = Callable[[ProcessGroup], object]
"""What a worker does; a function that can be pickled."""


@contextmanager
def launch(size: int, work: _WorkerMain, *, device: str) -> Iterator[ProcessGroup | None]:
    """Start the workers of a group of ``size`` processes, and end them after the block; one process needs no group.

    work: what the workers do. device: "cuda", one for each process, or "cpu". Raises
    DeviceUnusable when there are too few GPUs, or when another process ends before its time.
    """
    if size == 1:
        yield None
        return
    if device == "cuda" and torch.cuda.device_count() < size:
        raise DeviceUnusable(
            f"lora.devices is {size}, and {torch.cuda.device_count()} GPUs are there",
            hint=f"set lora.devices to {torch.cuda.device_count()}",
        )
    store = TCPStore(_HOST, 0, size, is_master=True, wait_for_workers=False)
    workers = [_start(rank, size, store.port, work, device) for rank in range(1, size)]
    group = ProcessGroup(0, size, device=device, store=store, workers=workers)
    try:
        group.open()
        yield group
    except (KoloraError, torch.cuda.OutOfMemoryError):
        raise
    except Exception:
        # What fails here may be that another process has failed: then its reason counts.
        for worker in workers:
            worker.process.join(timeout=1.0)
        group.check()
        raise
    finally:
        # They hold nothing of their own, and may wait in a collective that nobody else will enter.
        for worker in workers:
            worker.process.kill()
            worker.process.join()
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _start(rank: int, size: int, port: int, work: _WorkerMain, device: str) -> Worker:
    # Spawned, for CUDA does not survive a fork.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run_worker, args=(rank, size, port, work, device, sender), daemon=True)
    process.start()
    sender.close()
    return Worker(process, receiver)


def _run_worker(rank: int, size: int, port: int, work: _WorkerMain, device: str, sender: connection.Connection) -> None:
    """Be a worker: do its work, deaf to signals, and end when the main process ends."""
    # A terminal sends Ctrl-C to all; a worker that left first would look like one that failed.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    threading.Thread(target=_end_with_main, daemon=True).start()
    try:
        if device == "cuda":
            torch.cuda.set_device(rank)
        group = ProcessGroup(rank, size, device=device, store=TCPStore(_HOST, port, size, is_master=False))
        group.open()
        work(group)
    except Exception as problem:
        sender.send(f"{type(problem).__name__}: {problem}")
        raise SystemExit(1) from problem


def _end_with_main() -> None:
    main = multiprocessing.parent_process()
    assert main is not None
    connection.wait([main.sentinel])
    os._exit(1)
