"""Disturbances: signals and kills in every stage, a full disk, a shared cache; the bytes are the undisturbed ones."""

import json
import subprocess
import threading

from tests.hubs.loopback import LoopbackHub, serving

CONTRACT_SECONDS = 10.0
STAGES = ("fetch", "filter", "encode_prompt-01", "cache_latents", "train", "render-01", "grid", "score")
CODE_STOPPED = 75


def test_sigterm_in_every_stage_is_75_and_costs_no_byte(engine, folder, specs, same, figures):
    """One run after another is stopped one stage later, each going on from what the last one left."""
    out = folder()
    flags = ["-v", f"{out}:/out", *specs]
    for stage in STAGES:
        container = engine.begin("/specs/small.yaml", flags=flags)
        assert container.wait_for(f"{stage} begins"), container.told
        code, seconds = container.signal("TERM")
        figures.append(f"SIGTERM in {stage}: exit {code} after {seconds:.1f} s, {_at_work(out / 'small')} was at work")
        assert code == CODE_STOPPED, container.told
        assert seconds < CONTRACT_SECONDS
        assert not (out / "small" / "manifest.sha256").exists()
    last = engine.begin("/specs/small.yaml", flags=flags)
    assert last.wait_for("score is done"), last.told
    code, seconds = last.signal("TERM")
    figures.append(f"SIGTERM in the report: exit {code} after {seconds:.1f} s")
    # The report takes less than a second: the signal may find it written.
    assert code == CODE_STOPPED or (code == 0 and (out / "small" / "manifest.sha256").is_file())
    assert engine.run("/specs/small.yaml", flags=flags).code == 0
    assert same(out / "small")


def test_sigterm_before_anything_began_is_75(engine, specs, folder, figures):
    container = engine.begin("/specs/small.yaml", flags=["-v", f"{folder()}:/out", *specs])
    while not subprocess.run(["docker", "top", container.name], capture_output=True, check=False).stdout.count(b"-m"):
        assert container.process.poll() is None, container.told
    code, seconds = container.signal("TERM")
    figures.append(f"SIGTERM at the start: exit {code} after {seconds:.1f} s")
    assert code in (CODE_STOPPED, 128 + 15), container.told


def test_sigkill_in_every_stage_costs_no_byte(engine, folder, specs, same):
    out = folder()
    flags = ["-v", f"{out}:/out", *specs]
    for stage in ("filter", "train", "render-01", "score"):
        container = engine.begin("/specs/small.yaml", flags=flags)
        assert container.wait_for(f"{stage} begins"), container.told
        code, _ = container.signal("KILL")
        assert code == 128 + 9, container.told
    assert engine.run("/specs/small.yaml", flags=flags).code == 0
    assert same(out / "small")


def test_a_full_disk_is_73_and_with_room_the_run_goes_on(engine, specs, undisturbed, figures):
    """The run's user has no rights; root, who only makes room on the volume, does."""
    script = """
        tell() {
            setpriv --reuid 12345 --regid 0 --clear-groups kolora /specs/small.yaml > /tmp/told 2>&1
            echo "$?"
        }
        tell; tail -n 2 /tmp/told
        mount -o remount,size=256m /out
        tell; cd /out/small
        sha256sum lora/pytorch_lora_weights.safetensors grid.png images/*.png && sha256sum -c --quiet manifest.sha256
    """
    flags = ["--tmpfs", "/out:size=1m,mode=0777", "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"]
    flags += ["--network", "none", "--user", "0:0", "--entrypoint", "/bin/sh", *specs]
    ended = engine.plain("-c", script, flags=flags)
    first, error, hint, second, *digests = ended.out.splitlines()
    figures.append(f"exit {first}: a full disk, then exit {second} with room")
    assert (first, second) == ("73", "0"), ended
    assert "is full" in error
    assert "make room" in hint
    known = (undisturbed.out / "manifest.sha256").read_text().splitlines()
    assert set(digests) <= set(known)
    assert len(digests) == 4
    assert ended.code == 0


def test_two_containers_fill_one_cache_at_the_same_moment(engine, folder, undisturbed):
    cache, stories = folder(), folder()
    pictures = {path.name: path.read_bytes() for path in (undisturbed.out / "data" / "train").glob("*.jpg")}
    (stories / "hub.yaml").write_text(
        "{kolora: 1, model: {checkpoint: pocket}, dataset: {source: huggingface, id: some/set, caption: a},"
        " scenes: [{prompt: a}]}"
    )
    flags = ["-v", f"{cache}:/cache", "-v", f"{stories}:/stories:ro"]
    ended = []
    with serving(LoopbackHub()) as hub:
        hub.publish("dataset", "some/set", pictures)
        online = [*flags, "--network", "host", "-e", f"HF_ENDPOINT={hub.url}", "--user", "12345:0", "--read-only"]

        def fetch():
            ended.append(engine.plain("fetch", "/stories/hub.yaml", flags=[*online, "--tmpfs", "/tmp"]))

        threads = [threading.Thread(target=fetch) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        asked = [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]
    assert [each.code for each in ended] == [0, 0], ended
    assert len(pictures) >= 4
    assert len(asked) == len(pictures), asked
    out = folder()
    told = engine.run("/stories/hub.yaml", "--until", "fetch", "--offline", flags=[*flags, "-v", f"{out}:/out"])
    assert told.code == 0, told
    assert json.loads((out / "story" / "records" / "fetch.json").read_text())["facts"]["images"] == len(pictures)


def _at_work(out):
    run = json.loads((out / "records" / "run.json").read_text())
    assert run["status"] == "stopped"
    return next((step["step"] for step in run["steps"] if step["action"] == "pending"), "none")
