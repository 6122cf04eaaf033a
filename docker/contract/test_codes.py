"""Each exit code of the contract, produced once; its two lines, also where the container's keeper looks."""

import json
import shutil

import pytest

HUB = "{kolora: 1, model: {checkpoint: pocket}, dataset: {source: huggingface, id: no/where}, scenes: [{prompt: a}]}"
WRONG = "{kolora: 1, model: {checkpoint: pocket}, dataset: {source: pocket}, lora: {rnk: 4}, scenes: []}"


@pytest.mark.parametrize(
    ("code", "how", "arguments", "given", "error", "hint"),
    [
        (2, "an unknown option", ["quickstart", "--speed"], None, "No such option", "kolora --help"),
        (65, "a story with a misspelt key and no scene", ["-"], WRONG, "lora.rnk", "rank"),
        (66, "a hub's data set, offline", ["-", "--offline"], HUB, "no/where is not in the cache", "kolora fetch"),
        (69, "a hub's data set, no network", ["-"], HUB, "did not give no/where", "HF_ENDPOINT"),
        (71, "the default story without a GPU", [], None, "Kolors needs an NVIDIA GPU", "quickstart"),
        (78, "a story of schema 9", ["quickstart", "--set", "kolora=9"], None, "9", ""),
    ],
)
def test_a_code_and_its_two_lines(engine, folder, figures, code, how, arguments, given, error, hint):
    out, words = folder(), folder() / "words"
    words.touch()
    words.chmod(0o666)
    flags = ["-i", "-v", f"{out}:/out", "-v", f"{words}:/dev/termination-log", "-e", "HF_TOKEN=hf_CONTRACTsecret"]
    ended = engine.run(*arguments, flags=flags, given=given)
    figures.append(f"exit {code}: {how} ({ended.seconds:.1f} s)")
    assert ended.code == code, ended
    assert error in ended.err
    assert hint in ended.err.partition("hint: ")[2]
    assert ended.err.endswith(words.read_text())
    assert words.read_text().startswith("error: ")
    assert "CONTRACTsecret" not in ended.out + ended.err


def test_too_few_pictures_are_65_and_reported(engine, folder, specs, figures):
    out = folder()
    strict = "filters=[{image_shape_filter: {min_width: 9999}}]"
    ended = engine.run("/specs/small.yaml", "--set", strict, flags=["-v", f"{out}:/out", *specs])
    figures.append(f"exit 65: too few pictures ({ended.seconds:.1f} s)")
    assert ended.code == 65, ended
    assert json.loads((out / "small" / "report.json").read_text())["failure"]["code"] == 65


def test_a_read_only_output_is_73(engine, folder, specs, figures):
    ended = engine.run("/specs/small.yaml", flags=["-v", f"{folder()}:/out:ro", *specs])
    figures.append(f"exit 73: a read-only /out ({ended.seconds:.1f} s)")
    assert ended.code == 73, ended
    assert "cannot be written" in ended.err


def test_a_bug_is_70(engine, folder, undisturbed, figures):
    """An image without its templates is broken, which is nobody's fault but ours."""
    flags = ["-v", f"{undisturbed.out}:/out", "-v", f"{folder()}:/opt/kolora/templates:ro"]
    ended = engine.run("report", "/out", flags=flags)
    figures.append(f"exit 70: an image without its templates ({ended.seconds:.1f} s)")
    assert ended.code == 70, ended
    assert "this is a bug of kolora" in ended.err


def test_verify_of_what_was_tampered_with_is_76_and_else_0(engine, folder, undisturbed, figures, tmp_path):
    """The honest one as a folder; picture, LoRA and prompt changed in a copy, and that packed as strangers send it."""
    forged = tmp_path / "forged"
    shutil.copytree(undisturbed.out, forged)
    shutil.copy(undisturbed.out / "images" / "02.png", forged / "images" / "01.png")
    lora = forged / "lora" / "pytorch_lora_weights.safetensors"
    weights = lora.read_bytes()
    lora.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    story = (forged / "story.yaml").read_text(encoding="utf-8")
    (forged / "story.yaml").write_text(story.replace("星空下", "大海边"), encoding="utf-8")
    shutil.make_archive(str(tmp_path / "forged"), "zip", forged)
    (tmp_path / "forged.zip").chmod(0o644)
    sent = {undisturbed.out: "/honest", tmp_path / "forged.zip": "/forged.zip"}
    mounts = [part for path, at in sent.items() for part in ("-v", f"{path}:{at}:ro")]
    fared = [engine.run("verify", at, flags=["-v", f"{folder()}:/out", *mounts]) for at in sent.values()]
    figures.append(f"exit 76: a picture, the LoRA and a prompt were changed ({fared[1].seconds:.1f} s)")
    assert [each.code for each in fared] == [0, 76], fared
    assert fared[0].lines[-1]["verdict"] == "identical"
    for name in ("images/01.png", "lora/pytorch_lora_weights.safetensors", "story.yaml"):
        assert f"{name}: its sha256 differs" in fared[1].err


def test_a_batch_tells_of_a_failure_and_goes_on(engine, folder, specs, same):
    out, stories = folder(), folder()
    (stories / "wrong.yaml").write_text(WRONG)
    flags = ["-v", f"{out}:/out", "-v", f"{stories}:/stories:ro", *specs]
    service = {"AWS_BATCH_JOB_ID": "a1b2", "AWS_BATCH_JOB_ATTEMPT": "2"}
    flags += [part for name, value in service.items() for part in ("-e", f"{name}={value}")]
    ended = engine.run("batch", "/stories", "/specs/small.yaml", flags=flags)
    assert ended.code == 65, ended
    assert same(out / "small")
    told = json.loads((out / "batch.json").read_text())
    assert {line["label"]: line["code"] for line in told["stories"]} == {"small": 0, "wrong": 65}
    report = json.loads((out / "small" / "report.json").read_text())
    assert report["environment"]["service"]["run"] == "a1b2"
    assert report["environment"]["service"]["attempt"] == 2
