"""The story: what a spec may say, as frozen values with every field explained below itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    RootModel,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

import kolora.spec.operators as operators
from kolora.samplers import SAMPLERS
from kolora.spec.faults import Fault, broken

SCHEMA_VERSION = 1
NEGATIVE_PROMPT = "丑陋，变形，嘈杂，模糊，低对比度"
CELL = 512
"""Pixels of a picture's side in the grid when the story does not size the grid itself."""

NAME = r"""^[^\x00-\x20\x7f/\\:*?"'<>|.-][^\x00-\x20\x7f/\\:*?"'<>|]*$"""
WORD = r"^[a-z][a-z0-9_-]*$"
HUB_ID = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*/[A-Za-z0-9_-][A-Za-z0-9_.-]*$"
COLOUR = r"^#[0-9a-fA-F]{6}$"
PATTERNS = {
    NAME: "at most 64 characters fit for a file name, no spaces, not starting with - or .",
    WORD: "a word of at most 64 lower-case letters, digits, - or _",
    HUB_ID: "owner/name, as the hub spells it",
    COLOUR: 'a colour like "#ffffff", in quotes',
}
"""What each pattern asks for, in words."""


def _printable(text: str) -> str:
    """Return ``text``, or refuse control characters: they break file metadata, HTML and terminals."""
    bad = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text)
    if bad:
        raise broken(Fault(given=f"text with the control character U+{ord(bad[0]):04X}", expected="printable text"))
    return text


def _filled(text: str) -> str:
    """Return ``text``, or refuse it when it is blank."""
    if not text.strip():
        raise broken(Fault(given="blank text", expected="text that says something"))
    return text


Text = Annotated[str, Field(max_length=10_000), AfterValidator(_printable)]
Prompt = Annotated[str, Field(min_length=1, max_length=10_000), AfterValidator(_printable), AfterValidator(_filled)]
Title = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
Label = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Place = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_printable), AfterValidator(_filled)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""torch's generators on the CPU read 32 bits of a seed: larger ones would repeat smaller ones."""
Side = Annotated[int, Field(ge=64, le=4096, multiple_of=64)]
Steps = Annotated[int, Field(ge=1, le=1000)]
Guidance = Annotated[float, Field(ge=0, le=50)]
Strength = Annotated[float, Field(ge=0, le=2)]
if TYPE_CHECKING:  # a type checker takes no choices that are computed
    SamplerName = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]


class Frozen(BaseModel):
    """A part of the story: frozen, strict about types, and refusing keys it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Model(Frozen):
    """The checkpoint that is taught and that draws."""

    checkpoint: Place = "kolors"
    """`kolors`, `pocket` (the small checkpoint inside the package), or a folder in the Kolors file layout."""

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Number format of the weights; `auto` is float32 on a CPU and the fastest safe one on a GPU."""

    memory: Annotated[float, Field(ge=1, le=1024)] | None = None
    """Most of the GPU's memory to take, in GiB; none means all of it. The pictures stay the same but for rounding."""


class _Gathered(Frozen):
    """What every data set has in common."""

    min_images: Annotated[int, Field(ge=1, le=100_000)] = 4
    """The fewest pictures that must be left after the filters; fewer end the run with exit code 65."""

    max_pixels: Annotated[int, Field(ge=1, le=2**31 - 1)] = 100_000_000
    """The most pixels one source picture may have; larger ones are dropped as decompression bombs."""


class PocketDataset(_Gathered):
    """Pictures drawn by pocket's own little world; nothing is downloaded."""

    source: Literal["pocket"]
    """`pocket`."""

    style: Annotated[str, Field(pattern=WORD, max_length=64)] = "ink"
    """Drawing style of the pictures."""

    count: Annotated[int, Field(ge=1, le=10_000)] = 32
    """How many pictures are drawn."""

    seed: Seed = 0
    """Which pictures are drawn."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.min_images > self.count:
            fault = Fault(
                path=("min_images",), given=str(self.min_images), expected=f"no more than count, which is {self.count}"
            )
            raise broken(fault)
        return self


class FolderDataset(_Gathered):
    """Pictures in a folder, with `metadata.csv`, `metadata.jsonl`, `.txt` files beside them, or one caption."""

    source: Literal["folder"]
    """`folder`."""

    path: Place
    """The folder with the pictures, relative to the story file."""

    caption: Text = ""
    """Text for pictures that have none of their own."""


class HubDataset(_Gathered):
    """A data set on ModelScope or Hugging Face."""

    source: Literal["modelscope", "huggingface"]
    """The hub: `modelscope` or `huggingface`."""

    id: Annotated[str, Field(pattern=HUB_ID, max_length=200)]
    """The data set's name on the hub, `owner/name`."""

    revision: Label | None = None
    """Branch, tag or commit; none means the newest, which the lock then records."""

    subset: Label | None = None
    """Subset of the data set; none means its default."""

    split: Label = "train"
    """Split of the data set."""

    image_column: Label = "image"
    """Column that holds the pictures, or their paths; the only one that does needs no naming."""

    text_column: Label | None = None
    """Column that holds the texts; none means `caption` for all or, without one, the column whose name says so."""

    caption: Text = ""
    """Text for pictures that have none of their own."""


