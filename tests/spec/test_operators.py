"""The table of operators against the real Data-Juicer, and what is refused and why.

Data-Juicer's sources are read, not imported: creating one of its operators imports its Ray executor, and a package
that is missing then would be installed on the spot.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kolora.spec import Problem, StoryProblems, load_story
from kolora.spec.operators import COMMON, OPERATORS, REFUSED, REFUSED_PARAMETERS, Operator, Parameter, faults, refusal

JUICER = Path(str(importlib.util.find_spec("data_juicer").origin)).parent  # type: ignore[union-attr]
ANNOTATIONS = {"whole": ("int", "PositiveInt"), "number": ("float",), "size": ("str",), "choice": ("str", "bool")}


def class_of(name: str) -> ast.ClassDef:
    """Return the class that is registered in the module of the filter ``name``."""
    tree = ast.parse((JUICER / "ops" / "filter" / f"{name}.py").read_text(encoding="utf-8"))
    (found,) = (
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any("OPERATORS.register" in ast.unparse(d) for d in node.decorator_list)
    )
    return found


def signature(name: str) -> dict[str, tuple[Any, str]]:
    """Return default and annotation of every parameter of the filter ``name``; no limit as None."""
    (init,) = (node for node in class_of(name).body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    arguments = init.args.args[1:]
    defaults = [None if ast.unparse(d) == "sys.maxsize" else ast.literal_eval(d) for d in init.args.defaults]
    return {
        argument.arg: (default, ast.unparse(argument.annotation or ast.Constant(None)))
        for argument, default in zip(arguments, defaults, strict=True)
    }


def names(folder: str, suffix: str) -> Iterator[str]:
    """Yield the names of Data-Juicer's operators in ``folder``."""
    return (path.stem for path in (JUICER / "ops" / folder).glob(f"*{suffix}.py"))


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_parameters_and_defaults_are_data_juicers(operator: Operator) -> None:
    real = signature(operator.name)
    assert {parameter.name: parameter.default for parameter in operator.parameters} == {
        name: default for name, (default, _) in real.items()
    }
    for parameter in operator.parameters:
        assert real[parameter.name][1] in ANNOTATIONS[parameter.kind]


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_statistics_are_the_ones_the_operator_writes(operator: Operator) -> None:
    attributes = [node for node in ast.walk(class_of(operator.name)) if isinstance(node, ast.Attribute)]
    written = {node.attr for node in attributes if ast.unparse(node.value) == "StatsKeys"}
    assert written - {"alpha_token_ratio"} == set(operator.stats)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_every_threshold_is_a_parameter_of_the_operator(operator: Operator) -> None:
    assert set(operator.thresholds({})) <= {parameter.name for parameter in operator.parameters}
    assert all(name.startswith(("min_", "max_")) for name in operator.thresholds({}))


def test_the_common_parameters_are_data_juicers() -> None:
    tree = ast.parse((JUICER / "ops" / "base_op.py").read_text(encoding="utf-8"))
    base = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in ("OP", "Filter")}
    real = {key for node in base.values() for key in base_parameters(node)}
    assert real == {parameter.name for parameter in COMMON} | set(REFUSED_PARAMETERS)


def base_parameters(node: ast.ClassDef) -> Iterator[str]:
    """Yield the keys of the class's own `_BASE_PARAMS`."""
    for line in node.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "_BASE_PARAMS":
            assert isinstance(line.value, ast.Dict)
            yield from (ast.literal_eval(key) for key in line.value.keys if key is not None)


def test_every_operator_of_data_juicer_is_allowed_or_refused_with_a_reason() -> None:
    kinds = ["filter", "mapper", "deduplicator", "selector", "grouper", "aggregator", "pipeline"]
    known = [name for kind in kinds for name in names(kind, f"_{kind}")]
    assert len(known) > 200
    assert [name for name in known if name not in OPERATORS and refusal(name) is None] == []
    assert set(OPERATORS) | set(REFUSED) <= set(known)
    assert not set(OPERATORS) & set(REFUSED)


def test_no_allowed_operator_needs_a_model() -> None:
    for operator in OPERATORS.values():
        source = ast.unparse(class_of(operator.name))
        assert "prepare_model" not in source or operator.known["tokenization"].choices == (False,)


