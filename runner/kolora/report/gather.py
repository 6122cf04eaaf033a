"""Turns a run folder into what the report says: only records that belong to this run count, and gaps are named."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from kolora.artifacts import DIGEST_SHOWN, PUBLISHED, picture_path
from kolora.errors import InputAbsent
from kolora.report.data import (
    Again,
    Checkpoint,
    Data,
    Dropped,
    Environment,
    Example,
    Failure,
    Gap,
    Grid,
    Likeness,
    Numerics,
    ReportData,
    Rule,
    Sample,
    Scene,
    Settings,
    Sieve,
    Step,
    Training,
    Verdict,
)
from kolora.report.records import (
    FetchRead,
    FilterRead,
    GridRead,
    HistoryRead,
    LedgerLineRead,
    LikenessRead,
    RecordRead,
    RunRead,
    SceneRead,
    ScoreRead,
    Shape,
    StepRead,
    TrainRead,
    parse_json,
    parse_value,
    read_bytes,
    read_json,
)
from kolora.report.settings import read_settings
from kolora.rules import Entry, ask_rules

RUN = "records/run.json"
LEDGER = PUBLISHED["filter"]["ledger.jsonl"]
HISTORY = PUBLISHED["train"]["history.json"]
GRID = PUBLISHED["grid"]["grid.png"]
LORAS = ("lora/pytorch_lora_weights.safetensors", "lora/lora.safetensors")
"""Files of a LoRA under diffusers' names; the first that is there is told."""
SAMPLES = PUBLISHED["train"]["samples"]
TRAIN = PUBLISHED["filter"]["train"]
DROPPED = PUBLISHED["filter"]["dropped"]
STORY = "story.yaml"
LOCK = "story.lock.yaml"
DROPPED_SHOWN = 24
"""Of each filter."""
EXAMPLES_SHOWN = 24
STORY_BYTES = 256 * 1024


def read_report_data(out: Path) -> ReportData:
    """Return what the report of the run folder `out` says.

    Works on a run that is done, failed, stopped or half done; whatever is absent, torn or not what was recorded becomes
    a gap. Raises InputAbsent where `out` is no run folder at all.
    """
    if not (out / "records").is_dir():
        raise InputAbsent(
            f"{out} is no run folder: it has no records", hint="name the folder that a run wrote, as out/quickstart"
        )
    return _Folder(out).report()


