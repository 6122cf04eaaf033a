"""The bench runs on a CPU too, measures what it says, and its table holds what it measured."""

import json

import pytest
import torch
from kolora.benchmark.bench import WARM_STEPS, bench
from kolora.benchmark.networks import random_network
from kolora.cli import main
from kolora.cli.bench import bench_table

from tests.tiny import configs


@pytest.fixture(scope="module")
def facts(tiny_checkpoint):
    said = []
    found = bench(
        device="cpu",
        checkpoint=tiny_checkpoint,
        size=64,
        train_steps=2,
        render_steps=2,
        batch_sizes=(1, 2),
        say=said.append,
    )
    assert len(said) == 5
    return found


def test_it_measures_both_ways(facts):
    assert json.loads(json.dumps(facts)) == facts
    assert [each["batch_size"] for each in facts["training"]] == [1, 2]
    for each in facts["training"]:
        assert each["ratio"] == pytest.approx(each["samples_per_second"] * facts["notebook"]["step_seconds"])
        assert 0 < each["share"] < 1
        assert each["peak"] is None  # of a GPU there is none
    drawn = facts["rendering"]
    assert drawn["ratio"] == pytest.approx(facts["notebook"]["picture_seconds"] / drawn["picture_seconds"])
    assert WARM_STEPS >= 1


def test_the_table_shows_what_was_measured(facts):
    table = bench_table(facts)
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2 + 1 + 1
    assert len({row.count("|") for row in rows}) == 1
    assert f"{facts['training'][1]['samples_per_second']:.2f}" in rows[3]
    assert "one picture of 2 steps" in table


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae_encoder", "vae_decoder"])
def test_made_up_weights_are_usual_and_the_same_every_time(part):
    one, other = (random_network(part, configs(), device="cpu", dtype=torch.float32) for _ in range(2))
    weights = dict(one.named_parameters())
    assert weights
    for name, parameter in other.named_parameters():
        assert torch.equal(parameter, weights[name])
        assert parameter.isfinite().all()
        assert not parameter.requires_grad


@pytest.mark.parametrize("arguments", [["--batch-sizes", "1,x"], ["--batch-sizes", "0"], ["--size", "100"]])
def test_a_bad_option_is_told(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(["bench", *arguments])
    assert left.value.code == 2
    assert arguments[0] in capsys.readouterr().err
