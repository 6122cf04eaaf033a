"""What the image promises of a run that goes well: files, lines, labels, and nothing that the machine could change."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.report.page import html_page

SMALL = (Path(__file__).parent / "small.yaml").read_text(encoding="utf-8")
STRANGER = 4321
FILES = (
    *("report.html", "report.md", "report.json", "grid.png", "images/01.png", "images/02.png", "story.yaml"),
    *("lora/diffsynth.safetensors", "lora/pytorch_lora_weights.safetensors", "lora/kohya.safetensors"),
    *("story.lock.yaml", "data/ledger.jsonl", "records/run.json", "logs/filter.log"),
)


@pytest.fixture(scope="session")
def config(engine):
    """The image's own description of itself, and its size."""
    told = subprocess.run(["docker", "image", "inspect", engine.image], check=True, capture_output=True)
    (image,) = json.loads(told.stdout)
    variables = dict(each.split("=", 1) for each in image["Config"]["Env"])
    return image["Config"] | {"Env": variables, "Size": image["Size"]}


def test_a_run_leaves_every_file_and_its_manifest_verifies(undisturbed):
    for name in FILES:
        assert (undisturbed.out / name).is_file(), name
    lines = (undisturbed.out / "manifest.sha256").read_text().splitlines()
    assert len(lines) > 20
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((undisturbed.out / name).read_bytes()).hexdigest() == digest, name


def test_lock_and_records_name_the_image_by_what_it_was_built_from(undisturbed, config):
    lock = yaml.safe_load((undisturbed.out / "story.lock.yaml").read_text(encoding="utf-8"))
    run = json.loads((undisturbed.out / "records" / "run.json").read_text())
    assert lock["image"] == run["environment"]["image"] == config["Env"]["KOLORA_IMAGE_SOURCE"] != ""


def test_the_report_opens_and_loads_nothing_from_elsewhere(undisturbed):
    page = html_page(undisturbed.out)
    assert "两格小故事" in page.text
    assert "pocket" in page.text
    assert len(page.all("img")) >= 2
    assert page.dangers() == []


def test_stdout_without_a_terminal_is_json_lines(undisturbed):
    lines = undisturbed.ended.lines
    assert all({"time", "severity", "message"} <= set(line) for line in lines)
    assert {line["stage"] for line in lines if "stage" in line} >= {"fetch", "filter", "train", "render", "score"}
    assert {line["scene"] for line in lines if "scene" in line} == {1, 2}


def test_the_heartbeat_advances(undisturbed):
    stages = list(dict.fromkeys(beat["stage"] for beat in undisturbed.beats))
    assert stages[-1] == "complete"
    assert len(stages) >= 4
    done = [beat["steps_done"] for beat in undisturbed.beats if "steps_done" in beat]
    assert done == sorted(done)
    assert len(set(done)) >= 3


