"""The contest's rules, judged by what came out here and never by what a submission says of itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kolora.configs import read_config
from kolora.hubs.catalogue import POCKET, is_pocket
from kolora.inputs import ResolvedInputs
from kolora.report.values import Language
from kolora.report.words import WORDS
from kolora.rules import NAME, PRACTICE_NAME, Entry, Rule, Violation, check_rules
from kolora.runfolder.layout import LORAS, RUN_RECORD
from kolora.runfolder.store import DIGEST_SHOWN
from kolora.spec import Story
from kolora.spec.words import printable

WIDTHS = ("block_out_channels", "cross_attention_dim")
"""What a U-Net keeps however its weights and the spelling of its config are changed."""
LONGEST_SHOWN = 200
"""Characters of a stranger's name that a message repeats."""


def judge_rules(
    story: Story, *, resolved: ResolvedInputs, scenes: Sequence[Mapping[str, Any]], files: Collection[str]
) -> list[dict[str, Any]]:
    """Return what verify.json says of each rule: whether it is met, what was found and needed, by whom it was measured.

    story: as the lock confirms it. resolved: what it was drawn with here. scenes: as verify.json has them. files: the
    names in the submission; whoever packed it chose them, and they count only for the rule of names.
    """
    names = _names_of_loras(files)
    entry = _entry(story, resolved, scenes, names)
    facts = []
    for rule in check_rules(entry):
        is_named_otherwise = rule.name == "name" and RUN_RECORD not in files and names != {entry.name}
        by = _predictor(resolved) if rule.name == "aesthetics" else None
        facts.append(_facts(_named_otherwise(rule, names, entry) if is_named_otherwise else rule) | {"by": by})
    return facts


def _entry(
    story: Story, resolved: ResolvedInputs, scenes: Sequence[Mapping[str, Any]], names: Collection[str]
) -> Entry:
    title = story.title or story.name
    # What is not the picture that is drawn here is no picture of this work.
    confirmed = [scene for scene in scenes if scene["verdict"] != "different"]
    return Entry(
        team=story.team.strip() or _team_of(names, title.strip()),
        title=title,
        pictures=len(confirmed),
        aesthetics=_mean([scene["aesthetics"]["again"] for scene in confirmed]),
        # It has drawn the pictures here.
        lora=None,
        is_practice=is_drawn_by_pocket(resolved),
        is_complete=len(scenes) == len(story.scenes),
    )


def is_drawn_by_pocket(resolved: ResolvedInputs) -> bool:
    """Say whether pocket drew here, by files and widths alone: of a stranger's checkpoint, the name says nothing."""
    if is_pocket("", resolved.inputs.checkpoint, resolved.files.get("checkpoint", {})):
        return True
    here, pocket = (read_config(folder / "unet") for folder in (resolved.checkpoint, POCKET))
    return all(here.get(key) == pocket[key] for key in WIDTHS)


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known and len(known) == len(scores) else None


def _names_of_loras(files: Collection[str]) -> set[str]:
    """Return what a submission calls its LoRA beside the names that tools look for."""
    own = [name for name in files if name.startswith("lora/") and name.endswith(".safetensors")]
    return {name[len("lora/") : -len(".safetensors")] for name in own if name not in LORAS.values()}


def _team_of(names: Collection[str], title: str) -> str:
    """Return the team that a submission's name tells, for a story that names none."""
    for form in (NAME, PRACTICE_NAME):
        ending = form.format(team="", title=title)
        for name in sorted(names):
            if name.endswith(ending):
                return name.removesuffix(ending)
    return ""


def _named_otherwise(rule: Rule, names: Collection[str], entry: Entry) -> Rule:
    given = printable(" and ".join(sorted(names)), most=LONGEST_SHOWN) or "nothing of its own"
    message = f"its LoRA is called {given}; by the rule: {printable(entry.name, most=LONGEST_SHOWN)}"
    violation = Violation(message, "kolora export OUT --to submission names it")
    return Rule("name", False, violations=(*rule.violations, violation))


def _predictor(resolved: ResolvedInputs) -> str | None:
    """Name what scored: by its repository where it came from a hub, else by its sha256: a story may bring its own."""
    scorer = resolved.inputs.aesthetics
    if scorer is None:
        return None
    origin = resolved.origins.get(scorer.folder)
    return origin["id"] if origin else f"sha256 {scorer.digest[:DIGEST_SHOWN]}"


def _facts(rule: Rule) -> dict[str, Any]:
    facts = asdict(rule)
    return {**facts, "violations": [violation.message for violation in rule.violations]}


def rule_words(rules: Sequence[Mapping[str, Any]], language: Language) -> list[dict[str, Any]]:
    """Say the rules as the report does: each with its state and its words."""
    words = WORDS[language]
    said = []
    for rule in rules:
        state = "unmeasured" if rule["met"] is None else "met" if rule["met"] else "unmet"
        needed = "–" if rule["needed"] is None else f"{rule['needed']:g}"
        text = words[f"rule_{rule['name']}"].format(needed)
        said.append({**rule, "state": state, "state_word": words[state], "text": text})
    return said


def broken_rules(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in English what keeps a submission from being one, besides that it is an exercise."""
    lines: list[str] = []
    for rule in rules:
        if not rule["met"] and not (rule["name"] == "kolors" and is_exercise(rules)):
            lines += rule["violations"] or [f"{rule['name']}: not measured"]
    return lines


def is_exercise(rules: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether pocket drew it."""
    return any(rule["name"] == "kolors" and rule["met"] is False for rule in rules)
