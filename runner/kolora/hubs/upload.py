"""Uploads: a folder into a model repository on a hub, through the hub's own client."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Protocol, TypeVar

import requests
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils.tqdm import disable_progress_bars
from modelscope_hub.api import HubApi
from modelscope_hub.config import HubConfig
from modelscope_hub.errors import AlreadyExistsError, APIError, HubError, NotExistError

from kolora.errors import InputAbsent, UsageError
from kolora.hubs.repository import NAMES, TOKENS, Faltered
from kolora.hubs.retry import insist

T = TypeVar("T")
PUBLIC = 5
"""ModelScope's number for what everybody may see."""
_PASSING = (408, 425, 429)
"""Answers that blame the request and yet may be others a moment later."""


class _Destination(Protocol):
    """A model repository to be. Methods raise InputAbsent for good and Faltered where trying again may help."""

    def is_public(self) -> bool | None:
        """Say who may see it; None where it does not exist yet."""

    def create(self, *, public: bool) -> None:
        """Make it."""

    def put(self, folder: Path, message: str) -> None:
        """Upload a folder's files; what is there already is not sent again."""


def upload(folder: Path, *, hub: str, id: str, public: bool, message: str, state: Path) -> None:  # noqa: A002 - the hubs' own word
    """Upload a folder into the model repository ``id`` of a hub, which is made, private unless asked otherwise.

    Cut short, the next call goes on: the hubs know contents by their sha256 and take none twice. state: a folder for a
    client's own files. Raises InputAbsent without a token or where it does not open the repository, UsageError where
    the repository is public and that was not asked for, HubUnreachable when the hub does not answer.
    """
    token = os.environ.get(TOKENS[hub])
    if not token:
        raise InputAbsent(
            f"there is no token for {NAMES[hub]}, and only its holder may upload",
            hint=f"set {TOKENS[hub]} in the environment; it is read from there only",
        )
    place: _Destination = _ModelScope(id, token, state) if hub == "modelscope" else _HuggingFace(id, token)

    def steadily(attempt: Callable[[], T]) -> T:
        return insist(attempt, hub=hub, failing=f"take {id}")

    seen = steadily(place.is_public)
    if seen is None:
        steadily(lambda: place.create(public=public))
    elif seen and not public:
        raise UsageError(f"{id} on {NAMES[hub]} is public, and --public was not asked for", hint="--public")
    steadily(lambda: place.put(folder, message))


def _judged(hub: str, id: str, status: int | None, said: str) -> Exception:  # noqa: A002 - the hubs' own word
    """Turn a hub's answer into our problem: forbidden, refused, or worth another try."""
    if status in (401, 403, 404):
        return InputAbsent(
            f"{NAMES[hub]} does not let the holder of this token write {id}",
            hint=f"set {TOKENS[hub]} to a token with the right to write, and --repo to a name of your own",
        )
    if status is not None and 400 <= status < 500 and status not in _PASSING:
        return InputAbsent(f"{NAMES[hub]} refuses {id}: HTTP {status}", hint="--repo another/name")
    return Faltered(f"HTTP {status}" if status else said)


class _HuggingFace:
    def __init__(self, id: str, token: str) -> None:  # noqa: A002 - the hubs' own word
        disable_progress_bars()
        self._id = id
        self._api = HfApi(endpoint=os.environ.get("HF_ENDPOINT", "").rstrip("/") or None, token=token)

    def is_public(self) -> bool | None:
        with self._translated():
            try:
                return not self._api.repo_info(self._id, repo_type="model", timeout=30).private
            except RepositoryNotFoundError:
                return None

    def create(self, *, public: bool) -> None:
        with self._translated():
            self._api.create_repo(self._id, repo_type="model", private=not public, exist_ok=True)

    def put(self, folder: Path, message: str) -> None:
        with self._translated():
            self._api.upload_folder(
                repo_id=self._id, repo_type="model", folder_path=folder, commit_message=message, run_as_future=False
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except HfHubHTTPError as problem:
            status = problem.response.status_code if problem.response is not None else None
            raise _judged("huggingface", self._id, status, type(problem).__name__) from problem
        except (requests.RequestException, RuntimeError) as problem:
            # RuntimeError: so the client says that one of the files side by side did not get through.
            raise Faltered(type(problem).__name__) from problem


class _ModelScope:
    def __init__(self, id: str, token: str, state: Path) -> None:  # noqa: A002 - the hubs' own word
        self._id = id
        with warnings.catch_warnings():
            # MODELSCOPE_DOMAIN is old but still promised.
            warnings.simplefilter("ignore", FutureWarning)
            config = HubConfig(cache_dir=state, config_dir=state, token=token)
        self._api = HubApi(config)

    def is_public(self) -> bool | None:
        with self._translated():
            try:
                return self._api.get_repo(self._id, "model").visibility == PUBLIC
            except NotExistError:
                return None

    def create(self, *, public: bool) -> None:
        # An answer that was lost may have been that it is made.
        with self._translated(), suppress(AlreadyExistsError):
            self._api.create_repo(self._id, "model", visibility="public" if public else "private", license="other")

    def put(self, folder: Path, message: str) -> None:
        # The client prints a table of its own.
        with self._translated(), redirect_stdout(io.StringIO()):
            self._api.upload_folder(
                self._id, "model", folder, commit_message=message, disable_tqdm=True, use_cache=False
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (HubError, requests.RequestException) as problem:
            status = problem.status_code if isinstance(problem, APIError) else None
            raise _judged("modelscope", self._id, status, type(problem).__name__) from problem
