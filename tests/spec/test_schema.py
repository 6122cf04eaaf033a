"""The JSON Schema: up to date in specs/, and of one mind with the loader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kolora.spec import load_story, story_json_schema

SPECS = Path(__file__).parents[2] / "specs"
SOUND: dict[str, Any] = {"dataset": {"source": "pocket"}, "scenes": [{"prompt": "a"}]}


def validator() -> jsonschema.Draft202012Validator:
    """Return a validator by the story's schema."""
    return jsonschema.Draft202012Validator(story_json_schema())


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema of a mapping in ``node``."""
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            yield node
        yield from (found for below in node.values() for found in objects(below))
    if isinstance(node, list):
        yield from (found for below in node for found in objects(below))


def test_the_committed_schema_is_the_models() -> None:
    """Refresh it with `kolora schema > specs/story.schema.json`."""
    committed = (SPECS / "story.schema.json").read_text(encoding="utf-8")
    assert json.loads(committed) == story_json_schema()


def test_it_is_a_schema_of_the_draft_it_names() -> None:
    schema = story_json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_every_mapping_refuses_unknown_keys() -> None:
    found = list(objects(story_json_schema()))
    assert len(found) > 10
    assert [node for node in found if node.get("additionalProperties") is not False] == []


def test_every_section_and_every_key_is_explained() -> None:
    schema = story_json_schema()
    sections = schema["$defs"] | {"Story": schema}
    assert [name for name, section in sections.items() if not section.get("description")] == []
    keys = {
        f"{name}.{key}": node
        for name, section in sections.items()
        for key, node in section.get("properties", {}).items()
    }
    assert len(keys) > 50
    assert [name for name, node in keys.items() if not node.get("description") and "$ref" not in node] == []


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_specs_validate_by_it(path: Path) -> None:
    # An editor reads YAML 1.2, where 2e-3 is a number; PyYAML's own loader reads it as text.
    data = load_story(path.read_bytes()).model_dump(mode="json", exclude_none=True)
    validator().validate(data)
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["kolora"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"titel": "x"},
        {"lora": {"rank": 0}},
        {"lora": {"steps": "5"}},
        {"render": {"width": 100}},
        {"dataset": {"source": "nowhere"}},
        {"dataset": {"source": "folder"}},
        {"scenes": []},
        {"filters": ["python_lambda_mapper"]},
        {"filters": [{"image_shape_filter": {"min_widht": 3}}]},
        {"filters": [{"image_shape_filter": {}, "text_length_filter": {}}]},
    ],
)
def test_it_refuses_what_the_loader_refuses(change: dict[str, Any]) -> None:
    assert validator().is_valid(SOUND)
    assert not validator().is_valid(SOUND | change)


@pytest.mark.parametrize(
    "change",
    [
        {"filters": ["image_shape_filter", {"text_length_filter": None}, {"image_size_filter": {"min_size": "2 KB"}}]},
        {"lora": {"gradient_checkpointing": False, "learning_rate": 1e-4}},
        {"name": "我的故事"},
        {"scenes": [{"prompt": "a", "seed": None}]},
    ],
)
def test_it_takes_what_the_loader_takes(change: dict[str, Any]) -> None:
    validator().validate(SOUND | change)
    load_story(json.dumps(SOUND | change))