def test_a_token_is_in_no_file_and_no_line(undisturbed):
    told = undisturbed.ended.out + undisturbed.ended.err
    assert "CONTRACTsecret" not in told
    found = subprocess.run(
        ["grep", "-r", "-l", "-a", "CONTRACTsecret", str(undisturbed.out.parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")


def test_help_and_version_need_no_volume(engine, figures):
    version = engine.run("--version")
    assert version.code == 0
    figures.append(f"kolora --version: {version.seconds:.1f} s, container and all")
    assert version.out.startswith("kolora, version")
    assert "STORY" in engine.run("--help").out


def test_labels_say_what_it_is_made_of(engine, config):
    labels, environment = config["Labels"], config["Env"]
    schema = json.loads(engine.run("schema").out)
    assert labels["kolora.story.schema"] == str(schema["properties"]["kolora"]["const"])
    assert engine.run("--version").out.split()[-1] == labels["org.opencontainers.image.version"]
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    base, revision = (labels[f"org.opencontainers.image.{name}"] for name in ("base.digest", "revision"))
    assert base.startswith("sha256:")
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert environment["KOLORA_IMAGE_SOURCE"] == f"revision {revision}, base {base}"
    assert config["Entrypoint"][:2] == ["/usr/bin/tini", "-g"]
    assert config["Size"] < 7e9


def test_the_bill_of_materials_lists_what_is_installed(engine, config):
    ended = engine.run(config["Labels"]["kolora.sbom"], flags=["--entrypoint", "/bin/cat"])
    bill = json.loads(ended.out)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    purls = {each["purl"].partition("@")[0] for each in bill["components"]}
    assert {"pkg:pypi/torch", "pkg:pypi/diffsynth", "pkg:deb/debian/tini", "pkg:deb/debian/libc6"} <= purls
    assert len(purls) > 200
    assert bill["metadata"]["component"]["version"] == config["Labels"]["org.opencontainers.image.version"]


def test_nothing_that_built_the_image_is_left_and_chinese_can_be_drawn(engine):
    script = (
        "import shutil, os; from pathlib import Path; from PIL import ImageFont\n"
        "assert not [each for each in ('g++', 'make', 'nvcc', 'pip3') if shutil.which(each)]\n"
        "assert not list(Path('/var/lib/apt/lists').iterdir())\n"
        "assert not (Path('~root').expanduser() / '.cache').exists()\n"
        "font = ImageFont.truetype('wqy-microhei.ttc', 32)\n"
        "assert bytes(font.getmask('可')) != bytes(font.getmask('图'))\n"
    )
    ended = engine.run("-c", script, flags=["--user", "0:0", "--entrypoint", "/opt/venv/bin/python"])
    assert (ended.code, ended.err) == (0, "")


def test_the_story_in_out_is_told_with_no_flags_at_all_and_results_belong_to_who_owns_out(engine, folder, same):
    out = folder()
    (out / "story.yaml").write_text(SMALL, encoding="utf-8")
    script = f"chown {STRANGER} /out && chmod 755 /out"
    engine.plain("-c", script, flags=["-v", f"{out}:/out", "--user", "0:0", "--entrypoint", "/bin/sh"])
    ended = engine.plain("story.yaml", flags=["-v", f"{out}:/out"])
    assert ended.code == 0, ended
    assert same(out / "small")
    assert (out / "story.yaml").read_text(encoding="utf-8") == SMALL, "the user's own file"
    made = (out / "small", out / "small" / "report.html", out / "small" / "images" / "01.png")
    assert {path.stat().st_uid for path in made} == {STRANGER}


def test_a_folder_that_the_engine_has_to_make_can_be_written(engine, folder, specs):
    out = folder() / "out"
    ended = engine.plain("/specs/small.yaml", "--until", "fetch", flags=["-v", f"{out}:/out", *specs])
    assert ended.code == 0, ended
    assert (out / "small" / "report.html").is_file()


DIGEST = "sha256:" + "0a" * 32
ELSEWHERE = {
    # The engine of a service knows the image's digest, and may tell.
    "KOLORA_IMAGE_DIGEST": DIGEST,
    "TZ": "Pacific/Kiritimati",
    "LANG": "C",
    "LC_ALL": "POSIX",
    # Services tell launchers of nodes that are none of ours.
    "WORLD_SIZE": "2",
    "RANK": "1",
    "MASTER_ADDR": "nowhere",
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
}


def test_a_story_from_standard_input_has_the_same_bytes_at_another_time_and_place(engine, folder, same, shifted):
    out = folder()
    places = [part for name, value in ELSEWHERE.items() for part in ("-e", f"{name}={value}")]
    ended = engine.run("-", flags=["-i", "-v", f"{out}:/out", *places, *shifted], given=SMALL)
    assert ended.code == 0, ended
    assert {line["time"][:4] for line in ended.lines} == {"2038"}
    assert same(out / "small")
    assert yaml.safe_load((out / "small" / "story.lock.yaml").read_text(encoding="utf-8"))["image"] == DIGEST
    # Times of files mean nothing: a volume that was copied or restored is as good.
    script = "find /out -exec touch -h -d 2001-02-03 {} +"
    engine.plain("-c", script, flags=["-v", f"{out}:/out", "--user", "12345:0", "--entrypoint", "/bin/sh"])
    again = engine.run("-", flags=["-i", "-v", f"{out}:/out"], given=SMALL)
    assert again.code == 0
    assert "nothing to do" in again.lines[-1]["message"]


def test_the_quickstart_is_told_beside_a_story_of_the_users_and_then_there_is_nothing_to_do(engine, folder, figures):
    out = folder()
    (out / "story.yaml").write_text(SMALL, encoding="utf-8")
    ended = engine.run("quickstart.yaml", flags=["-v", f"{out}:/out"])
    figures.append(f"the quickstart: {ended.seconds:.0f} s")
    assert ended.code == 0, ended
    assert (out / "quickstart" / "images" / "08.png").is_file()
    assert (out / "quickstart" / "manifest.sha256").is_file()
    assert (out / "story.yaml").read_text(encoding="utf-8") == SMALL
    again = engine.run("quickstart.yaml", flags=["-v", f"{out}:/out"])
    assert "nothing to do" in again.lines[-1]["message"]