Dataset = Annotated[PocketDataset | FolderDataset | HubDataset, Field(discriminator="source")]


class Filter(RootModel[dict[str, dict[str, Any]]]):
    """One Data-Juicer operator in Data-Juicer's own form: `operator: {parameter: value}`, or the bare name."""

    model_config = ConfigDict(frozen=True)

    @field_validator("root", mode="before")
    @classmethod
    def _allowed(cls, item: object) -> object:
        faults = operators.faults(item)
        if faults:
            raise broken(*faults)
        return operators.normalise(item)

    @property
    def name(self) -> str:
        """Return the operator's name."""
        return next(iter(self.root))

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters as given, without defaults."""
        return dict(self.root[self.name])

    @property
    def operator(self) -> operators.Operator:
        """Return what the table of operators says about it."""
        return operators.OPERATORS[self.name]

    @property
    def thresholds(self) -> dict[str, Any]:
        """Return every threshold with the value in force; None means no limit."""
        return self.operator.thresholds(self.parameters)

    def canonical_form(self) -> dict[str, dict[str, Any]]:
        """Return it without the parameters that equal Data-Juicer's defaults."""
        known = self.operator.known
        return {self.name: {key: value for key, value in self.parameters.items() if value != known[key].default}}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the list form operator by operator, so that editors complete names and parameters."""
        return operators.json_schema() | {"title": cls.__name__, "description": cls.__doc__}


class Prior(Frozen):
    """Pictures of a whole class, drawn by the checkpoint before training, so that learning one spares the rest."""

    prompt: Prompt
    """The class, as `一只狗` where the training pictures show one dog; without the trigger word."""

    count: Annotated[int, Field(ge=1, le=1000)] = 64
    """How many pictures are drawn; every other training step shows some of them."""

    weight: Annotated[float, Field(gt=0, le=10)] = 1.0
    """How much they count beside the training pictures, which count 1."""


SUITED: dict[str, dict[str, dict[str, Any]]] = {
    "preset": {"style": {"rank": 16}, "entity": {"rank": 4}},
    "optimizer": {"prodigy": {"learning_rate": 1.0}},
}
"""What some values of `lora` make the defaults of others."""


def _suited(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults that the given values of ``lora`` decide."""
    suited = {}
    for key, choices in SUITED.items():
        chosen = given.get(key)
        if isinstance(chosen, str):
            suited.update(choices.get(chosen, {}))
    return suited


