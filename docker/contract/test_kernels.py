"""What the image holds to compile kernels, tried as far as that goes without a GPU: all but the card's own part."""

import shutil
from pathlib import Path

LAUNCHED = "0x5678 7 2 1 128 99 0x1234 7f0012345678 1122334455667788 -5\n"


def test_a_kernel_is_compiled_launched_and_kept(engine, folder):
    scripts, driver, cache = folder(), folder(), folder()
    shutil.copy(Path(__file__).with_name("launch.py"), scripts)
    flags = ["-v", f"{scripts}:/scripts:ro", "-v", f"{driver}:/driver", "--entrypoint", "/opt/venv/bin/python"]
    arguments = ["-W", "ignore", "/scripts/launch.py", "/driver"]

    def files():
        return {path: path.stat().st_mtime_ns for path in cache.rglob("*.*") if path.is_file()}

    ended = engine.run(*arguments, flags=[*flags, "-v", f"{cache}:/cache"])
    assert (ended.code, ended.out, ended.err) == (0, LAUNCHED, "")
    kept = files()
    assert {"cuda_utils.so", "_gate.so", "_gate.cubin"} <= {path.name for path in kept}
    assert all(path.is_relative_to(cache / "triton") for path in kept)

    again = engine.run(*arguments, flags=[*flags, "-v", f"{cache}:/cache"])
    assert (again.code, again.out, again.err) == (0, LAUNCHED, "")
    # Triton 2.3 names the launcher of a kernel that it finds otherwise than that of one it has just compiled.
    assert {path.name for path in files().keys() - kept.keys()} <= {"_gate.so"}
    assert kept.items() <= files().items()