class _Folder:
    """A run folder being read; `gaps` grows while it is."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.gaps: list[Gap] = []
        self.run = self.keep(read_json(out, RUN, RunRead))
        self.steps = self.run.steps if self.run else ()
        self.records = self.current_records()

    def keep(self, value: Shape | Gap) -> Shape | None:
        if isinstance(value, Gap):
            self.gaps.append(value)
            return None
        return value

    def current_records(self) -> dict[str, RecordRead]:
        """Records of this run's steps. One left by an earlier story has another digest and does not count."""
        if self.run is None:
            names = sorted(path.name for path in (self.out / "records").glob("*.json") if path.name != "run.json")
            found = [self.keep(read_json(self.out, f"records/{name}", RecordRead)) for name in names]
            return {record.step: record for record in found if record}
        records = {}
        for step in self.steps:
            path = _record(step.step)
            if step.action not in ("kept", "ran"):
                continue
            record = self.keep(read_json(self.out, path, RecordRead))
            if record and step.digest in (None, record.digest):
                records[step.step] = record
            elif record:
                self.gaps.append(Gap(what="changed", path=path))
        return records

    def facts(self, step: str, shape: type[Shape]) -> Shape | None:
        record = self.records.get(step)
        return self.keep(parse_value(record.facts, _record(step), shape)) if record else None

    def recorded_bytes(self, step: str, name: str, path: str) -> bytes | None:
        """Bytes of a published file, only where they are those that the step recorded under `name`."""
        record = self.records.get(step)
        listed = record.files.get(name) if record else None
        content = read_bytes(self.out, path, sha256=listed.sha256 if listed else None)
        if isinstance(content, Gap):
            self.gaps.append(content)
            return None
        return content

    def report(self) -> ReportData:
        run = self.run
        title = (run.story.report.title or run.title or run.name) if run else self.out.resolve().name
        scenes = self.scenes()
        return ReportData(
            kolora=run.kolora if run else next((record.kolora for record in self.records.values()), None),
            name=run.name if run else self.out.resolve().name,
            title=title,
            language=run.language if run else "en",
            status=run.status if run else "partial",
            started=run.started if run else None,
            seconds=run.seconds if run else None,
            checkpoint=self.checkpoint(),
            failure=Failure(**run.error.model_dump(exclude={"facts"})) if run and run.error else None,
            grid=self.grid(),
            verdict=self.verdict(scenes),
            coherence=self.likeness("coherence"),
            style=self.likeness("style"),
            settings=self.settings(),
            scenes=scenes,
            training=self.training(),
            data=self.data(),
            steps=self.step_lines(),
            numerics=self.numerics(),
            environment=Environment(**run.environment.model_dump()) if run else Environment(),
            again=self.again(),
            gaps=tuple(dict.fromkeys(self.gaps)),
        )

    def checkpoint(self) -> Checkpoint | None:
        if self.run:
            return Checkpoint(**self.run.checkpoint.model_dump()) if self.run.checkpoint else None
        digests = [facts.checkpoint for facts in self.rendered().values() if facts.checkpoint]
        return Checkpoint(name=digests[0][:DIGEST_SHOWN], digest=digests[0]) if digests else None

    def grid(self) -> Grid | None:
        facts = self.facts("grid", GridRead)
        if facts is None or self.recorded_bytes("grid", "grid.png", GRID) is None:
            return None
        return Grid(path=GRID, **facts.model_dump())

    def verdict(self, scenes: tuple[Scene, ...]) -> Verdict:
        facts = self.facts("score", ScoreRead)
        rules = self.rules(scenes, facts)
        if facts is None:
            return Verdict(state="not scored", rules=rules)
        return Verdict(
            state="not scored" if facts.valid is None else "valid" if facts.valid else "invalid",
            rules=rules,
            threshold=facts.threshold,
            aesthetics_mean=facts.aesthetics_mean,
            clip_mean=facts.clip_mean,
            training_clip_mean=facts.training.clip_mean if facts.training else None,
        )

    def rules(self, scenes: tuple[Scene, ...], score: ScoreRead | None) -> tuple[Rule, ...]:
        """Say which rules of a submission the run meets, so far as it can tell from inside."""
        run, checkpoint = self.run, self.checkpoint()
        entry = Entry(
            team=run.story.team if run else "",
            title=(run.title or run.name) if run else "",
            pictures=sum(scene.image is not None for scene in scenes),
            aesthetics=score.aesthetics_mean if score else None,
            lora=None if self.lora() else InputAbsent("there is no LoRA file"),
            checkpoint=checkpoint.name if checkpoint else None,
            is_complete=bool(run and run.status == "complete"),
        )
        return tuple(
            Rule(name=rule.name, met=rule.met, found=rule.found, needed=rule.needed) for rule in ask_rules(entry)
        )

    def lora(self) -> str | None:
        return next((path for path in LORAS if (self.out / path).is_file()), None)

    def likeness(self, of: Literal["coherence", "style"]) -> Likeness | None:
        facts = self.facts("score", ScoreRead)
        found: LikenessRead | None = getattr(facts, of) if facts else None
        return Likeness(**found.model_dump(exclude={"scenes"})) if found else None

    def settings(self) -> Settings:
        return Settings(**self.run.story.render.model_dump()) if self.run else Settings()

    def rendered(self) -> dict[int, SceneRead]:
        """What the finished scenes were rendered from, by number."""
        facts = {number: self.facts(step, SceneRead) for step in self.records if (number := _scene_number(step))}
        return {number: scene for number, scene in facts.items() if scene}

    def scenes(self) -> tuple[Scene, ...]:
        planned = {scene.number: scene for scene in self.run.scenes} if self.run else {}
        rendered = self.rendered()
        actions = {number: step.action for step in self.steps if (number := _scene_number(step.step))}
        score = self.facts("score", ScoreRead)
        scores = {line.number: line for line in score.scenes} if score else {}
        coherence, style = (
            dict(enumerate(likeness.scenes, start=1)) if likeness else {}
            for likeness in (score and score.coherence, score and score.style)
        )
        usual = self.settings()
        scenes = []
        for number, facts in sorted((rendered | planned).items()):
            settings = Settings(**facts.model_dump(include=set(Settings.model_fields)))
            scenes.append(
                Scene(
                    number=number,
                    state="done" if number in rendered else "failed" if actions.get(number) == "failed" else "pending",
                    title=facts.title.strip(),
                    prompt=facts.prompt,
                    negative_prompt=facts.negative_prompt,
                    seed=facts.seed,
                    settings=settings,
                    differs=difference(settings, usual),
                    image=self.image(f"render-{number:02d}") if number in rendered else None,
                    sha256=self.digest_of(f"render-{number:02d}", "image.png"),
                    plain=self.image(f"plain-{number:02d}") if f"plain-{number:02d}" in self.records else None,
                    aesthetics=scores[number].aesthetics if number in scores else None,
                    clip=scores[number].clip if number in scores else None,
                    coherence=coherence.get(number),
                    style=style.get(number),
                )
            )
        return tuple(scenes)

    def image(self, step: str) -> str | None:
        return self.recorded_path(step, "image.png", picture_path(step))

    def digest_of(self, step: str, name: str) -> str | None:
        record = self.records.get(step)
        return record.files[name].sha256 if record and name in record.files else None

    def recorded_path(self, step: str, name: str, path: str) -> str | None:
        """The path of a published file, only where its bytes are the recorded ones."""
        return None if self.recorded_bytes(step, name, path) is None else path

    def training(self) -> Training | None:
        facts = self.facts("train", TrainRead)
        if facts is None:
            return None
        content = self.recorded_bytes("train", "history.json", HISTORY)
        history = self.keep(parse_json(content, HISTORY, HistoryRead)) if content is not None else None
        samples = [
            Sample(step=sample.step, scene=sample.scene, path=path)
            for sample in facts.samples
            if (path := self.recorded_path("train", sample.file, f"{SAMPLES}/{Path(sample.file).name}"))
        ]
        return Training(
            **facts.model_dump(exclude={"samples"}), **(history.model_dump() if history else {}), samples=tuple(samples)
        )

    def data(self) -> Data | None:
        fetch, kept = self.facts("fetch", FetchRead), self.facts("filter", FilterRead)
        if kept is None and self.run and self.run.error:
            kept = self.run.error.facts
        if fetch is None and kept is None:
            return None
        funnel: tuple[Sieve, ...] = ()
        if kept:
            funnel = tuple(Sieve(name=sieve.name, entered=sieve.entered, left=sieve.left) for sieve in kept.funnel)
        elif fetch:
            funnel = (Sieve(name="fetch", entered=fetch.images + fetch.dropped, left=fetch.images),)
        ledger = self.ledger() if kept else None
        return Data(
            source=fetch.source if fetch else None,
            kept=kept.kept if kept else None,
            dropped=kept.dropped if kept else None,
            funnel=funnel,
            losses=self.losses(ledger or ()),
            ledger=LEDGER if ledger is not None else None,
            examples=self.examples(ledger or ()),
        )

    def ledger(self) -> tuple[LedgerLineRead, ...] | None:
        content = self.recorded_bytes("filter", "ledger.jsonl", LEDGER)
        if content is None:
            return None
        lines = (
            self.keep(parse_json(line, f"{LEDGER}:{number}", LedgerLineRead))
            for number, line in enumerate(content.splitlines(), start=1)
            if line.strip()
        )
        return tuple(line for line in lines if line)

    def losses(self, ledger: tuple[LedgerLineRead, ...]) -> tuple[Dropped, ...]:
        """The first that each filter dropped, in the order of the ledger."""
        has_pictures = self.has_folder(DROPPED) if any(line.thumbnail for line in ledger) else False
        told: Counter[str | None] = Counter()
        losses = []
        for line in ledger:
            if line.verdict == "kept" or told[line.by] == DROPPED_SHOWN:
                continue
            told[line.by] += 1
            path = line.thumbnail if has_pictures else None
            path = path and self.recorded_path("filter", path, f"{DROPPED}/{Path(path).name}")
            against = next((each for each in line.operators if each.verdict == "dropped"), None)
            losses.append(
                Dropped(
                    source=line.source,
                    by=line.by,
                    kind=line.kind,
                    reason=line.reason,
                    measured=against.values if against else {},
                    asked={key: value for key, value in against.thresholds.items() if value is not None}
                    if against
                    else {},
                    thumbnail=path,
                )
            )
        return tuple(losses)

    def examples(self, ledger: tuple[LedgerLineRead, ...]) -> tuple[Example, ...]:
        """Training pictures from all over the data set, not only its beginning."""
        kept = [line.train for line in ledger if line.train and "filter" in self.records]
        if not kept or not self.has_folder(TRAIN):
            return ()
        texts = {line.train: line.text for line in ledger}
        shown = min(EXAMPLES_SHOWN, len(kept))
        spread = [kept[at * len(kept) // shown] for at in range(shown)]
        paths = {name: self.recorded_path("filter", name, f"{TRAIN}/{Path(name).name}") for name in spread}
        return tuple(Example(path=path, text=texts[name]) for name, path in paths.items() if path)

    def has_folder(self, path: str) -> bool:
        """Say whether a folder is there; one that is not is one gap, not one for each of its pictures."""
        if (self.out / path).is_dir():
            return True
        self.gaps.append(Gap(what="absent", path=path))
        return False

    def step_lines(self) -> tuple[Step, ...]:
        lines: Iterable[StepRead | RecordRead] = self.steps if self.run else self.records.values()
        return tuple(self.step_line(line) for line in lines)

    def step_line(self, line: StepRead | RecordRead) -> Step:
        record = self.records.get(line.step)
        return Step(
            name=line.step,
            stage=line.stage,
            action=line.action if isinstance(line, StepRead) else "unknown",
            reason=line.reason if isinstance(line, StepRead) else "",
            why=line.why if isinstance(line, StepRead) else (),
            # A kept step costs nothing now: its bar shows what keeping it saved.
            seconds=record.seconds if record else line.seconds,
            peak_memory_bytes=record.peak_memory_bytes if record else {},
            digest=line.digest,
        )

    def numerics(self) -> tuple[Numerics, ...]:
        groups: dict[tuple[tuple[str, object], ...], list[RecordRead]] = {}
        for record in self.records.values():
            # A step that computed nothing has no numerics to speak of.
            if record.numerics.get("torch") is not None:
                groups.setdefault(tuple(sorted(record.numerics.items())), []).append(record)
        return tuple(
            Numerics(steps=tuple(record.step for record in group), values=group[0].numerics)
            for group in groups.values()
        )

    def again(self) -> Again:
        given = self.run.command if self.run else ()
        command = shlex.join(given) if given else f"kolora run {STORY} -o again"
        settings = read_settings(self.run.settings) if self.run else ()
        content = read_bytes(self.out, STORY)
        if isinstance(content, Gap):
            self.gaps.append(content)
            return Again(command=command, settings=settings, story=None, lora=self.lora())
        try:
            story = content.decode("utf-8-sig") if len(content) <= STORY_BYTES else None
        except UnicodeDecodeError:
            story = None
        lock = LOCK if self.run and self.run.status == "complete" and (self.out / LOCK).is_file() else None
        return Again(command=command, settings=settings, story=story, lora=self.lora(), lock=lock)


def difference(settings: Settings, usual: Settings) -> Settings:
    """Return only those settings that are not the usual ones."""
    others = usual.model_dump()
    return Settings(**{name: value for name, value in settings.model_dump().items() if value != others[name]})


def _record(step: str) -> str:
    return f"records/{step}.json"


def _scene_number(step: str) -> int | None:
    stage, _, number = step.partition("-")
    return int(number) if stage == "render" and number.isdecimal() else None