class Lora(Frozen):
    """How the LoRA is trained."""

    preset: Literal["style", "entity"] | None = None
    """Defaults that suit what is learnt: a `style` has rank 16, an `entity`, a single thing or person, rank 4."""

    rank: Annotated[int, Field(ge=1, le=256)] = 16
    """Rank of the update matrices; 16 suits a style, 4 a single thing."""

    alpha: Annotated[float, Field(gt=0, le=1024)] = 4.0
    """Numerator of the update's scale, which is alpha / rank."""

    steps: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Optimiser steps."""

    batch_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Pictures a step."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Learning rate; of `prodigy`, which finds its own, a factor that is 1 unless given."""

    lr_scheduler: Literal["constant", "cosine", "linear"] = "constant"
    """How the learning rate falls after the warm-up: not at all, or to zero as a cosine or a line."""

    warmup_steps: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Steps over which the learning rate climbs from zero; fewer than `steps`."""

    optimizer: Literal["adamw", "adamw8bit", "prodigy"] = "adamw"
    """What moves the weights: `adamw8bit` (bitsandbytes) and `prodigy` (prodigyopt) are extras to be installed."""

    max_grad_norm: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Length that a longer gradient is cut to; 1 is usual, none leaves it."""

    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """What is kept is a running mean of the weights with this decay, as 0.99; none keeps the last weights."""

    resolution: Annotated[int, Field(ge=64, le=2048, multiple_of=64)] = 1024
    """Side of the square training crops, in pixels; buckets have as many pixels in other shapes."""

    crop: Literal["center", "random", "bucket"] = "center"
    """Where the square is cut from a picture that is not square; `bucket` keeps its shape, as near as sizes allow."""

    flip: bool = False
    """Whether pictures are mirrored by chance, each with probability one half."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the LoRA's inputs that is dropped at random."""

    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Weight decay of the optimiser."""

    min_snr_gamma: Annotated[float, Field(gt=0, le=100)] | None = None
    """Timesteps with more signal than this count less (min-SNR); 5 is usual, none lets all count alike."""

    noise_offset: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Noise common to a whole picture that is added to its own, so that very dark and bright ones can be learnt."""

    trigger: Title = ""
    """Word that stands for what is learnt; put before every caption that lacks it."""

    template: Text | None = None
    """Training text with `{caption}` and `{trigger}` in their places; none means the word, a comma and the caption."""

    prior: Prior | None = None
    """Pictures of the class that the thing learnt belongs to, so that not all of it comes to look like that thing."""

    caption_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the samples that are shown without their text, so that the style is learnt for any."""

    init_lora_weights: Literal["gaussian", "kaiming"] = "gaussian"
    """How the LoRA's first matrix begins; the second begins at zero."""

    target_modules: Annotated[
        tuple[Literal["to_q", "to_k", "to_v", "to_out"], ...], Field(strict=False, min_length=1, max_length=4)
    ] = ("to_q", "to_k", "to_v", "to_out")
    """Projections of the U-Net's attention that are trained."""

    devices: Annotated[int, Field(ge=1, le=16)] = 1
    """GPUs of this machine that train together, each on `batch_size` pictures a step."""

    sample_every: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Steps after which scenes are drawn as far as it has learnt, for the report; none draws none."""

    sample_scenes: Annotated[int, Field(ge=1, le=64)] = 2
    """How many scenes are drawn then: the first ones of the story, with the LoRA as it is trained."""

    seed: Seed = 0
    """Seed of every draw: data order, crops, noise, timesteps, first weights, dropout."""

    gradient_checkpointing: Literal["auto", True, False] = "auto"
    """Whether activations are computed twice to save memory; `auto` does so where memory is short."""

    @model_validator(mode="before")
    @classmethod
    def _suit(cls, given: Any) -> Any:
        """Fill in what the values given make the defaults of others."""
        return _suited(given) | given if isinstance(given, dict) else given

    def unsaid(self) -> dict[str, Any]:
        """Return the defaults that the values of other keys decide; ``canonical`` goes by them."""
        return _suited({key: getattr(self, key) for key in SUITED})

    @model_validator(mode="after")
    def _fitting_template(self) -> Self:
        if self.template is None:
            return self
        names = set(re.findall(r"\{([^{}]*)\}", self.template))
        if names - {"caption", "trigger"} or not names or ("trigger" in names) != bool(self.trigger):
            wanted = (
                "{trigger}, and {caption} where wanted" if self.trigger else "{caption}, or a trigger for {trigger}"
            )
            raise broken(Fault(path=("template",), given=f'"{self.template}"', expected=wanted))
        return self

    @model_validator(mode="after")
    def _warm_in_time(self) -> Self:
        if self.warmup_steps >= self.steps:
            expected = f"fewer than steps, which is {self.steps}"
            raise broken(Fault(path=("warmup_steps",), given=str(self.warmup_steps), expected=expected))
        return self

    @field_validator("target_modules")
    @classmethod
    def _once(cls, modules: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((module for module in modules if modules.count(module) > 1), None)
        if twice:
            raise broken(Fault(given=f"{twice} more than once", expected="each projection once"))
        return modules


class Render(Frozen):
    """How the scenes are drawn; each scene may say otherwise."""

    width: Side = 1024
    """Width of a picture, in pixels."""

    height: Side = 1024
    """Height of a picture, in pixels."""

    steps: Steps = 50
    """Denoising steps."""

    guidance_scale: Guidance = 4.0
    """How hard the prompt pulls; 1 means no guidance."""

    negative_prompt: Text = NEGATIVE_PROMPT
    """What the pictures should not be."""

    seed: Seed = 0
    """Seed of the first noise, for scenes without their own."""

    lora_scale: Strength = 1.0
    """Strength of the LoRA: 0 is none of it, 1 is as trained."""

    scheduler: SamplerName = "ddim"
    """Sampler: `ddim` is DiffSynth's own, evenly spaced from the last training timestep to 0."""

    lora: Place | None = None
    """A LoRA file to draw with (DiffSynth's, diffusers' or kohya's safetensors); then nothing is trained here."""


