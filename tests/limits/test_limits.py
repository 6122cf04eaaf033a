"""What strangers' files may take is bounded: each attack has its code, and no gigabytes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from kolora.configs import KOLORS, read_config
from kolora.errors import InputAbsent, StoryInvalid, UsageError
from kolora.execution.duration import estimate_seconds
from kolora.hubs.catalogue import POCKET
from kolora.inputs import Inputs
from kolora.limits import LIMITS, MAX_PIXELS, check_pixels, parse_json
from kolora.memory.operations import decoder_operations, unet_operations
from kolora.models.architecture import build_vae_decoder
from kolora.planning import decide, plan_steps
from kolora.stories import load_text

from tests.limits.attacks import ATTACKS, deep
from tests.stories import write_story

MEMORY = 24 * 2**30
"""Bytes of address space of the process that is attacked: torch's libraries take most of it."""


@pytest.fixture(scope="session")
def came(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacks")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.limits.attacks", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_small_file_takes_no_machine(came, name):
    code, told, peak = came[name]
    assert code == ATTACKS[name].code, told
    assert peak < ATTACKS[name].peak, f"{peak} MiB"


NUMBERS = [10**12, -1, 1e308, float("nan"), float("inf"), "text", True, {}, [], [10**12] * 3, [1] * 1000]
KEYS = [(part, key) for part, config in KOLORS.items() for key, value in config.items() if not isinstance(value, str)]
WRONG = [
    (part, key, value)
    for (part, key), value in product(KEYS, NUMBERS)
    if not (value is True and isinstance(KOLORS[part][key], bool))
]


@pytest.mark.parametrize(("part", "key", "value"), WRONG)
def test_a_config_holds_numbers_that_networks_have(tmp_path, part, key, value):
    (tmp_path / part).mkdir()
    (tmp_path / part / "config.json").write_text(json.dumps(KOLORS[part] | {key: value}), encoding="utf-8")
    with pytest.raises(InputAbsent, match=key):
        read_config(tmp_path / part)


@pytest.mark.parametrize("part", KOLORS)
def test_what_kolors_has_is_read(tmp_path, part):
    (tmp_path / part).mkdir()
    (tmp_path / part / "config.json").write_text(json.dumps(KOLORS[part]), encoding="utf-8")
    assert read_config(tmp_path / part) == KOLORS[part]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.variable)
def test_an_owner_sets_each_limit_and_only_with_a_number(limit, monkeypatch):
    monkeypatch.delenv(limit.variable, raising=False)
    assert limit.value == limit.default
    monkeypatch.setenv(limit.variable, "12")
    assert limit.value == 12
    for wrong in ("0", "-1", "1e9", "many", "١٢", "9" * 30):
        monkeypatch.setenv(limit.variable, wrong)
        with pytest.raises(UsageError, match=limit.variable):
            _ = limit.value


@pytest.mark.parametrize("page", ["docs/command-line.md", "docs/zh/command-line.md"])
def test_every_limit_is_in_the_documents(page):
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    for limit in LIMITS:
        assert f"| `{limit.variable}` | {limit.default:,}" in text


def test_a_story_may_allow_fewer_pixels_and_not_more(monkeypatch):
    check_pixels("dataset.max_pixels", MAX_PIXELS.value)
    with pytest.raises(StoryInvalid, match=r"dataset\.max_pixels is 100,000,001.*KOLORA_MAX_PIXELS"):
        check_pixels("dataset.max_pixels", MAX_PIXELS.value + 1)
    monkeypatch.setenv("KOLORA_MAX_PIXELS", "200000000")
    check_pixels("dataset.max_pixels", MAX_PIXELS.value)


@pytest.mark.parametrize("depth", [90, 101, 900, 5_000, 200_000])
@pytest.mark.parametrize("inside", ["1", '{"a": 1}'])
def test_json_is_read_to_a_depth(depth, inside):
    if depth < 99:
        assert parse_json(deep(depth, inside))
    else:
        with pytest.raises(ValueError, match="nested"):
            parse_json(deep(depth, inside))


