"""ModelScope through its own client: MODELSCOPE_ENDPOINT names a mirror, MODELSCOPE_API_TOKEN opens what is private."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from modelscope_hub.api import HubApi
from modelscope_hub.config import HubConfig
from modelscope_hub.errors import (
    APIError,
    AuthenticationError,
    HubError,
    InvalidParameter,
    NotExistError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)

from kolora.hubs.repository import TOKENS, Faltered, Listing, Remote, forbidden, seconds, unknown
from kolora.hubs.store import RepoRequest

NEWEST = "master"
"""The branch that stands for no revision; older clients chose a tag by their own release date."""


class ModelScope:
    """One repository on ModelScope; ``state`` is a folder for the client's own locks and session."""

    def __init__(self, request: RepoRequest, *, state: Path) -> None:
        self._request = request
        self._state = state
        with warnings.catch_warnings():
            # MODELSCOPE_DOMAIN is old but still promised.
            warnings.simplefilter("ignore", FutureWarning)
            # An empty token, unlike none, keeps the client from what a login left on the disk.
            config = HubConfig(cache_dir=state, config_dir=state, token=os.environ.get(TOKENS["modelscope"], ""))
        self._api = HubApi(config)

    def list(self) -> Listing:
        """List the files; the hub tells no commit of the whole, so the revision stays the name that was asked for."""
        request, revision = self._request, self._request.revision or NEWEST
        with self._translated():
            found = self._api.list_repo_files(request.id, request.kind, revision=revision)
        return Listing(
            revision, [Remote(each.path, each.size, each.sha256 or None) for each in found if not each.is_dir]
        )

    def download(self, revision: str, file: Remote, into: Path) -> Path:
        """Download one file, large ones in parts side by side; what is there of it is not asked for again."""
        with self._translated():
            return self._api.download_file(
                self._request.id,
                self._request.kind,
                file.path,
                revision=revision,
                local_dir=into,
                cache_dir=self._state,
                file_size=file.bytes,
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (NotExistError, InvalidParameter) as problem:
            raise unknown(self._request) from problem
        except (AuthenticationError, PermissionDeniedError) as problem:
            raise forbidden(self._request) from problem
        except (RateLimitError, ServerError) as problem:
            after = getattr(problem, "retry_after", None)
            raise Faltered(f"HTTP {problem.status_code}", after=None if after is None else seconds(after)) from problem
        except (HubError, requests.RequestException) as problem:
            status = problem.status_code if isinstance(problem, APIError) else None
            raise Faltered(f"HTTP {status}" if status else type(problem).__name__) from problem