class Scene(Frozen):
    """One picture of the story."""

    prompt: Prompt
    """What the picture shows."""

    title: Title = ""
    """Caption in the report."""

    negative_prompt: Text | None = None
    """What this picture should not be; none means as in `render`."""

    seed: Seed | None = None
    """Seed of this picture's first noise; none means as in `render`."""

    width: Side | None = None
    """Width in pixels; none means as in `render`."""

    height: Side | None = None
    """Height in pixels; none means as in `render`."""

    steps: Steps | None = None
    """Denoising steps; none means as in `render`."""

    guidance_scale: Guidance | None = None
    """How hard the prompt pulls; none means as in `render`."""

    lora_scale: Strength | None = None
    """Strength of the LoRA; none means as in `render`."""


class Grid(Frozen):
    """How the pictures are pasted into one."""

    columns: Annotated[int, Field(ge=1, le=64)] = 4
    """Pictures side by side; a story with fewer scenes has fewer columns."""

    width: Annotated[int, Field(ge=16, le=16_384)] | None = None
    """Width of the whole grid, in pixels; none means 512 a column."""

    height: Annotated[int, Field(ge=16, le=16_384)] | None = None
    """Height of the whole grid, in pixels; none means 512 a row."""

    gap: Annotated[int, Field(ge=0, le=256)] = 0
    """Pixels between pictures."""

    background: Annotated[str, Field(pattern=COLOUR)] = "#ffffff"
    """Colour of gaps and empty cells."""


class Scores(Frozen):
    """How the pictures are judged."""

    aesthetics: Place = "auto"
    """Aesthetic predictor: `auto` (the checkpoint's own), `off`, or a folder."""

    clip: Place = "auto"
    """CLIP for the similarity of text and picture: `auto` (the checkpoint's own), `off`, or a folder."""

    threshold: Annotated[float, Field(ge=1, le=10)] = 6.0
    """Mean aesthetic score, of 1 to 10, from which on the story is valid."""


class Report(Frozen):
    """How the report is written."""

    language: Literal["zh", "en"] | None = None
    """Language of the report; none means the story's."""

    title: Title | None = None
    """Head of the report; none means the story's title."""

    compare: bool = True
    """Whether each scene is also drawn without the LoRA, from the same seed, to compare."""


class ResolvedScene(Frozen):
    """One picture with every value filled in: the scene's own, else that of `render`."""

    number: Annotated[int, Field(ge=1)]
    """The scene's place in the story, from 1."""

    title: str
    """Caption in the report."""

    prompt: str
    """What the picture shows."""

    negative_prompt: str
    """What it should not be."""

    seed: int
    """Seed of the first noise."""

    width: int
    """Width in pixels."""

    height: int
    """Height in pixels."""

    steps: int
    """Denoising steps."""

    guidance_scale: float
    """How hard the prompt pulls."""

    lora_scale: float
    """Strength of the LoRA."""

    scheduler: str
    """Sampler."""


class SampleScene(Frozen):
    """What a sample picture needs of its scene; its prompts come as prompt embeddings."""

    number: int
    """The scene's place in the story, from 1."""

    seed: int
    """Seed of the first noise."""

    width: int
    """Width in pixels."""

    height: int
    """Height in pixels."""

    steps: int
    """Denoising steps."""

    guidance_scale: float
    """How hard the prompt pulls."""

    scheduler: str = "ddim"
    """Sampler."""

    @classmethod
    def of(cls, scene: ResolvedScene) -> SampleScene:
        """Take from a scene what its sample pictures need."""
        return cls(**scene.model_dump(include=set(cls.model_fields)))


