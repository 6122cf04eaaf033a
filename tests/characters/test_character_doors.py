"""A text that moves a terminal's cursor or hides its own end is never printed as it is, whoever brought it."""

from __future__ import annotations

import io
import json
import logging
import re
import shlex
from pathlib import Path

import pytest
import yaml
from kolora.cli.console import Lines, Terminal
from kolora.cli.streams import GuardedStream
from kolora.events import Noticed
from kolora.report.pages import markdown_text
from rich.console import Console
from rich.progress import Progress

from tests.characters.table import ALL, DIRECTIONS, HARMLESS, SENTENCES, WHOLE, hidden
from tests.commands import left
from tests.stories import write_story


def texts(letters: list[str]) -> list[object]:
    """Put characters into texts, and the sentences beside them; those beyond the first few are the long sweep's."""
    chosen = [f"a{letter}b" for letter in letters] + list(SENTENCES)
    quick = {*(f"a{letter}b" for letter in FEW[:4]), *SENTENCES[::4]}
    return [pytest.param(text, id=ascii(text), marks=() if text in quick else pytest.mark.sweep) for text in chosen]


FEW = ["\x1b", "\x9b", "\x85", "\x7f", "\u202e", "\u2069", "\u200f", "\u2028", "\u200b", "\r"]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KOLORA_CACHE", str(tmp_path / "cache"))
    return tmp_path


def check(capsys: pytest.CaptureFixture[str]) -> str:
    """Fail where something that acts unseen was printed; returns what was printed."""
    told = capsys.readouterr()
    assert [*hidden(told.out, allowed="\n"), *hidden(told.err, allowed="\n")] == []
    return told.out + told.err


NAMES = ("title", "team", "report__title", "scenes__0__title", "name", "dataset__style")


@pytest.mark.parametrize("key", NAMES)
@pytest.mark.parametrize("text", texts(ALL))
def test_names_and_titles_do_not_have_them(key: str, text: str, outside: Path, capsys) -> None:
    (outside / "s").mkdir()
    story = {"kolora": 1, "dataset": {"source": "pocket"}, "scenes": [{"prompt": "一只猫"}]}
    *above, last = key.split("__")
    place = story
    for part in above:
        place = place[int(part)] if part.isdecimal() else place.setdefault(part, {})
    place[last] = text
    (outside / "s/story.yaml").write_text(json.dumps(story), encoding="utf-8")
    assert left("validate", outside / "s") == 65
    assert "error: " in check(capsys)


@pytest.mark.parametrize("text", HARMLESS)
def test_titles_and_teams_have_what_people_write(text: str, outside: Path, tiny_checkpoint: Path, capsys) -> None:
    story = write_story(outside / "s", tiny_checkpoint, title=text, team=text, scenes__0__title=text)
    assert left("validate", story) == 0
    assert text in capsys.readouterr().out


def test_a_title_from_a_block_of_yaml_is_one_line(outside: Path, tiny_checkpoint: Path) -> None:
    for block, code in (("|\n  一只小猫\n", 0), (">\n  一只\n  小猫\n", 0), ("|\n  一只\n  小猫\n", 65)):
        story = write_story(outside / str(len(block)), tiny_checkpoint)
        values = yaml.safe_load(story.read_text(encoding="utf-8"))
        del values["title"]
        story.write_text(f"title: {block}{yaml.safe_dump(values, allow_unicode=True)}", encoding="utf-8")
        assert left("validate", story) == code


def test_prompts_hold_line_breaks(outside: Path, tiny_checkpoint: Path) -> None:
    story = write_story(outside / "s", tiny_checkpoint, scenes__0__prompt="一只小猫\n坐在窗前", lora__trigger="a\tb")
    assert left("validate", story) == 0


