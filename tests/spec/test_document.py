"""Files as strangers write them: encodings, line ends, tabs, and YAML that means harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from kolora.errors import InputAbsent
from kolora.spec import Problem, Story, StoryProblems, load_story, read_story

TEXT = "title: 小故事\ndataset: {source: pocket}\nscenes:\n  - prompt: 一只猫\n"


def refused(source: str | bytes) -> Problem:
    """Return the one thing that is wrong with ``source``."""
    with pytest.raises(StoryProblems) as caught:
        load_story(source)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    "raw",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.replace("\n", "\r\n").encode("utf-16"),
        TEXT.encode("utf-32"),
        TEXT.encode() + b"---\n"[:0] + b"...\n",
        b"---\n" + TEXT.encode(),
        b"%YAML 1.2\n---\n" + TEXT.encode(),
    ],
    ids=["utf-8", "bom", "crlf", "cr", "utf-16", "utf-16-be", "utf-16-crlf", "utf-32", "end", "start", "directive"],
)
def test_every_usual_encoding_gives_the_same_story(raw: bytes) -> None:
    assert load_story(raw) == load_story(TEXT)
    assert load_story(raw).title == "小故事"


def test_a_bom_in_text_is_no_character_of_the_first_key() -> None:
    assert load_story("\ufeff" + TEXT) == load_story(TEXT)


def test_lines_are_counted_with_crlf() -> None:
    problem = refused((TEXT + "lora: {rank: 0}\n").replace("\n", "\r\n").encode())
    assert (problem.line, problem.column) == (5, 14)


@pytest.mark.parametrize("source", [b"", b"\n\n", b"# only a comment\n", b"---\n", b"~\n", b"\xef\xbb\xbf", ""])
def test_an_empty_file_is_said_to_be_empty(source: str | bytes) -> None:
    problem = refused(source)
    assert problem.given == "an empty file"
    assert problem.expected == "a story with at least dataset and scenes"


def test_a_file_in_gbk_is_told_to_be_saved_as_utf8() -> None:
    problem = refused(TEXT.encode("gbk"))
    assert (problem.line, problem.expected) == (1, "text saved as UTF-8")
    assert "that is not UTF-8" in problem.given


def test_half_a_utf16_character_is_an_error_not_a_crash() -> None:
    assert "UTF-16" in refused(TEXT.encode("utf-16")[:-1]).given


@pytest.mark.parametrize(("letter", "code"), [("\0", "U+0000"), ("\x01", "U+0001"), ("\x1b", "U+001B")])
def test_control_characters_are_named_with_their_place(letter: str, code: str) -> None:
    problem = refused(f"title: a\nname: b{letter}c\n")
    assert (problem.line, problem.column) == (2, 8)
    assert code in problem.given


@pytest.mark.parametrize("source", ["dataset:\n\tsource: pocket\n", "dataset:\n  source: pocket\n\tcount: 3\n"])
def test_a_tab_in_the_indentation_is_named(source: str) -> None:
    problem = refused(source)
    assert problem.given == "a tab in the indentation"
    assert problem.expected == "spaces"
    assert problem.line == source[: source.index("\t")].count("\n") + 1


def test_a_tab_between_key_and_value_is_named() -> None:
    problem = refused(TEXT + "lora:\t{rank: 4}\n")
    assert (problem.given, problem.expected, problem.line, problem.column) == ("a tab", "spaces", 5, 6)


def test_tabs_in_texts_and_comments_are_fine() -> None:
    assert load_story(TEXT + "name: x # a\tcomment\nreport: {title: 'a\tb'}\n").report.title == "a\tb"


@pytest.mark.parametrize("source", ["标题：x\nscenes: []\n", "scenes:\n  - prompt：a\n    title: b\n"])
def test_a_full_width_colon_is_named(source: str) -> None:
    assert refused(source).given == "a full-width colon ："


@pytest.mark.parametrize(
    ("source", "line"),
    [("a: [1\n", 2), ('a: 1\nb: "x\n', 3), ("a: b: c\n", 1), ("a: @x\n", 1), ("a: *b\n", 1)],
)
def test_broken_yaml_is_placed(source: str, line: int) -> None:
    problem = refused(source)
    assert problem.line == line
    assert problem.given.startswith("broken YAML")


def test_a_second_document_is_refused() -> None:
    assert "another document" in refused(TEXT + "---\n" + TEXT).given


def test_aliases_and_merges_are_written_out() -> None:
    text = (
        "dataset: {source: pocket}\nscenes:\n  - &first {prompt: 猫, seed: 3, steps: 9}\n"
        "  - {<<: *first, seed: 4}\n  - *first\n"
    )
    first, second, third = load_story(text).scenes
    assert (second.prompt, second.seed, second.steps) == ("猫", 4, 9)
    assert third == first


def test_of_two_merged_mappings_the_first_wins() -> None:
    scenes = "scenes:\n  - &a {prompt: 猫, seed: 1}\n  - &b {prompt: 狗, steps: 2}\n  - {<<: [*a, *b]}\n"
    merged = load_story("dataset: {source: pocket}\n" + scenes).scenes[2]
    assert (merged.prompt, merged.seed, merged.steps) == ("猫", 1, 2)


def test_only_mappings_can_be_merged() -> None:
    problem = refused(TEXT + "lora: {<<: 3}\n")
    assert (problem.path, problem.expected) == ("lora.<<", "mappings to merge")


def laughs(item: str) -> str:
    """Return a document of a few lines that would fill the memory."""
    lines = [f"a{level}: &a{level} {item.format(*[f'*a{level - 1}'] * 9)}" for level in range(1, 30)]
    return "\n".join(["a0: &a0 {}", *lines])


@pytest.mark.parametrize(
    "item",
    ["[{}, {}, {}, {}, {}, {}, {}, {}, {}]", "{{<<: [{}, {}]}}", "{{x: {}, y: {}}}"],
    ids=["list", "merge", "map"],
)
def test_anchors_that_explode_are_refused(item: str) -> None:
    assert refused(laughs(item)).given == "more than 20,000 values"


@pytest.mark.parametrize("source", ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: &a {<<: *a}\n"])
def test_an_alias_of_itself_is_refused(source: str) -> None:
    assert refused(source).given == "an alias of what it stands in"


@pytest.mark.parametrize("source", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000])
def test_deep_nesting_is_refused_without_a_stack_overflow(source: str) -> None:
    assert refused(source).given == "values nested over 20 deep"


def test_very_many_values_are_refused() -> None:
    assert refused(f"a: [{'1,' * 30_000}]").given == "more than 20,000 values"


def test_a_file_over_a_mebibyte_is_refused() -> None:
    assert refused(b"#" * (1 << 20) + b"\n").expected == "a story of at most 1 MiB"
    assert refused("#" * (1 << 20) + "\n").expected == "a story of at most 1 MiB"


def test_a_file_of_fifty_megabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "story.yaml"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(StoryProblems, match="a story of at most 1 MiB"):
        read_story(path)


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(StoryProblems, match="a story of at most 1 MiB"):
        read_story("/dev/zero")


def test_a_story_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "故事.yaml"
    path.write_text(TEXT + "lora: {rank: 0}\n", encoding="utf-8")
    assert read_story(path, ["lora.rank=8"]).lora.rank == 8
    with pytest.raises(StoryProblems, match=r"^故事\.yaml: line 5"):
        read_story(str(path))


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_read_is_absent(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputAbsent, match="cannot read the story file") as caught:
        read_story(tmp_path / name)
    assert caught.value.code == 66


def story(more: str) -> Story:
    """Return a sound story with ``more`` in it."""
    return load_story(TEXT + more)


def test_scalars_are_read_as_people_mean_them() -> None:
    assert story("lora: {learning_rate: 1e-4}").lora.learning_rate == 1e-4
    assert story("lora: {learning_rate: 2.5E-3, alpha: 4}").lora.alpha == 4.0
    assert story("lora: {steps: 010}").lora.steps == 10
    assert story("lora: {steps: 0x10}").lora.steps == 16
    assert story("lora: {flip: True}").lora.flip is True
    assert story("report: {title: no}").report.title == "no"
    assert story("report: {title: 2024-11-21}").report.title == "2024-11-21"
    assert story("report: {title: 1:30}").report.title == "1:30"
    assert story("report: {title: '2024'}").report.title == "2024"
    assert story("report: {title: !!str 2024}").report.title == "2024"
    assert story("report: {title: ~}").report.title is None


def test_long_texts_of_many_lines_are_kept() -> None:
    text = "dataset: {source: pocket}\nscenes:\n  - prompt: |\n      一行\n      两行 🐉\n"
    assert load_story(text).scenes[0].prompt == "一行\n两行 🐉\n"
    assert len(load_story(TEXT.replace("一只猫", "长" * 10_000)).scenes[0].prompt) == 10_000
