"""Work is called where there are no graphs, on tensors of any device, with what it leaves behind."""

import gc
import logging
import weakref
from contextlib import nullcontext

import pytest
import torch
from kolora.models import graphs
from kolora.models.attention import repeatable_attention
from kolora.models.graphs import capture


def test_on_a_cpu_every_call_runs_the_work_on_what_it_is_given():
    given = []

    def work(*tensors):
        given.append(tensors)
        return sum(tensors)

    run = capture(work, [torch.zeros(2), torch.zeros(2)])
    assert given == []  # nothing is spent on a capture
    assert torch.equal(run(torch.ones(2), torch.ones(2)), torch.full((2,), 2.0))
    assert torch.equal(run(torch.ones(2), torch.zeros(2)), torch.ones(2))
    assert len(given) == 2


class Willing:
    """Stands for ``torch.cuda`` on a device that records."""

    class CUDAGraph:
        """Records nothing, and counts its replays."""

        replays = 0

        def replay(self):
            self.replays += 1

    def graph(self, _graph, **_):
        return nullcontext()


class Refusing(Willing):
    """Stands for ``torch.cuda`` on a device that cannot record."""

    def graph(self, _graph, **_):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    def synchronize(self, _device):
        """Wait for nothing."""


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU."""

    @property
    def device(self):
        return torch.device("cuda")


def test_work_that_no_graph_can_hold_is_called_and_the_reason_told(monkeypatch, caplog):
    monkeypatch.setattr(torch, "cuda", Refusing())
    monkeypatch.setattr(graphs, "_warm_up", lambda work, inputs: None)
    monkeypatch.setattr(graphs, "on_device", lambda work, device: work)
    with caplog.at_level(logging.WARNING):
        run = capture(lambda tensor: tensor + 1, [torch.zeros(1).as_subclass(OnGpu)])
    assert run(torch.ones(1)) == 2
    assert "operation not permitted when stream is capturing" in caplog.text
    assert "and more" not in caplog.text


def test_a_captured_graph_takes_new_inputs_and_keeps_alive_what_it_reads(monkeypatch):
    """A graph knows addresses only: a tensor that the work made and nobody else holds must not be freed."""
    monkeypatch.setattr(torch, "cuda", Willing())
    monkeypatch.setattr(graphs, "_warm_up", lambda work, inputs: None)
    constant = torch.ones(2)
    gone = weakref.ref(constant)
    given = torch.zeros(2).as_subclass(OnGpu)

    def recorded(constant):
        return capture(lambda tensor: tensor + constant, [given])

    run = recorded(constant)
    del constant
    gc.collect()
    assert gone() is not None
    run(torch.full((2,), 5.0))
    assert run.graph.replays == 1
    assert run.buffers[0].tolist() == [5.0, 5.0]
    assert given.tolist() == [0.0, 0.0]
    del run
    gc.collect()
    assert gone() is None


def test_a_torch_without_graphs_calls_the_work(monkeypatch):
    monkeypatch.setattr(torch, "cuda", object())
    monkeypatch.setattr(graphs, "on_device", lambda work, device: work)
    assert capture(torch.neg, [torch.zeros(1).as_subclass(OnGpu)])(torch.ones(1)) == -1


def test_a_cpu_chooses_its_attention_itself():
    with repeatable_attention(torch.device("cpu")):
        query = torch.randn(1, 1, 4, 8)
        assert torch.nn.functional.scaled_dot_product_attention(query, query, query).shape == query.shape


@pytest.mark.parametrize("allowed", ["flash", "mem_efficient", "math"])
def test_on_a_gpu_attention_keeps_to_repeatable_kernels(allowed):
    with repeatable_attention(torch.device("cuda")):
        assert getattr(torch.backends.cuda, f"{allowed}_sdp_enabled")()
        if hasattr(torch.backends.cuda, "cudnn_sdp_enabled"):
            assert not torch.backends.cuda.cudnn_sdp_enabled()
