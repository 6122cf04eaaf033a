"""Compiles one of kolora's kernels inside the image, and launches it on a made-up driver that prints what it hears."""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import torch
import triton
from kolora.models.kernels.elements import BLOCK, _gate
from kolora.places import kernel_folder
from triton.compiler import ASTSource

OURS = r"""
#include <stdio.h>
int cuPointerGetAttribute(unsigned long long *found, int attribute, unsigned long long pointer) {
    *found = pointer;
    return 0;
}
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y,
                   unsigned threads_z, unsigned shared, void *stream, void **given, void **extra) {
    printf("%p %u %u %u %u %u %p %llx %llx %d\n", function, x, y, z, threads, shared, stream,
           *(unsigned long long *)given[0], *(unsigned long long *)given[1], *(int *)given[2]);
    return fflush(stdout);
}
"""


class Tensor:
    """All that a launcher asks of a tensor."""

    def data_ptr(self) -> int:
        return 0x7F0012345678


def load_driver(folder: Path) -> None:
    """Make and load a driver of which every function exists, as a program that uses the GPU has loaded the real one."""
    header = Path(triton.__file__).parent / "third_party" / "cuda" / "include" / "cuda.h"
    told = subprocess.run(["gcc", "-E", header], check=True, capture_output=True, text=True).stdout
    others = set(re.findall(r"\bcu[A-Z]\w+(?=\()", told)) - set(re.findall(r"cu\w+(?=\()", OURS))
    source, library = folder / "driver.c", folder / "libcuda.so.1"
    source.write_text(OURS + "".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(others)))
    subprocess.run(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library, source], check=True)
    ctypes.CDLL(library)


load_driver(Path(sys.argv[1]))
os.environ["TRITON_CACHE_DIR"] = str(kernel_folder())
# So that Triton takes the driver for one; what else it would ask of torch is given here.
torch.cuda.is_available = lambda: True
source = ASTSource(fn=_gate, signature={0: "*bf16", 1: "*bf16", 2: "i32"}, constants={3: BLOCK})
kernel = triton.compile(source, target=("cuda", 90))
launch = object.__getattribute__(kernel, "run")
launch(7, 2, 1, 4, 1, 1, 1, 1, 99, 0x1234, 0x5678, None, None, kernel, Tensor(), 0x1122334455667788, -5)
