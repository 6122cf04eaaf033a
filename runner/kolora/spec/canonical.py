"""The canonical form of a story or of a stage's config: keys equal to their default are left out.

Digests, locks and comparisons are made of it, so that a new optional key changes nothing of what was made before it.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def canonical(model: BaseModel) -> dict[str, Any]:
    """Return a model as plain JSON values without the keys that equal their default.

    Fields that a dump excludes are left out too. Reading the result back gives an equal model: where the value of one
    key decides the default of another (``dependent_defaults`` of a model), that default counts. A model whose form is
    no plain mapping of its fields says it itself (``canonical_form``).
    """
    dumped = model.model_dump(mode="json")
    defaults = _defaults(model)
    kept = {}
    for name, value in dumped.items():
        # Compared as Python values, as defaults are written; the dump has a list where the default is a tuple.
        given = getattr(model, name)
        if name in defaults and given == defaults[name]:
            continue
        kept[name] = _plain(given, value)
    return kept


def _plain(given: Any, dumped: Any) -> Any:
    """Return a value in canonical form: models without their defaults, also inside lists and mappings."""
    own = getattr(given, "canonical_form", None)
    if own:
        return own()
    if isinstance(given, BaseModel):
        return canonical(given)
    if isinstance(given, tuple | list):
        return [_plain(item, value) for item, value in zip(given, dumped, strict=True)]
    return dumped


def _defaults(model: BaseModel) -> dict[str, Any]:
    """Return the value that each optional field has where it is not given, the other fields being what they are."""
    fields = type(model).model_fields
    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in fields.items() if not field.is_required()
    }
    dependent_defaults = getattr(model, "dependent_defaults", None)
    return defaults | (dependent_defaults() if dependent_defaults else {})
