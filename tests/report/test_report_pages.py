"""What stands on the pages, in both forms, and that no text of a story can act on them."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
from pathlib import Path

import jsonschema
import pytest
from kolora.report import ReportData, read_report_data, report_json_schema, write_report
from kolora.report.pages import fenced, markdown_text
from kolora.report.words import WORDS

from tests.report.page import OURS, Page, front_matter, html_page, markdown_page, squeezed
from tests.report.run_folder import CHINESE_SCENES, ENGLISH_SCENES, edit, make_run_folder, replace_file, write

CHINESE, ENGLISH = WORDS["zh"], WORDS["en"]
HOSTILE = (
    "<script>alert(1)</script>",
    "</style></title></p><img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)> ' onmouseover='alert(1)",
    "a | b || c \\| d",
    "`code` ``` ~~~ **bold** __bold__ _em_ ~~gone~~",
    "](javascript:alert(1)) [x](javascript:alert(1)) ![y](http://evil.test/z.png)",
    "first\n\n# heading\n\n- list\n\n---\n\n```\nsecond",
    "http://evil.test www.evil.test <http://evil.test> a@evil.test @name :smile: $x^2$ &lt; &amp; &#60;",
    "{{ 7 * 7 }} {% raw %} {# no #}",
    "<!-- --> <![CDATA[ ]]> <?php ?>",
    "trailing backslash \\",
    "字" * 10_000,
    "مرحبا بالعالم שלום 👩‍👩‍👧 🐉",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = make_run_folder(tmp_path_factory.mktemp("whole") / "out", overrides={3: {"steps": 50}})
    write_report(out)
    return out


@pytest.mark.parametrize("read", [html_page, markdown_page])
def test_golden_facts_are_shown(whole: Path, read: type[Page]) -> None:
    text = squeezed(read(whole).text)
    for fact in ("小紫的歌", "pocket", CHINESE["pocket_note"], CHINESE["valid"], "6.13", "27.9", "25.3"):
        assert fact in text
    for number, (title, prompt) in enumerate(CHINESE_SCENES, start=1):
        assert title in text
        assert prompt in text
        assert f"{6 + number / 100:.2f}" in text
        assert f"{27 + number / 10:.1f}" in text
        assert re.search(rf"\b{11 * number}\b", text)
    for fact in ("356,352", "5.13", "image_shape_filter", "素材/picture-3.png", "image_width 200; min_width 256"):
        assert fact in text
    for fact in ("丑陋，变形", "步数 50", "0.913", "0.487", "1 分 04 秒", "3.11.2", "结果可重复 是", "diffsynth"):
        assert fact in text
    for fact in ("sha256:0123abcd", "AWS Batch", "a1b2c3", "4 / 10"):
        assert fact in text
    assert "kolora run story.yaml -o again" in text


@pytest.mark.parametrize("read", [html_page, markdown_page])
def test_pictures_have_alternative_text_and_lead_to_the_full_ones(whole: Path, read: type[Page]) -> None:
    page = read(whole)
    prompts = [prompt for _, prompt in CHINESE_SCENES]
    assert page.alts[1:] == prompts
    assert all(title in (page.alts[0] or "") for title, _ in CHINESE_SCENES)
    shown = [each.get("src") for each in page.all("img")] + [each.get("href") for each in page.all("a")]
    for path in ["grid.png", *(f"images/{number:02d}.png" for number in range(1, 9)), "data/ledger.jsonl"]:
        assert path in shown
        assert (whole / path).is_file()


def test_html_speaks_the_language_of_the_story(whole: Path, tmp_path: Path) -> None:
    assert html_page(whole).all("html") == [{"lang": "zh-CN"}]
    write_report(make_run_folder(tmp_path / "out", language="en"))
    page = html_page(tmp_path / "out")
    assert page.all("html") == [{"lang": "en"}]
    assert ENGLISH["aesthetics_unit"] in page.text
    assert not re.search("[一-鿿]", re.sub("中文|素材|丑陋，变形，嘈杂，模糊，低对比度", "", page.text))
    assert all(prompt in page.text for _, prompt in ENGLISH_SCENES)


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("read", [html_page, markdown_page])
def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path, language: str, read: type[Page]) -> None:
    out = make_run_folder(
        tmp_path / "out",
        language=language,
        scenes=[(text, text) for text in HOSTILE],
        negative_prompt=" ".join(HOSTILE),
        size=(64, 64),
        rendered=6,
        status="failed",
        failure={"code": 70, "error": " ".join(HOSTILE), "hint": " ".join(HOSTILE), "step": "render-07"},
        checkpoint=HOSTILE[0],
    )
    edit(out / "records/run.json", title=" ".join(HOSTILE), command=["kolora", *HOSTILE])
    lines = [{"source": text, "verdict": "dropped", "by": text, "reason": text, "operators": []} for text in HOSTILE]
    replace_file(out, "filter", "ledger.jsonl", "data/ledger.jsonl", "\n".join(map(json.dumps, lines)).encode())
    (out / "story.yaml").write_text("\n".join(HOSTILE), encoding="utf-8")
    write_report(out)
    page = read(out)
    assert page.dangers() == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"em", "s", "del", "hr"}
    assert len(page.alts) == 6
    assert len(page.all("h1")) == 1
    text = squeezed(page.text)
    for hostile in HOSTILE:
        assert text.count(squeezed(hostile)) >= 6
    assert "alert" not in re.sub(r"&[^;]+;", "", " ".join(key for _, each in page.elements for key in each))
    assert [squeezed(alt) for alt in page.alts] == [squeezed(hostile) for hostile in HOSTILE[:6]]


def test_prompts_keep_their_lines_in_html(tmp_path: Path) -> None:
    prompt = "one\n  two\n\nthree"
    write_report(make_run_folder(tmp_path / "out", scenes=[("", prompt)], size=(64, 64)))
    page = html_page(tmp_path / "out")
    assert prompt in page.text
    assert page.alts[1] == prompt


def test_control_characters_are_made_visible(tmp_path: Path) -> None:
    write_report(make_run_folder(tmp_path / "out", scenes=[("", "a\x00b\x1bc\u202ed")], size=(64, 64)))
    for name in ("report.html", "report.md"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "a\ufffdb\ufffdc\ufffdd" in text
        assert not re.search("[\x00\x1b\u202e]", text)


@pytest.mark.parametrize("scenes", [1, 8, 64])
@pytest.mark.parametrize("read", [html_page, markdown_page])
def test_any_number_of_scenes(tmp_path: Path, scenes: int, read: type[Page]) -> None:
    told = [(f"Title {number}", f"prompt number {number} ends") for number in range(1, scenes + 1)]
    write_report(make_run_folder(tmp_path / "out", language="en", scenes=told, size=(64, 64)))
    page = read(tmp_path / "out")
    assert len(page.alts) == scenes + 1
    assert sum(path.startswith("images/baseline/") for path, _ in page.pictured) == scenes
    assert page.dangers() == []
    assert f"{scenes} of {scenes}" in page.text
    for title, prompt in told:
        assert title in page.text
        assert prompt in page.text


def test_page_is_light_even_with_pictures_that_do_not_compress(tmp_path: Path) -> None:
    told = [("", f"noise {number}") for number in range(24)]
    write_report(make_run_folder(tmp_path / "out", scenes=told, size=(512, 512), noisy=True))
    assert (tmp_path / "out/report.html").stat().st_size < 5_000_000
    assert len(html_page(tmp_path / "out").alts) == 25


def test_html_needs_nothing_from_elsewhere(whole: Path) -> None:
    page = html_page(whole)
    assert page.dangers() == []
    policy = [each["content"] or "" for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert len(policy) == 1
    assert "default-src 'none'" in policy[0]
    digest = base64.b64encode(hashlib.sha256(OURS.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[0]


@pytest.mark.parametrize("read", [html_page, markdown_page])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_failed_run_says_so_before_any_picture(tmp_path: Path, read: type[Page], language: str) -> None:
    failure = {"code": 71, "error": "out of memory, sadly", "hint": "lower render.width", "step": "render-04"}
    out = make_run_folder(tmp_path / "out", language=language, rendered=3, status="failed", failure=failure)
    write_report(out)
    page = read(out)
    words = WORDS["zh" if language == "zh" else "en"]
    head = squeezed(page.text[: page.text.index(words["scenes_done"])])
    for told in ("out of memory, sadly", "lower render.width", "render-04", "71", words["failed"]):
        assert told in head
    assert words["failed_note"] in head
    assert len(page.alts) == 3
    assert page.text.count(words["scene_pending"]) == 4
    assert page.text.count(words["scene_failed"]) == 1


@pytest.mark.parametrize("status", ["stopped", "partial"])
@pytest.mark.parametrize("read", [html_page, markdown_page])
def test_unfinished_run_says_so(tmp_path: Path, status: str, read: type[Page]) -> None:
    write_report(make_run_folder(tmp_path / "out", language="en", rendered=0, status=status))
    assert ENGLISH[f"{status}_note"] in read(tmp_path / "out").text


@pytest.mark.parametrize("read", [html_page, markdown_page])
def test_gaps_are_said(tmp_path: Path, read: type[Page]) -> None:
    out = make_run_folder(tmp_path / "out", language="en")
    (out / "records/train.json").write_text("{", encoding="utf-8")
    (out / "grid.png").unlink()
    write_report(out)
    text = squeezed(read(out).text)
    assert f"records/train.json {ENGLISH['gap_torn']}" in text
    assert f"grid.png {ENGLISH['gap_absent']}" in text
    assert ENGLISH["grid_absent"] in text


@pytest.mark.parametrize("read", [html_page, markdown_page])
def test_empty_run_still_has_a_report(tmp_path: Path, read: type[Page]) -> None:
    (tmp_path / "records").mkdir()
    write(tmp_path / "records/run.json", {"name": "empty", "status": "failed", "error": {"error": "no luck"}})
    write_report(tmp_path)
    text = squeezed(read(tmp_path).text)
    for told in ("empty", "no luck", ENGLISH["scenes_none"], ENGLISH["training_none"], ENGLISH["data_none"]):
        assert told in text


def test_picture_that_matches_its_record_and_is_none_is_said(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out", language="en")
    replace_file(out, "render-02", "image.png", "images/02.png", b"no picture")
    write_report(out)
    page = html_page(out)
    assert ENGLISH["picture_unreadable"] in page.text
    assert len(page.alts) == 8


@pytest.mark.parametrize("read", [html_page, markdown_page])
def test_scores_that_are_off_are_not_invented(tmp_path: Path, read: type[Page]) -> None:
    write_report(make_run_folder(tmp_path / "out", language="en", scored=False))
    text = read(tmp_path / "out").text
    assert ENGLISH["not scored"] in text
    assert ENGLISH["valid_note"] not in text
    assert ENGLISH["aesthetics_mean"] not in text


def test_only_pocket_is_called_pocket(tmp_path: Path) -> None:
    write_report(make_run_folder(tmp_path / "out", language="en", checkpoint="kolors"))
    text = html_page(tmp_path / "out").text
    assert text.count("Drawn by") >= 10, "the seal, the facts and every scene"
    lines = [line for line in text.splitlines() if "pocket" in line]
    assert lines == ["pocket", "pocket"], "but for the source of the training pictures"


def test_kept_steps_are_told_from_those_that_ran(tmp_path: Path) -> None:
    write_report(make_run_folder(tmp_path / "out", language="en", kept=("fetch", "filter")))
    page = html_page(tmp_path / "out")
    text = squeezed(page.text)
    assert "lora.rank changed: 8 -> 16" in text
    assert "nothing it depends on has changed" in text
    assert "ran × 8" in text, "prompts"
    assert text.count("ran × 8") >= 3, "prompts, scenes with and without the LoRA"
    assert [each["class"] for each in page.all("tr") if each.get("class") == "kept"] == ["kept", "kept"]


def test_curve_is_drawn_with_numbers_on_its_axes(whole: Path) -> None:
    page = html_page(whole)
    paths = {each["class"]: each["d"] or "" for each in page.all("path")}
    assert paths.keys() == {"raw", "smooth"}
    assert paths["raw"].count("L") == 99
    assert squeezed(f"{CHINESE['learning_rate']} 0.002") in squeezed(page.text), "one that stays is said, not drawn"
    assert len(page.all("text")) >= 8
    assert "1.2" in page.text


def test_json_validates_and_reads_back(whole: Path) -> None:
    schema = report_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    value = json.loads((whole / "report.json").read_bytes())
    jsonschema.validate(value, schema)
    assert value["schema"] == 2
    assert ReportData.model_validate(value) == read_report_data(whole)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value | {"status": "splendid"}, schema)


def test_the_published_schema_is_the_models() -> None:
    """Refresh it with `kolora schema --report > specs/report.schema.json`."""
    published = (Path(__file__).parents[2] / "specs/report.schema.json").read_text(encoding="utf-8")
    assert json.loads(published) == report_json_schema()


def test_the_other_language_has_a_page_of_its_own(whole: Path) -> None:
    chinese, english = html_page(whole), html_page(whole, "report.en.html")
    assert "report.en.html" in [each.get("href") for each in chinese.all("a")]
    assert "report.html" in [each.get("href") for each in english.all("a")]
    assert english.all("html") == [{"lang": "en"}]
    assert ENGLISH["coherence_unit"] in english.text
    assert english.alts[1:] == chinese.alts[1:]
    assert english.dangers() == []
    prompts = [each for each in english.all("bdi") if (each.get("id") or "").startswith("prompt-")]
    assert [each.get("lang") for each in prompts] == ["zh-CN"] * 8


def test_a_page_of_the_other_language_does_not_outlive_a_change(tmp_path: Path) -> None:
    out = make_run_folder(tmp_path / "out", size=(64, 64))
    write_report(out)
    edit(out / "records/run.json", language="en")
    write_report(out)
    assert {path.name for path in out.glob("report*.html")} == {"report.html", "report.zh.html"}
    assert html_page(out).all("html") == [{"lang": "en"}]


def test_reasons_and_errors_are_chinese_on_a_chinese_page(tmp_path: Path) -> None:
    failure = {"code": 71, "error": "out of memory", "hint": "lower render.width", "step": "render-04"}
    out = make_run_folder(tmp_path / "out", rendered=3, status="failed", failure=failure, kept=("fetch", "filter"))
    write_report(out)
    for page in (html_page(out), markdown_page(out)):
        for said in (CHINESE["code_71"], "lora.rank 由 8 改为 16", "所依赖的内容均无变化", "文件残缺"):
            assert said in squeezed(page.text)
        assert "nothing it depends on" not in page.text
    assert "nothing it depends on has changed" in html_page(out, "report.en.html").text


@pytest.mark.parametrize("read", [html_page, markdown_page])
def test_likeness_and_rules_are_told(tmp_path: Path, read: type[Page]) -> None:
    write_report(make_run_folder(tmp_path / "out", language="en"))
    text = squeezed(read(tmp_path / "out").text)
    for told in ("77.7", "55.5", "44.4", "33.3", ENGLISH["rule_kolors"], ENGLISH["unmet"]):
        assert told in text


def test_the_matrix_is_drawn_and_said(whole: Path) -> None:
    page = html_page(whole)
    drawn = [each for each in page.all("rect") if each.get("fill-opacity")]
    assert len(drawn) == 8 * 7
    assert {float(each["fill-opacity"] or 0) for each in drawn} >= {0.05, 0.9}
    assert "61.0" in page.text


def test_samples_and_dropped_pictures_are_shown(tmp_path: Path) -> None:
    write_report(make_run_folder(tmp_path / "out", language="en", samples=True))
    page = html_page(tmp_path / "out")
    shown = [path for path, _ in page.pictured]
    assert [path for path in shown if "samples" in path] == ["lora/samples/0050-01.png", "lora/samples/0100-01.png"]
    assert not [path for path in shown if path.startswith("data/")], "a submission leaves them out: no link to them"
    alts = [image["alt"] for image in page.all("img")]
    assert [alt for alt in alts if alt and alt.startswith("素材/")] == ["素材/picture-2.png", "素材/picture-3.png"]
    assert sum(path.startswith("data:") for path in shown) == 2 + 24


def test_every_key_of_the_story_is_told_and_changes_are_marked(tmp_path: Path) -> None:
    write_report(make_run_folder(tmp_path / "out", language="en"))
    page = html_page(tmp_path / "out")
    marked = [each for each in page.all("tr") if each.get("class") == "differs"]
    text = squeezed(page.text)
    assert "lora.rank 8 16" in text
    assert "filters.1.image_shape_filter.min_width 256 1" in text
    assert "scenes.8.prompt" in text
    assert "scenes.8.steps" not in text, "says nothing"
    keys = read_report_data(tmp_path / "out").again.settings
    assert len(marked) == sum(not key.is_default for key in keys) > 10
    assert ENGLISH["settings_count"].format(len(keys), len(marked)) in text


def test_copying_is_offered_for_every_prompt_and_only_by_the_script(whole: Path) -> None:
    page = html_page(whole)
    buttons = page.all("button")
    assert len(buttons) == 8 + 1
    ids = {each.get("id") for _, each in page.elements}
    assert all("hidden" in each and each["data-copy"] in ids for each in buttons)


def test_the_card_says_how_to_use_the_lora_in_python_that_is_python(tmp_path: Path) -> None:
    scenes = [("", "a 'quoted' \"cat\"\n```\nimport os; os._exit(1)")]
    out = make_run_folder(tmp_path / "out", language="en", scenes=scenes, size=(64, 64), checkpoint="kolors")
    write_report(out)
    assert ENGLISH["usage"] not in front_matter(out)[1], "there is no LoRA"
    (out / "lora/pytorch_lora_weights.safetensors").write_bytes(b"x")
    write_report(out)
    body = front_matter(out)[1]
    (code,) = re.findall(r"````python\n(.*?)````", body, re.DOTALL)
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    said = [each.value for call in calls for each in call.args if isinstance(each, ast.Constant)]
    assert scenes[0][1] in said
    assert "lora" in said
    assert not [call for call in calls if "exit" in ast.unparse(call.func)]


def test_head_of_the_card_names_kolors_only_where_kolors_drew(tmp_path: Path) -> None:
    scenes = [("", "---\n: <script>\n" + "长" * 1000)]
    write_report(make_run_folder(tmp_path / "out", scenes=scenes, size=(64, 64), checkpoint="kolors"))
    card, _ = front_matter(tmp_path / "out")
    assert (card["base_model"], card["base_model_relation"]) == ("Kwai-Kolors/Kolors", "adapter")
    assert card["tasks"] == ["text-to-image-synthesis"]
    assert card["pipeline_tag"] == "text-to-image"
    (picture,) = card["widget"]
    assert picture["output"] == {"url": "images/01.png"}
    assert picture["text"].startswith("--- : <script>")
    assert len(picture["text"]) == 300
    write_report(make_run_folder(tmp_path / "pocket", size=(64, 64)))
    assert "base_model" not in front_matter(tmp_path / "pocket")[0]


@pytest.mark.parametrize(
    "text", ["image_shape_filter x86_64", "01:02 UTC, at 12:30", "note: this (and that) - 1. 100 % + more!"]
)
def test_harmless_text_stays_readable_in_markdown(text: str) -> None:
    assert markdown_text(text) == text


def test_code_block_cannot_be_closed_from_inside() -> None:
    assert fenced("a\n````\nb") == "`````\na\n````\nb\n`````"
