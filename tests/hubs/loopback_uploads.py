"""The half of the hub on loopback that takes uploads, as far as both hubs' clients use it.

ModelScope: POST /api/v1/models makes a repository; /api/v1/repos/models/OWNER/NAME/info/lfs/objects/batch says which
blobs are wanted, and /commit/REV there takes the rest. Hugging Face: POST /api/repos/create makes a repository;
/api/models/OWNER/NAME/preupload/REV says what goes to LFS, /OWNER/NAME.git/info/lfs/objects/batch which blobs are
wanted, /api/models/OWNER/NAME/commit/REV takes the rest. Blobs go to PUT /blobs/SHA256.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.hubs.loopback import LoopbackHub

Answer = tuple[int, object, dict[str, str]]
SMALL = 1000
PRIVATE, PUBLIC = 1, 5


def take(hub: LoopbackHub, path: str, body: bytes, token: str | None) -> Answer:
    """Answer a POST or PUT."""
    if hub.failures.status:
        status, headers = hub.failures.status.pop(0)
        return status, {"error": "as told"}, headers
    parts = path.strip("/").split("/")
    if parts[0] == "blobs":
        return _take_blob(hub, parts[1], body)
    if token not in hub.writers:
        return 401, {"error": "Invalid credentials in Authorization header", "Code": 401, "Message": "who"}, {}
    if parts[:3] == ["api", "v1", "models"]:
        told = json.loads(body)
        return _create(hub, f"{told['Path']}/{told['Name']}", private=told["Visibility"] == PRIVATE)
    if parts == ["api", "repos", "create"]:
        told = json.loads(body)
        return _create(hub, f"{told['organization']}/{told['name']}", private=told["private"])
    if parts == ["api", "validate-yaml"]:
        return 200, {"errors": [], "warnings": []}, {}
    if "batch" in parts:
        name = "/".join(parts[4:6]) if parts[0] == "api" else "/".join(parts[:2]).removesuffix(".git")
        wanted = _wanted(hub, name, json.loads(body)["objects"])
        return 200, {"objects": wanted, "transfer": "basic", "Data": {"objects": wanted}, "Code": 200}, {}
    if "preupload" in parts:
        return 200, {"files": [_mode(each) for each in json.loads(body)["files"]]}, {}
    if "commit" in parts and hub.failures.commits:
        hub.failures.commits -= 1
        return 500, {"error": "as told"}, {}
    if "commit" in parts:
        modelscope = parts[1] == "v1"
        name = "/".join(parts[4:6] if modelscope else parts[2:4])
        files = _of_modelscope(hub, body) if modelscope else _of_huggingface(hub, body)
        return _commit(hub, name, files)
    return 404, {"error": f"no such thing: {path}"}, {}


def _create(hub: LoopbackHub, name: str, *, private: bool) -> Answer:
    if ("model", name) in hub.repositories:
        return 409, {"error": "You already created this model repo", "url": f"{hub.url}/{name}"}, {}
    hub.publish("model", name, {})
    hub.repositories["model", name].private = private
    return 200, {"url": f"{hub.url}/{name}", "Code": 200, "Success": True, "Data": {"Name": name}}, {}


def _mode(file: dict[str, Any]) -> dict[str, Any]:
    mode = "regular" if file["size"] < SMALL else "lfs"
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}


def _wanted(hub: LoopbackHub, name: str, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    assert ("model", name) in hub.repositories, name
    return [
        {
            "oid": each["oid"],
            "size": each["size"],
            **({} if each["oid"] in hub.blobs else {"actions": {"upload": {"href": f"{hub.url}/blobs/{each['oid']}"}}}),
        }
        for each in objects
    ]


def _take_blob(hub: LoopbackHub, sha256: str, body: bytes) -> Answer:
    if hashlib.sha256(body).hexdigest() != sha256:
        return 400, {"error": "other bytes"}, {}
    hub.blobs[sha256] = body
    hub.taken[sha256] += len(body)
    return 200, {"Code": 200}, {}


def _of_modelscope(hub: LoopbackHub, body: bytes) -> dict[str, bytes]:
    return {
        each["path"]: hub.blobs[each["sha256"]] if each["type"] == "lfs" else base64.b64decode(each["content"])
        for each in json.loads(body)["actions"]
    }


def _of_huggingface(hub: LoopbackHub, body: bytes) -> dict[str, bytes]:
    files = {}
    for line in map(json.loads, body.splitlines()):
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = hub.blobs[value["oid"]]
    return files


def _commit(hub: LoopbackHub, name: str, files: dict[str, bytes]) -> Answer:
    repository = hub.repositories["model", name]
    before = repository.revisions[repository.branches["main"]]
    commit = hub.publish("model", name, before | files)
    told = {"success": True, "commitOid": commit, "commitUrl": f"{hub.url}/{name}/commit/{commit}"}
    return 200, told | {"Code": 200, "Success": True, "Data": {"CommitId": commit}}, {}
