"""Several processes of one host, each with its device, that train one LoRA together: the first leads, others follow."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from kolora.errors import DeviceUnusable, KoloraError

HOST = "127.0.0.1"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What asks a run to stop. Only the leader listens: it saves, then ends the others, which hold nothing of their own."""
PAUSE = 0.0005
"""Seconds between two looks at a device that is waited for."""


@dataclass(frozen=True)
class Member:
    """A process whose end matters, and where it says why it ended."""

    process: BaseProcess
    said: Connection


class Crew(SingleDeviceStrategy):  # type: ignore[misc]
    """Lightning's strategy for one of several processes: each computes its share of a step, gradients are averaged.

    Lightning's own for several processes is not used: it hears of gradients by hooks, which a recorded step never
    calls, and asks the device at every step whether a signal came, which waits for it.
    """

    def __init__(self, rank: int, size: int, *, device: str, store: TCPStore, members: Sequence[Member] = ()) -> None:
        super().__init__(device=torch.device(device, rank) if device == "cuda" else torch.device(device))
        self.rank, self.size = rank, size
        self._store: Any = store  # its methods bear no types
        self._members = members

    def open(self) -> None:
        """Open the group that averages. It lives on this host alone, so it needs no network."""
        self.meet("the start")
        for library in ("NCCL", "GLOO"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
        backend = "nccl" if self.root_device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=self._store, rank=self.rank, world_size=self.size)

    def meet(self, where: str) -> None:
        """Say that this process got here. The leader waits for all, and hears when one has ended on the way."""
        self._store.set(f"{where}/{self.rank}", "here")
        while self.leads and not self._store.check([f"{where}/{rank}" for rank in range(self.size)]):
            self.check()
            time.sleep(PAUSE)

    def agree(self, what: str, value: str) -> None:
        """See that every process has the same value. The leader raises DeviceUnusable when one has another."""
        self._store.set(f"{what}/{self.rank}", value)
        self.meet(f"agreed on {what}")
        for rank in range(self.size) if self.leads else ():
            theirs = self._store.get(f"{what}/{rank}").decode()
            if theirs != value:
                raise DeviceUnusable(
                    f"of {self.size} processes that train together, process {rank + 1} has other {what}: {theirs}, "
                    f"the first {value}",
                    hint="set lora.devices to 1",
                )

    @property
    def leads(self) -> bool:
        """Whether this process saves, stops and tells."""
        return self.rank == 0

    def reduce(self, tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Make a tensor the mean of all processes', in place; on a GPU nobody waits for it."""
        distributed.all_reduce(tensor)
        return tensor.div_(self.size)

    def attend(self) -> None:
        """Wait for the device, unless a process that it waits for has ended: raises DeviceUnusable then."""
        if self.root_device.type != "cuda":
            return
        event = cast(Any, torch.cuda).Event()
        event.record()
        while not event.query():
            self.check()
            time.sleep(PAUSE)

    def check(self) -> None:
        """Raise DeviceUnusable when another process has ended."""
        for rank, member in enumerate(self._members, 1):
            if member.process.exitcode not in (None, 0):
                reason = member.said.recv() if member.said.poll() else f"exit code {member.process.exitcode}"
                raise DeviceUnusable(
                    f"process {rank + 1} of {self.size} that train together has ended: {reason}",
                    hint="set lora.devices to 1, or lower lora.batch_size",
                )


@contextmanager
def gather(size: int, follow: Callable[[Crew], object], *, device: str) -> Iterator[Crew | None]:
    """Start the other processes of a crew of ``size`` and lead it while the block runs; one needs no crew.

    follow: what the others do, a function that can be pickled. device: "cuda", one for each process, or "cpu". Raises
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
    store = TCPStore(HOST, 0, size, is_master=True, wait_for_workers=False)
    members = [_start(rank, size, store.port, follow, device) for rank in range(1, size)]
    crew = Crew(0, size, device=device, store=store, members=members)
    try:
        crew.open()
        yield crew
    except (KoloraError, torch.cuda.OutOfMemoryError):
        raise
    except Exception:
        # What fails here may be that another process has failed: then its reason counts.
        for member in members:
            member.process.join(timeout=1.0)
        crew.check()
        raise
    finally:
        for member in members:
            member.process.kill()
            member.process.join()
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _start(rank: int, size: int, port: int, follow: Callable[[Crew], object], device: str) -> Member:
    context = multiprocessing.get_context("spawn")
    hear, say = context.Pipe(duplex=False)
    process = context.Process(target=_follow, args=(rank, size, port, follow, device, say), daemon=True)
    process.start()
    say.close()
    return Member(process, hear)


def _follow(rank: int, size: int, port: int, follow: Callable[[Crew], object], device: str, say: Connection) -> None:
    """Be one of the others: do as the leader does, deaf to signals, and end with it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    threading.Thread(target=_end_with_leader, daemon=True).start()
    try:
        if device == "cuda":
            torch.cuda.set_device(rank)
        crew = Crew(rank, size, device=device, store=TCPStore(HOST, port, size, is_master=False))
        crew.open()
        follow(crew)
    except Exception as problem:
        say.send(f"{type(problem).__name__}: {problem}")
        raise SystemExit(1) from problem


def _end_with_leader() -> None:
    leader = multiprocessing.parent_process()
    assert leader is not None
    wait([leader.sentinel])
    os._exit(1)
