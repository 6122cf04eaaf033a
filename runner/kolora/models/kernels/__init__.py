"""Kernels in Triton for what a GPU otherwise computes in many passes over memory, or not repeatably fast.

Each module holds functions on tensors that lie on a GPU; ``kolora.models.ops`` chooses between them and torch's own.
All of them sum in float32 and in a fixed order, so they repeat their bits.
"""

from triton.compiler import compiler

# Triton 2.3 keeps what it compiles under a name that has a printed set in it, whose order is another in every process:
# each would compile anew and leave its own files. A tuple has one order.
compiler.frozenset = tuple
