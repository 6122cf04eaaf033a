"""The Data-Juicer operators that a story may name, with their parameters, statistics and thresholds.

The table follows py-data-juicer 1.6.1. Only operators are in it that need no model, no network, no package beyond
the lock and no code from the story; a test holds it against the real signatures.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kolora.spec.faults import Fault
from kolora.spec.words import describe, join_choices, nearest, printable

Kind = Literal["whole", "number", "size", "flag", "choice"]

SIZE = r"^[0-9]+ ?([kKmMgGtT][iI]?[bB])?$"
"""A number of bytes in Data-Juicer's spelling. It drops a decimal point silently, so none is allowed here."""

_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


@dataclass(frozen=True)
class Parameter:
    """One parameter of an operator; default None means no limit."""

    name: str
    kind: Kind
    default: Any
    choices: tuple[Any, ...] = ()
    least: int = 0

    @property
    def expected(self) -> str:
        """Return what the parameter takes, in words."""
        return {
            "whole": f"a whole number of at least {self.least}",
            "number": f"a number of at least {self.least}",
            "size": 'a number of bytes such as "20 KB" or "1 MB", in quotes',
            "flag": "true or false",
            "choice": join_choices(self.choices),
        }[self.kind]

    @property
    def json_schema(self) -> dict[str, Any]:
        """Return the parameter's JSON Schema."""
        kinds: dict[str, dict[str, Any]] = {
            "whole": {"type": "integer", "minimum": self.least},
            "number": {"type": "number", "minimum": self.least},
            "size": {"type": "string", "pattern": SIZE},
            "flag": {"type": "boolean"},
            "choice": {"enum": list(self.choices)},
        }
        return kinds[self.kind] | ({} if self.default is None else {"default": self.default})

    def takes(self, value: object) -> bool:
        """Tell whether ``value`` is one the parameter takes."""
        if self.kind == "flag":
            return isinstance(value, bool)
        if self.kind == "choice":
            # By type too, as False equals 0.
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if self.kind == "size":
            return isinstance(value, str) and re.fullmatch(SIZE, value) is not None
        # True is an int to Python; a threshold of true is a slip.
        numbers = (int,) if self.kind == "whole" else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool) and self.least <= value < float("inf")