class ResolvedGrid(Frozen):
    """The grid with every value filled in."""

    columns: int
    """Pictures side by side."""

    rows: int
    """Rows of pictures."""

    width: int
    """Width of the whole grid, in pixels."""

    height: int
    """Height of the whole grid, in pixels."""

    gap: int
    """Pixels between pictures."""

    background: str
    """Colour of gaps and empty cells."""


def _or_own_lora(schema: dict[str, Any]) -> None:
    """Let editors know that a story needs a data set or a LoRA of its own."""
    schema["required"].remove("dataset")
    own = {"required": ["render"], "properties": {"render": {"required": ["lora"]}}}
    schema["anyOf"] = [{"required": ["dataset"]}, own]


class Story(Frozen):
    """A picture story: what to learn from, how to learn it, and what to draw."""

    model_config = ConfigDict(json_schema_extra=_or_own_lora)

    kolora: Literal[1] = 1
    """Version of this schema."""

    name: Annotated[str, Field(pattern=NAME, max_length=64)] = "story"
    """Short name for files and submissions."""

    title: Title = ""
    """Title of the story."""

    language: Literal["zh", "en"] = "zh"
    """Language of the story: `zh` (Chinese) or `en` (English)."""

    team: Title = ""
    """Team that hands the story in: author of the LoRA, and first part of a submission's name."""

    model: Model = Model()
    """The checkpoint that is taught and that draws."""

    dataset: Dataset | None
    """The pictures to learn from; `source` says where they are. Needed unless `render.lora` is given."""

    filters: Annotated[tuple[Filter, ...], Field(strict=False, max_length=32)] = ()
    """Data-Juicer operators, in order; a picture must pass all of them."""

    lora: Lora = Lora()
    """How the LoRA is trained."""

    render: Render = Render()
    """How the scenes are drawn."""

    scenes: Annotated[tuple[Scene, ...], Field(strict=False, min_length=1, max_length=64)]
    """The pictures of the story, in order; eight make the usual story."""

    grid: Grid = Grid()
    """How the pictures are pasted into one."""

    scores: Scores = Scores()
    """How the pictures are judged."""

    report: Report = Report()
    """How the report is written."""

    @model_validator(mode="before")
    @classmethod
    def _own_lora(cls, data: object) -> object:
        """A story that brings its own LoRA may leave the data set out."""
        render = data.get("render") if isinstance(data, Mapping) else None
        brings = isinstance(render, Mapping) and render.get("lora") is not None
        return {"dataset": None, **data} if isinstance(data, Mapping) and brings else data

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> Self:
        if self.dataset is None and self.render.lora is None:
            expected = "the pictures to learn from, or a LoRA in render.lora"
            raise broken(Fault(path=("dataset",), given="nothing", expected=expected))
        return self

    @model_validator(mode="after")
    def _room(self) -> Self:
        grid = self.resolved_grid()
        for side, total, cells in (("width", grid.width, grid.columns), ("height", grid.height, grid.rows)):
            least = 8 * cells + grid.gap * (cells - 1)
            if total < least:
                expected = f"at least {least} pixels for {cells} pictures and their gaps"
                raise broken(Fault(path=("grid", side), given=str(total), expected=expected))
        return self

    @property
    def training_set(self) -> PocketDataset | FolderDataset | HubDataset | None:
        """Return the data set to learn from; None where the story brings its own LoRA."""
        return self.dataset if self.render.lora is None else None

    def resolved_scenes(self) -> tuple[ResolvedScene, ...]:
        """Return the scenes numbered from 1, with every value filled in from `render`."""
        names = set(ResolvedScene.model_fields)
        common = self.render.model_dump(include=names)
        own = (scene.model_dump(include=names, exclude_none=True) for scene in self.scenes)
        return tuple(ResolvedScene(**common | values, number=number) for number, values in enumerate(own, start=1))

    def resolved_grid(self) -> ResolvedGrid:
        """Return the grid for this story's number of scenes, with every value filled in."""
        columns = min(self.grid.columns, len(self.scenes))
        rows = ceil(len(self.scenes) / columns)
        return ResolvedGrid(
            columns=columns,
            rows=rows,
            width=self.grid.width or CELL * columns,
            height=self.grid.height or CELL * rows,
            gap=self.grid.gap,
            background=self.grid.background,
        )