COMMANDS = (
    "{}",
    "{} x",
    "run {}.yaml",
    "run quickstart --until {}",
    "run quickstart --{}",
    "run quickstart --set {}",
    "run quickstart --set {}=1",
    "run quickstart --set name=x{}",
    "run quickstart --set dataset.path={}",
    "run quickstart --set model.checkpoint={}",
    "run quickstart --lock {}",
    "plan quickstart --memory {}",
    "batch {}",
    "report {}",
    "export {} --to kohya",
    "publish . --to modelscope --repo {}",
    "verify {}",
    "diff {} {}",
    "emit slurm {}",
    "bench --batch-sizes {}",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("text", texts(FEW))
def test_an_argument_is_not_printed_as_it_is(command: str, text: str, outside: Path, capsys) -> None:
    given = [part.format(text) for part in command.split(" ")]
    assert left("--debug", *given) in (2, 65, 66, 73)
    assert "error: " in check(capsys)


@pytest.mark.parametrize("text", SENTENCES, ids=ascii)
def test_a_file_of_such_a_name_is_planned_listed_and_told_of_in_plain_words(
    text: str, outside: Path, tiny_checkpoint: Path, capsys
) -> None:
    name = text.replace("/", "_")
    story = write_story(outside / name, tiny_checkpoint)
    for command in (f"validate {shlex.quote(str(story))}", f"plan {shlex.quote(str(story))}"):
        assert left(*shlex.split(command)) == 0
        check(capsys)
    assert left(story, "--until", "fetch", "-o", outside / f"out{name}") == 0
    told = check(capsys)
    assert all(json.loads(line)["time"] for line in told.splitlines())
    assert left("report", outside / f"out{name}") == 0
    check(capsys)


# YAML folds U+0085 as a line break.
@pytest.mark.parametrize("text", [each for each in SENTENCES if "\x85" not in each], ids=ascii)
def test_a_prompt_with_them_comes_to_no_page_as_it_is(text: str, outside: Path, tiny_checkpoint: Path, capsys) -> None:
    prompt = "".join(letter for letter in text if letter >= " " and letter != "\x7f")
    story = write_story(outside / "s", tiny_checkpoint, scenes__0__prompt=f"一只{prompt}猫")
    assert left(story, "--until", "fetch", "-o", outside / "out") == 0
    check(capsys)
    pages = [*(outside / "out").glob("report*"), outside / "out/records/run.json", outside / "out/status.json"]
    assert len(pages) == 6
    for page in pages:
        assert [*hidden(page.read_text(encoding="utf-8"))] == [], page
    told = json.loads((outside / "out/report.json").read_text(encoding="utf-8"))
    assert told["scenes"][0]["prompt"] == f"一只{prompt}猫"


@pytest.mark.parametrize("letter", ALL, ids=lambda each: f"U+{ord(each):04X}")
def test_no_stream_and_no_console_lets_one_through(letter: str) -> None:
    plain, lines, screen = io.StringIO(), io.StringIO(), io.StringIO()
    text = f"[red]a{letter}b[/red]"
    guarded = GuardedStream(plain)
    print(text, file=guarded)
    logging.StreamHandler(guarded).handle(logging.makeLogRecord({"msg": text}))
    Lines(GuardedStream(lines)).say(text, more=[text])
    terminal = Terminal(Console(file=screen, width=30))
    terminal.say(text)
    terminal.on_event(Noticed(text))
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    if letter in WHOLE:
        assert told[0]["message"] == told[0]["more"][0] == text
    for drawn in (plain.getvalue(), lines.getvalue(), screen.getvalue()):
        assert [*hidden(drawn)] == []
        assert "[red]" in drawn


def test_a_stream_of_letters_that_it_lacks_escapes_them() -> None:
    raw = io.BytesIO()
    stream = GuardedStream(io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    assert stream.write("小猫\ud800\n") == 4
    assert raw.getvalue() == b"\\u5c0f\\u732b\\ud800\n"


@pytest.mark.parametrize(
    "letter", [*DIRECTIONS, "\u2028", "\x85", "\x1b", "\ud800"], ids=lambda each: f"U+{ord(each):04X}"
)
def test_markdown_shows_that_there_was_one(letter: str) -> None:
    assert markdown_text(f"a{letter}b") == "a\ufffdb"


@pytest.mark.parametrize("text", SENTENCES, ids=ascii)
def test_what_libraries_say_while_a_bar_is_drawn_is_plain_too(text: str) -> None:
    screen = io.StringIO()
    console = Console(file=GuardedStream(screen).for_terminal(), width=60, force_terminal=True)
    with Progress(console=console) as progress:
        progress.add_task("train", total=2)
        # rich stands before stdout meanwhile, and hands on what it is given.
        print(f"a library says {text}")
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "")
    # What stands before a return is taken for drawn over.
    assert "a library says" in drawn or "\r" in text
    assert [*hidden(drawn)] == []