def refused(item: str) -> Problem:
    """Return the one thing that is wrong with a list item of ``filters``."""
    with pytest.raises(StoryProblems) as caught:
        load_story(f"dataset: {{source: pocket}}\nscenes: [{{prompt: a}}]\nfilters:\n  - {item}\n")
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("python_file_mapper", "runs code from the story"),
        ("python_lambda_mapper", "runs code from the story"),
        ("general_field_filter", "runs code from the story"),
        ("llm_quality_score_filter", "language model or a remote service"),
        ("mllm_mapper", "language model or a remote service"),
        ("s3_upload_file_mapper", "outside the run folder"),
        ("download_file_mapper", "outside the run folder"),
        ("image_aesthetics_filter", "needs a model of its own, which comes later"),
        ("language_id_score_filter", "needs a model of its own, which comes later"),
        ("image_face_count_filter", "a package that is not in the lock"),
        ("image_deduplicator", "a package that is not in the lock"),
        ("document_deduplicator", "weighs all pictures together"),
        ("video_nsfw_filter", "for sound or film"),
        ("image_blur_mapper", "changes pictures or texts"),
        ("specified_field_filter", "a field that a training picture does not have"),
    ],
)
@pytest.mark.parametrize("form", ["{}", "{}: {{}}", "{}: {{lambda_str: x, file_path: /etc/passwd}}"])
def test_operators_are_refused_by_name_with_the_reason(name: str, reason: str, form: str) -> None:
    problem = refused(form.format(name))
    assert problem.given == f"the operator {name}"
    assert reason in problem.expected
    assert problem.nearest is None
    assert (problem.line, problem.column) == (4, 5)


@pytest.mark.parametrize("parameter", ["stats_export_path", "work_dir", "runtime_env", "image_key", "num_proc"])
def test_data_juicers_own_switches_are_no_business_of_a_story(parameter: str) -> None:
    problem = refused(f"image_shape_filter: {{{parameter}: x}}")
    assert problem.path == f"filters[1].image_shape_filter.{parameter}"
    assert problem.expected.startswith("a parameter that a story sets")


def test_a_tokenizer_model_is_refused() -> None:
    assert refused("words_num_filter: {tokenization: true}").expected == "false"


@pytest.mark.parametrize(
    "item",
    [
        "image_shape_filter",
        {"image_shape_filter": None},
        {"image_shape_filter": {}},
        {"image_shape_filter": {"min_width": 1024, "min_height": 1024, "any_or_all": "any"}},
        {"image_aspect_ratio_filter": {"min_ratio": 1, "max_ratio": 1, "reversed_range": True}},
        {"image_size_filter": {"min_size": "20 KB", "max_size": "1MiB"}},
        {"image_size_filter": {"min_size": "512"}},
        {"words_num_filter": {"lang": "zh", "tokenization": False, "min_num": 1, "max_num": 5}},
    ],
)
def test_sound_items_pass(item: object) -> None:
    assert faults(item) == []


@pytest.mark.parametrize(
    ("item", "given"),
    [
        (3, "the number 3"),
        (None, "nothing"),
        ([], "a list of 0"),
        ({}, "0 keys: "),
        ({"image_shape_filter": 3}, "the number 3"),
        ({"image_shape_filter": {"min_width": True}}, "true"),
        ({"image_shape_filter": {"min_width": -1}}, "the number -1"),
        ({"image_aspect_ratio_filter": {"min_ratio": float("nan")}}, "the number nan"),
        ({"image_shape_filter": {"any_or_all": "some"}}, 'the text "some"'),
        (
            {"image_shape_filter": {"min_width": 9, "max_width": 8}},
            "min_width the number 9 above max_width the number 8",
        ),
        ({"text_length_filter": {"max_len": 5}}, "min_len the number 10 above max_len the number 5"),
        ({"image_size_filter": {"min_size": "2MB", "max_size": "20KB"}}, 'min_size the text "2MB" above max_size'),
        ({"image_size_filter": {"min_size": 20}}, "the number 20"),
        ({"words_num_filter": {"tokenization": 0}}, "the number 0"),
        ({"character_repetition_filter": {"rep_len": 0}}, "the number 0"),
    ],
)
def test_unsound_items_do_not(item: object, given: str) -> None:
    (fault,) = faults(item)
    assert fault.given.startswith(given)


def test_all_faults_of_one_filter_are_told() -> None:
    found = faults({"image_shape_filter": {"min_widht": 1, "max_height": "x", "turbo": True}})
    assert [fault.path[-1] for fault in found] == ["min_widht", "max_height", "turbo"]


def test_choices_tell_false_from_zero() -> None:
    flag = Parameter("x", "choice", False, (False,))
    assert flag.takes(False)
    assert not flag.takes(0)
