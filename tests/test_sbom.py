"""The image's bill of materials says what CycloneDX 1.5 asks for, and all that is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from kolora.version import __version__

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "docker" / "sbom.py"
DPKG = (
    "installed\tlibc6\t2.36-9+deb12u13\tamd64\tglibc\t2.36-9+deb12u13\n"
    "installed\ttini\t0.19.0-1\tamd64\ttini\t0.19.0-1\n"
    "config-files\tgone\t1.0\tamd64\tgone\t1.0\n"
    "installed\tlibstdc++6\t1:12.2.0-14\tamd64\tgcc-12\t12.2.0-14\n"
)
KINDS = {"application", "framework", "library", "container", "operating-system", "file"}
"""Kinds of components, of those in the schema that an image can have."""


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    """Load the script, which stands outside of any package as the image has it alone."""
    spec = importlib.util.spec_from_file_location("sbom", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bill(sbom: ModuleType) -> dict[str, Any]:
    components = [*sbom.python_components(), *sbom.debian_components(DPKG, release="bookworm")]
    made: dict[str, Any] = sbom.bill(components, version="0.2.0", base="debian@sha256:00", revision="abc")
    return json.loads(json.dumps(made))


def faults(bill: dict[str, Any]) -> Iterator[str]:
    """Yield what breaks bom-1.5.schema.json: required fields, patterns, kinds, and references that lead nowhere."""
    if (bill.get("bomFormat"), bill.get("specVersion")) != ("CycloneDX", "1.5"):
        yield "bomFormat, specVersion"
    uuid = r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    if not re.fullmatch(uuid, bill.get("serialNumber", "")):
        yield "serialNumber"
    if not isinstance(bill.get("version"), int):
        yield "version"
    components = [bill["metadata"]["component"], *bill["components"]]
    for each in components:
        if each.get("type") not in KINDS or not each.get("name") or not each.get("bom-ref"):
            yield f"component {each}"
        for licence in each.get("licenses", ()):
            if len({"id", "name"} & licence.get("license", {}).keys()) != 1:
                yield f"licence {licence}"
        for entry in each.get("properties", ()):
            if not all(isinstance(entry.get(key), str) for key in ("name", "value")):
                yield f"property {entry}"
    references = [each["bom-ref"] for each in components]
    if len(set(references)) < len(references):
        yield "bom-ref twice"
    for each in bill["dependencies"]:
        yield from (f"dependency on {name}" for name in {each["ref"], *each["dependsOn"]} - set(references))


def test_it_has_what_the_schema_asks_for(bill: dict[str, Any]) -> None:
    assert [*faults(bill)] == []


@pytest.mark.parametrize("key", ["bomFormat", "specVersion", "serialNumber", "version"])
def test_a_field_that_lacks_would_have_been_found(bill: dict[str, Any], key: str) -> None:
    del bill[key]
    assert [*faults(bill)]


def test_every_package_is_in_it_by_name_version_and_purl(bill: dict[str, Any]) -> None:
    listed = {(each["name"], each["version"]): each for each in bill["components"]}
    installed = [(each.metadata["Name"], each.version) for each in importlib.metadata.distributions()]
    assert len(installed) > 100
    for name, version in installed:
        component = listed[name.lower().replace("_", "-"), version]
        assert component["purl"].startswith("pkg:pypi/")
    assert listed["libstdc++6", "1:12.2.0-14"]["purl"] == (
        "pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14?arch=amd64&distro=bookworm"
    )
    assert listed["libc6", "2.36-9+deb12u13"]["properties"][0]["value"] == "glibc 2.36-9+deb12u13"
    assert not any(name == "gone" for name, _ in listed)


def test_the_same_image_has_the_same_bill(sbom: ModuleType, bill: dict[str, Any]) -> None:
    components = [*sbom.debian_components(DPKG, release="bookworm"), *sbom.python_components()][::-1]
    assert sbom.bill(components, version="0.2.0", base="debian@sha256:00", revision="abc") == bill
    assert sbom.bill(components, version="0.2.1", base="x", revision="")["serialNumber"] != bill["serialNumber"]


def test_it_runs_by_itself_where_debians_list_is(tmp_path: Path) -> None:
    # As in the image, with dpkg's answer from a stand-in: not every machine is Debian.
    (tmp_path / "dpkg-query").write_text(f"#!/bin/sh\nprintf '%s' '{DPKG}'\n", encoding="utf-8")
    (tmp_path / "dpkg-query").chmod(0o755)
    command = [sys.executable, "-I", SCRIPT, "0.2.0", "debian:bookworm-slim@unknown", ""]
    ended = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    bill = json.loads(ended.stdout)
    assert [*faults(bill)] == []
    told = {each["name"]: each["value"] for each in bill["metadata"]["component"]["properties"]}
    assert (told["kolora:base"], told["kolora:revision"]) == ("debian:bookworm-slim@unknown", "unknown")


def test_a_plain_docker_build_knows_the_version_and_has_the_script() -> None:
    recipe = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"ARG VERSION={__version__}\n" in recipe
    assert "source=docker/sbom.py" in recipe
    assert "!docker/sbom.py" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    names = ("version", "revision", "created", "base.name", "base.digest", "licenses", "title", "description")
    for name in names:
        assert f"org.opencontainers.image.{name}=" in recipe
