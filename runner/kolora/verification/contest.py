"""What a verdict tells beside itself: who signed a submission, and which of the contest's rules it meets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kolora.inputs import ResolvedInputs
from kolora.report.values import Language
from kolora.report.words import WORDS
from kolora.spec import Story
from kolora.verification.pack import Pack
from kolora.verification.rules import broken_rules, is_exercise, judge_rules, rule_words
from kolora.verification.signature import check_signature, signature_findings, signature_words
from kolora.verification.verdict import worst


def add_contest(
    facts: Mapping[str, Any],
    *,
    pack: Pack,
    story: Story,
    resolved: ResolvedInputs,
    signers: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Return what verify.json says with ``rules`` and ``signature``; a signature that does not do makes it different.

    resolved: what was drawn with here. signers: see ``check_signature``.
    """
    signature = check_signature(pack, signers)
    found = [each.facts for each in signature_findings(signature)]
    return {
        **facts,
        "verdict": worst([facts["verdict"], *(each["verdict"] for each in found)]),
        "findings": [*facts["findings"], *found],
        "rules": judge_rules(story, resolved=resolved, scenes=facts["scenes"], files=pack.sizes),
        "signature": signature,
    }


def contest_scope(facts: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """Return what the page's templates find of it; its words are the report's."""
    return {
        "rules": rule_words(facts["rules"], language),
        "exercise": is_exercise(facts["rules"]),
        "report_words": WORDS[language],
    }


def contest_lines(facts: Mapping[str, Any]) -> list[str]:
    """Say in English who signed, and which rules are not met."""
    rules = facts["rules"]
    broken = broken_rules(rules)
    if is_exercise(rules):
        broken.insert(0, "an exercise, drawn by pocket")
    state = f"not a submission to the contest: {'; '.join(broken)}" if broken else "the contest's rules are met"
    return [signature_words(facts["signature"]), state]
