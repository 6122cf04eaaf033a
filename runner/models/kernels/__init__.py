"""Kernels in Triton for what a GPU otherwise computes in many passes over memory, or not repeatably fast.

Each module holds functions on tensors that lie on a GPU; ``runner.models.fused`` chooses between them and torch's own.
All of them sum in float32 and in a fixed order, so they repeat their bits.
"""