HUGE = {"render__width": 4096, "render__height": 4096, "render__steps": 1000, "filters": [], "lora__steps": 1}


@pytest.mark.parametrize("size", [256, 512])
def test_operations_are_those_that_torch_counts(size):
    from kolora.benchmark.bench import _operations

    configs = {part: read_config(POCKET / part) for part in KOLORS}
    counted = unet_operations(configs["unet"], pixels=size**2)
    assert counted == pytest.approx(_operations(configs, size=size), rel=0.1)


def test_decoding_is_what_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        build_vae_decoder(KOLORS["vae"])(torch.empty(1, 4, 64, 64))
    counted = decoder_operations(KOLORS["vae"], pixels=512**2)
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.1)


def estimated(**keys):
    story = load_text(
        STORY.format(**{"lora": "{}", "render": "{}", "dataset": "", "scenes": "{prompt: a}"} | keys)
    ).story
    decisions = decide(plan_steps(story, Inputs(checkpoint="a")), finished_digests=set(), records={}, resumable=set())
    return estimate_seconds(decisions, POCKET, device="cpu")


STORY = """
kolora: 1
model: {{checkpoint: pocket}}
dataset: {{source: pocket, style: ink, {dataset}}}
lora: {lora}
render: {render}
scenes: [{scenes}]
"""
DAY = 86_400.0


@pytest.mark.parametrize(
    "keys",
    [
        {"render": "{width: 4096, height: 4096, steps: 1000}"},
        {"scenes": ", ".join(["{prompt: a, width: 4096, height: 4096, steps: 200}"] * 32)},
        {"lora": "{steps: 100000, batch_size: 64, resolution: 2048}"},
        {"lora": "{resolution: 2048, prior: {prompt: a, count: 1000}}"},
        {"lora": "{steps: 1000, sample_every: 1}", "render": "{width: 2048, height: 2048, steps: 100}"},
        {"dataset": "count: 10000", "lora": "{resolution: 2048}"},
    ],
    ids=["sides and steps", "scenes", "training", "prior", "samples", "pictures"],
)
def test_every_key_that_makes_days_of_work_is_counted(keys):
    assert estimated(**keys) > DAY


def test_a_usual_story_on_pocket_takes_no_day():
    assert 0 < estimated(lora="{steps: 200, resolution: 256}", render="{width: 256, height: 256, steps: 20}") < DAY / 24


def kolora(*arguments, **variables):
    command = [sys.executable, "-m", "kolora", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **variables}, cwd=arguments[-1].parent
    )


def test_days_of_work_are_told_and_have_to_be_asked_for(tmp_path):
    scenes = [{"prompt": f"{number}"} for number in range(8)]
    story = write_story(tmp_path, POCKET, scenes=scenes, **HUGE)
    planned = kolora("plan", story)
    assert "days" in planned.stdout
    assert "--yes-large" in planned.stdout
    refused = kolora("run", "--device=cpu", story)
    assert refused.returncode == 2, refused.stderr
    assert "days" in refused.stderr
    assert "KOLORA_YES_LARGE=1" in refused.stderr
    for way in ([["--yes-large"], {}], [[], {"KOLORA_YES_LARGE": "1"}], [[], {"KOLORA_MAX_HOURS": "100000"}]):
        (options, variables) = way
        allowed = kolora("run", *options, "--device=cpu", "--until=fetch", story, **variables)
        assert allowed.returncode == 0, allowed.stderr


@pytest.mark.parametrize(
    "text", [r'"\ud83d"', r'"a\udc00b"', r'{"\ud83d": 1}', r'[["\udfff\ud800"]]', b'"\xed\xa0\xbd"']
)
def test_half_of_a_letter_is_named(text):
    with pytest.raises(ValueError, match="half of a letter"):
        parse_json(text)
    assert parse_json(r'"\ud83d\ude00"') == "\U0001f600"
