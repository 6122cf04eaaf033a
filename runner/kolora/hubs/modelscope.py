"""ModelScope through its own client: MODELSCOPE_ENDPOINT names a mirror, MODELSCOPE_API_TOKEN opens what is private."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

import requests
from modelscope_hub.api import HubApi
from modelscope_hub.config import HubConfig
from modelscope_hub.errors import (
    AlreadyExistsError,
    APIError,
    AuthenticationError,
    FileSizeMismatchError,
    HubError,
    InvalidParameter,
    NotExistError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)

from kolora.hubs.hub import HUBS
from kolora.hubs.repository import (
    Listing,
    RemoteFile,
    TemporaryFailure,
    forbidden,
    longer_than_announced,
    not_found,
    read_retry_after,
    remote_file,
    upload_problem,
)
from kolora.hubs.store import RepoRequest

_NEWEST = "master"
"""The branch that stands for no revision; older clients chose a tag by their own release date."""


_PUBLIC = 5
"""ModelScope's number for what everybody may see."""


class ModelScope:
    """One repository on ModelScope; ``state`` is a folder for the client's own locks and session."""

    def __init__(self, request: RepoRequest, *, state: Path) -> None:
        self._request = request
        self._state = state
        with warnings.catch_warnings():
            # MODELSCOPE_DOMAIN is old but still promised.
            warnings.simplefilter("ignore", FutureWarning)
            # An empty token, unlike none, keeps the client from what a login left on the disk.
            config = HubConfig(cache_dir=state, config_dir=state, token=os.environ.get(HUBS["modelscope"].token, ""))
        self._api = HubApi(config)

    def list(self) -> Listing:
        """List the files; the hub tells no commit of the whole, so the revision stays the name that was asked for."""
        request, revision = self._request, self._request.revision or _NEWEST
        with self._translate_errors():
            found = self._api.list_repo_files(request.id, request.kind, revision=revision)
        files = [
            remote_file(request, each.path, each.size or 0, sha256=each.sha256 or None)
            for each in found
            if not each.is_dir
        ]
        return Listing(revision, files)

    def download(self, revision: str, file: RemoteFile, into: Path) -> Path:
        """Download one file, large ones in parts side by side; what is there of it is not asked for again."""
        with self._translate_errors():
            try:
                return self._api.download_file(
                    self._request.id,
                    self._request.kind,
                    file.path,
                    revision=revision,
                    local_dir=into,
                    cache_dir=self._state,
                    file_size=file.bytes,
                )
            except FileSizeMismatchError as problem:
                # The client tells what is too long from what is too short in words alone.
                announced = re.search(r"Server announced (\d+) bytes", str(problem))
                if "exceeded" in str(problem) or (announced and int(announced[1]) > file.bytes):
                    raise longer_than_announced(self._request, file.path, file.bytes) from problem
                raise

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (NotExistError, InvalidParameter) as problem:
            raise not_found(self._request) from problem
        except (AuthenticationError, PermissionDeniedError) as problem:
            raise forbidden(self._request) from problem
        except (RateLimitError, ServerError) as problem:
            wait = read_retry_after(getattr(problem, "retry_after", None))
            raise TemporaryFailure(f"HTTP {problem.status_code}", wait=wait) from problem
        except (HubError, requests.RequestException) as problem:
            status = problem.status_code if isinstance(problem, APIError) else None
            raise TemporaryFailure(f"HTTP {status}" if status else type(problem).__name__) from problem


class ModelScopeDestination:
    """A model repository to be on ModelScope."""

    def __init__(self, id: str, token: str, state: Path) -> None:  # noqa: A002 - the hubs' own word
        self._id = id
        with warnings.catch_warnings():
            # MODELSCOPE_DOMAIN is old but still promised.
            warnings.simplefilter("ignore", FutureWarning)
            config = HubConfig(cache_dir=state, config_dir=state, token=token)
        self._api = HubApi(config)

    def is_public(self) -> bool | None:
        with self._translate_errors():
            try:
                return self._api.get_repo(self._id, "model").visibility == _PUBLIC
            except NotExistError:
                return None

    def create(self, *, public: bool) -> None:
        # An answer that was lost may have been that it is made.
        with self._translate_errors(), suppress(AlreadyExistsError):
            self._api.create_repo(self._id, "model", visibility="public" if public else "private", license="other")

    def put(self, folder: Path, message: str) -> None:
        # The client prints a table of its own.
        with self._translate_errors(), redirect_stdout(io.StringIO()):
            self._api.upload_folder(
                self._id, "model", folder, commit_message=message, disable_tqdm=True, use_cache=False
            )

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (HubError, requests.RequestException) as problem:
            status = problem.status_code if isinstance(problem, APIError) else None
            raise upload_problem("modelscope", self._id, status, type(problem).__name__) from problem