@dataclass(frozen=True)
class Operator:
    """One operator: what it takes, which statistics it writes, and which parameters bound each of them.

    limits: by name of the statistic (Data-Juicer's StatsKeys), the parameters that bound it below and above.
    """

    name: str
    doc: str
    parameters: tuple[Parameter, ...]
    limits: Mapping[str, tuple[str, str]]

    @property
    def stats(self) -> tuple[str, ...]:
        """Return the names of the statistics it writes for every picture."""
        return tuple(self.limits)

    @property
    def known(self) -> dict[str, Parameter]:
        """Return its own and the common parameters by name."""
        return {parameter.name: parameter for parameter in (*self.parameters, *COMMON)}

    def thresholds(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return every threshold in force under ``parameters``; None means no limit."""
        names = itertools.chain.from_iterable(self.limits.values())
        return {name: parameters.get(name, self.known[name].default) for name in names}


COMMON = (
    Parameter("min_closed_interval", "flag", True),
    Parameter("max_closed_interval", "flag", True),
    Parameter("reversed_range", "flag", False),
)
"""Parameters of every filter: whether a bound itself passes, and whether what lies outside is kept instead."""

_ANY_OR_ALL = Parameter("any_or_all", "choice", "any", ("any", "all"))
# With true Data-Juicer would load a tokenizer's model.
_NO_TOKENIZER = Parameter("tokenization", "choice", False, (False,))
_LANG = Parameter("lang", "choice", "en", ("en", "zh"))


def _bounds(stem: str, kind: Kind, low: Any, high: Any) -> tuple[Parameter, Parameter]:
    return Parameter(f"min_{stem}", kind, low), Parameter(f"max_{stem}", kind, high)


def _text(name: str, doc: str, stat: str, bounds: tuple[Parameter, Parameter], *more: Parameter) -> Operator:
    low, high = bounds
    return Operator(name, doc, (*more, low, high), {stat: (low.name, high.name)})


_TABLE = (
    Operator(
        "image_shape_filter",
        "Keep pictures by width and height, in pixels.",
        (*_bounds("width", "whole", 1, None), *_bounds("height", "whole", 1, None), _ANY_OR_ALL),
        {"image_width": ("min_width", "max_width"), "image_height": ("min_height", "max_height")},
    ),
    Operator(
        "image_aspect_ratio_filter",
        "Keep pictures by width / height.",
        (*_bounds("ratio", "number", 0.333, 3.0), _ANY_OR_ALL),
        {"aspect_ratios": ("min_ratio", "max_ratio")},
    ),
    Operator(
        "image_size_filter",
        "Keep pictures by bytes of their file.",
        (*_bounds("size", "size", "0", "1TB"), _ANY_OR_ALL),
        {"image_sizes": ("min_size", "max_size")},
    ),
    _text(
        "text_length_filter",
        "Keep pictures by characters of their text.",
        "text_len",
        _bounds("len", "whole", 10, None),
    ),
    _text(
        "words_num_filter",
        "Keep pictures by words of their text, parted by spaces.",
        "num_words",
        _bounds("num", "whole", 10, None),
        _LANG,
        _NO_TOKENIZER,
    ),
    _text(
        "alphanumeric_filter",
        "Keep pictures by the share of letters and digits in their text.",
        "alnum_ratio",
        _bounds("ratio", "number", 0.25, None),
        _NO_TOKENIZER,
    ),
    _text(
        "special_characters_filter",
        "Keep pictures by the share of special characters in their text.",
        "special_char_ratio",
        _bounds("ratio", "number", 0.0, 0.25),
    ),
    _text(
        "average_line_length_filter",
        "Keep pictures by the mean length of their text's lines.",
        "avg_line_length",
        _bounds("len", "whole", 10, None),
    ),
    _text(
        "maximum_line_length_filter",
        "Keep pictures by the longest line of their text.",
        "max_line_length",
        _bounds("len", "whole", 10, None),
    ),
    _text(
        "character_repetition_filter",
        "Keep pictures by the share of repeated runs of characters in their text.",
        "char_rep_ratio",
        _bounds("ratio", "number", 0.0, 0.5),
        Parameter("rep_len", "whole", 10, least=1),
    ),
    _text(
        "word_repetition_filter",
        "Keep pictures by the share of repeated runs of words in their text.",
        "word_rep_ratio",
        _bounds("ratio", "number", 0.0, 0.5),
        _LANG,
        _NO_TOKENIZER,
        Parameter("rep_len", "whole", 10, least=1),
    ),
)

OPERATORS: Mapping[str, Operator] = {operator.name: operator for operator in _TABLE}

# Each reason follows "expected" in a message, as in "given the operator X, expected an operator that kolora allows".
_CODE = "an operator that kolora allows: this one runs code from the story"
_REMOTE = "an operator that kolora allows: this one calls a language model or a remote service"
_WRITES = "an operator that kolora allows: this one reads or writes outside the run folder"
_CHANGES = "a filter: this one changes pictures or texts instead of choosing among them"
_MODEL = "an operator that kolora has today: this one needs a model of its own, which comes later"
_PACKAGE = "an operator that kolora has today: this one needs a package that is not in the lock, which comes later"
_WHOLE = "an operator that kolora has today: this one weighs all pictures together, which comes later"
_MEDIA = "an operator for pictures: this one is for sound or film"
_FIELD = "an operator that kolora allows: this one asks for a field that a training picture does not have"

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("python_file_mapper", "python_lambda_mapper", "general_field_filter"), _CODE),
    **dict.fromkeys(
        (
            "download_file_mapper",
            "export_to_lerobot_mapper",
            "s3_download_file_mapper",
            "s3_upload_file_mapper",
        ),
        _WRITES,
    ),
    **dict.fromkeys(
        (
            "image_aesthetics_filter",
            "image_nsfw_filter",
            "image_pair_similarity_filter",
            "image_text_matching_filter",
            "image_text_similarity_filter",
            "image_watermark_filter",
            "in_context_influence_filter",
            "instruction_following_difficulty_filter",
            "language_id_score_filter",
            "perplexity_filter",
            "phrase_grounding_recall_filter",
            "text_action_filter",
            "text_embd_similarity_filter",
            "text_entity_dependency_filter",
            "text_pair_similarity_filter",
            "token_num_filter",
            "flagged_words_filter",
            "stopwords_filter",
        ),
        _MODEL,
    ),
    **dict.fromkeys(
        ("image_face_count_filter", "image_face_ratio_filter", "image_subplot_filter", "image_deduplicator"), _PACKAGE
    ),
    **dict.fromkeys(("specified_field_filter", "specified_numeric_field_filter", "suffix_filter"), _FIELD),
}
"""Operators refused by name, each with what was expected instead."""

# The first match gives the reason: a language model's mapper is refused for the model, not as a mapper.
_REFUSED_PATTERNS = (
    (re.compile(r"^(video|audio)_|^ray_video_"), _MEDIA),
    (re.compile(r"^(llm|mllm|vlm)_|_llm_|_vlm_"), _REMOTE),
    (re.compile(r"_deduplicator\Z|_selector\Z"), _WHOLE),
    (re.compile(r"_(mapper|grouper|aggregator|pipeline)\Z"), _CHANGES),
)

_OURS = "a parameter that a story sets: kolora sets this one"
_WRITES_FILES = "a parameter that a story sets: this one writes outside the run folder"
REFUSED_PARAMETERS: Mapping[str, str] = {
    **dict.fromkeys(("stats_export_path", "work_dir", "runtime_env"), _WRITES_FILES),
    **dict.fromkeys(
        (
            "text_key",
            "image_key",
            "audio_key",
            "video_key",
            "image_bytes_key",
            "system_key",
            "instruction_key",
            "prompt_key",
            "query_key",
            "response_key",
            "history_key",
            "index_key",
            "input_columns",
            "output_columns",
            "skip_op_error",
            "adaptive_batching",
            "auto_op_parallelism",
            "batch_mode",
            "accelerator",
            "batch_size",
            "num_proc",
            "turbo",
            "cpu_required",
            "gpu_required",
            "mem_required",
            "num_cpus",
            "num_gpus",
            "memory",
            "ray_execution_mode",
        ),
        _OURS,
    ),
}
"""Parameters that Data-Juicer has for every operator and that are no business of a story."""


def refusal(name: str) -> str | None:
    """Return what is expected instead of the operator ``name`` if it is refused by name, else None."""
    if name in REFUSED:
        return REFUSED[name]
    return next((reason for pattern, reason in _REFUSED_PATTERNS if pattern.search(name)), None)


def normalise(item: Any) -> dict[str, dict[str, Any]]:
    """Return a sound list item as ``{name: parameters}``, also where only the name was written."""
    if isinstance(item, str):
        return {item: {}}
    name, parameters = next(iter(item.items()))
    return {name: dict(parameters or {})}


def faults(item: object) -> list[Fault]:
    """Return all that is wrong with one item of ``filters``; none when it may be passed on."""
    form = "one operator: its name, or its name and below it, indented further, its parameters"
    if isinstance(item, str):
        return _name_faults(item, key=False)
    if not isinstance(item, Mapping):
        return [Fault(given=describe(item), expected=form)]
    if len(item) != 1:
        return [Fault(given=f"{len(item)} keys: {join_choices(item, end='and')}", expected=form)]
    name, parameters = next(iter(item.items()))
    wrong = _name_faults(str(name), key=True)
    if wrong or parameters is None:
        return wrong
    if not isinstance(parameters, Mapping):
        return [Fault(path=(name,), given=describe(parameters), expected="parameters as `name: value`")]
    return list(_parameter_faults(OPERATORS[name], parameters))


def _name_faults(name: str, *, key: bool) -> list[Fault]:
    if name in OPERATORS:
        return []
    path = (name,) if key else ()
    reason = refusal(name)
    if reason:
        return [Fault(path=path, given=f"the operator {printable(name)}", expected=reason, key=key)]
    given, near = f'unknown operator "{printable(name)}"', nearest(name, OPERATORS)
    return [Fault(path=path, given=given, expected=join_choices(OPERATORS), nearest=near, key=key)]


def _parameter_faults(operator: Operator, parameters: Mapping[str, Any]) -> Iterator[Fault]:
    known = operator.known
    for name, value in parameters.items():
        path = (operator.name, name)
        if name in REFUSED_PARAMETERS:
            yield Fault(path=path, given=f"the parameter {name}", expected=REFUSED_PARAMETERS[name], key=True)
        elif name not in known:
            near = nearest(name, known)
            yield Fault(
                path=path,
                given=f'unknown key "{printable(name)}"',
                expected=join_choices(known),
                nearest=near,
                key=True,
            )
        elif not known[name].takes(value):
            yield Fault(path=path, given=describe(value), expected=known[name].expected)
    yield from _order_faults(operator, parameters)


def _order_faults(operator: Operator, parameters: Mapping[str, Any]) -> Iterator[Fault]:
    for low, high in operator.limits.values():
        pair = [parameters.get(name, operator.known[name].default) for name in (low, high)]
        are_valid = all(
            value is None or operator.known[name].takes(value) for name, value in zip((low, high), pair, strict=True)
        )
        if are_valid and None not in pair and _amount(pair[0]) > _amount(pair[1]):
            # The one that the story wrote: the other may be Data-Juicer's default.
            name = low if low in parameters else high
            yield Fault(
                path=(operator.name, name),
                given=f"{low} {describe(pair[0])} above {high} {describe(pair[1])}",
                expected=f"{low} of at most {high}",
            )


def _amount(value: Any) -> float:
    """Return a threshold as a number; sizes in bytes."""
    if not isinstance(value, str):
        return float(value)
    digits, unit = re.match(r"([0-9]+) ?([a-z]?)", value.lower()).groups()  # type: ignore[union-attr]
    return float(int(digits) << _UNITS[unit])


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of one item of ``filters``."""
    shapes = [
        {
            "type": "object",
            "description": operator.doc,
            "properties": {operator.name: _parameters_schema(operator)},
            "required": [operator.name],
            "additionalProperties": False,
        }
        for operator in OPERATORS.values()
    ]
    return {"anyOf": [{"enum": list(OPERATORS)}, *shapes]}


def _parameters_schema(operator: Operator) -> dict[str, Any]:
    return {
        "type": ["object", "null"],
        "properties": {name: parameter.json_schema for name, parameter in operator.known.items()},
        "additionalProperties": False,
    }
