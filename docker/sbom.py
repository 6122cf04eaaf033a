"""Writes the image's bill of materials, CycloneDX 1.5: ``python sbom.py VERSION BASE [REVISION]``, run in the image.

What it lists is what is there: the Python packages by their metadata, Debian's by dpkg's list. It needs no package
itself, and is the same for the same image, to the byte.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

_DPKG = "${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n"
_LONGEST_LICENCE = 100
"""Letters of a licence's name; longer ones are its whole text, which the package has in a file."""


def python_components() -> list[dict[str, Any]]:
    """List the installed Python packages."""
    components = []
    for package in importlib.metadata.distributions():
        metadata = package.metadata
        name = metadata["Name"].lower().replace("_", "-")
        component = _component(name, package.version, f"pkg:pypi/{quote(name)}@{quote(package.version)}")
        licence = metadata["License-Expression"] or metadata["License"]
        if licence and len(licence) <= _LONGEST_LICENCE and "\n" not in licence:
            component["licenses"] = [{"license": {"name": licence.strip()}}]
        components.append(component)
    return components


def debian_components(listed: str, *, release: str) -> list[dict[str, Any]]:
    """List the installed Debian packages. listed: dpkg-query's answer. release: as Debian's codename."""
    components = []
    for line in listed.splitlines():
        status, name, version, architecture, source, source_version = line.split("\t")
        if status != "installed":
            continue
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}&distro={release}"
        component = _component(name, version, purl)
        # Advisories name the source package.
        component["properties"] = [{"name": "debian:source", "value": f"{source} {source_version}"}]
        components.append(component)
    return components


def bill(components: Sequence[Mapping[str, Any]], *, version: str, base: str, revision: str) -> dict[str, Any]:
    """Put the components into a bill of the image ``kolora``."""
    image = {
        "type": "container",
        "bom-ref": f"pkg:oci/kolora@{quote(version)}",
        "name": "kolora",
        "version": version,
        "licenses": [{"license": {"id": "MIT"}}],
        "properties": [
            {"name": "kolora:base", "value": base},
            {"name": "kolora:python", "value": platform.python_version()},
            {"name": "kolora:revision", "value": revision or "unknown"},
        ],
    }
    ordered = sorted({each["bom-ref"]: each for each in components}.values(), key=lambda each: each["bom-ref"])
    content = json.dumps([image, ordered], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # By the content and not by chance: the same image has the same bill.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": image},
        "components": ordered,
        "dependencies": [{"ref": image["bom-ref"], "dependsOn": [each["bom-ref"] for each in ordered]}],
    }


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def main() -> None:
    """Write the bill of this machine to standard output."""
    version, base, *revision = sys.argv[1:]
    listed = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={_DPKG}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "unknown")
    components = [*python_components(), *debian_components(listed, release=release)]
    json.dump(bill(components, version=version, base=base, revision="".join(revision)), sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
