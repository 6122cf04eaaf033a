"""Hugging Face through its own client: HF_ENDPOINT names a mirror, HF_TOKEN opens what is private."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars

from kolora.errors import InputAbsent
from kolora.hubs.hub import HUBS
from kolora.hubs.repository import (
    Listing,
    RemoteFile,
    TemporaryFailure,
    checked_revision,
    forbidden,
    not_found,
    read_retry_after,
    remote_file,
    upload_problem,
)
from kolora.hubs.store import RepoRequest


class HuggingFace:
    """One repository on Hugging Face."""

    def __init__(self, request: RepoRequest) -> None:
        disable_progress_bars()
        self._request = request
        # False keeps the client from tokens that a login left on the disk.
        token: str | bool = os.environ.get(HUBS["huggingface"].token) or False
        self._api = HfApi(endpoint=os.environ.get(HUBS["huggingface"].endpoint, "").rstrip("/") or None, token=token)

    def list(self) -> Listing:
        """List the files, their revision resolved to a commit; files in LFS with their sha256."""
        request = self._request
        with self._translate_errors():
            found = self._api.repo_info(
                request.id, repo_type=request.kind, revision=request.revision, files_metadata=True, timeout=30
            )
        if not found.sha:
            raise not_found(request)
        files = []
        for each in found.siblings or ():
            sha256 = each.lfs.sha256 if each.lfs else None
            files.append(remote_file(request, each.rfilename, each.size or 0, sha256=sha256, blob=each.blob_id))
        return Listing(checked_revision(request, found.sha), files)

    def download(self, revision: str, file: RemoteFile, into: Path) -> Path:
        """Download one file; the client keeps what it has of it under ``into`` and asks for the rest."""
        with self._translate_errors():
            path = self._api.hf_hub_download(
                self._request.id, file.path, repo_type=self._request.kind, revision=revision, local_dir=into
            )
        return Path(path)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (HfHubHTTPError, requests.RequestException, FileMetadataError, OfflineModeIsEnabled) as problem:
            # The client wraps what went wrong in "not in the local cache either".
            cause = problem.__cause__ if isinstance(problem, LocalEntryNotFoundError) else problem
            raise self._problem_of(cause or problem) from problem
        except HFValidationError as problem:
            raise not_found(self._request) from problem
        except OSError as problem:
            if problem.errno is not None:
                raise
            # So it says that a file has another size than was announced.
            raise TemporaryFailure(str(problem).partition("\n")[0]) from problem

    def _problem_of(self, problem: BaseException) -> Exception:
        """Turn the client's problem into ours: absent, forbidden, or worth another try."""
        if isinstance(problem, OfflineModeIsEnabled):
            return InputAbsent(
                f"HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, and {self._request.id} is to come from Hugging Face",
                hint="unset it, or KOLORA_HUB=modelscope",
            )
        response = getattr(problem, "response", None)
        status = None if response is None else response.status_code
        if isinstance(problem, GatedRepoError):
            return forbidden(self._request)
        if isinstance(problem, RepositoryNotFoundError | RevisionNotFoundError) or status == 404:
            return not_found(self._request)
        if status in (401, 403):
            return forbidden(self._request)
        if response is not None:
            return TemporaryFailure(f"HTTP {status}", wait=read_retry_after(response.headers.get("Retry-After")))
        return TemporaryFailure(type(problem).__name__)


class HuggingFaceDestination:
    """A model repository to be on Hugging Face."""

    def __init__(self, id: str, token: str) -> None:  # noqa: A002 - the hubs' own word
        disable_progress_bars()
        self._id = id
        self._api = HfApi(endpoint=os.environ.get(HUBS["huggingface"].endpoint, "").rstrip("/") or None, token=token)

    def is_public(self) -> bool | None:
        with self._translate_errors():
            try:
                return not self._api.repo_info(self._id, repo_type="model", timeout=30).private
            except RepositoryNotFoundError:
                return None

    def create(self, *, public: bool) -> None:
        with self._translate_errors():
            self._api.create_repo(self._id, repo_type="model", private=not public, exist_ok=True)

    def put(self, folder: Path, message: str) -> None:
        with self._translate_errors():
            self._api.upload_folder(
                repo_id=self._id, repo_type="model", folder_path=folder, commit_message=message, run_as_future=False
            )

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except HfHubHTTPError as problem:
            status = problem.response.status_code if problem.response is not None else None
            raise upload_problem("huggingface", self._id, status, type(problem).__name__) from problem
        except (requests.RequestException, RuntimeError) as problem:
            # RuntimeError: so the client says that one of the files side by side did not get through.
            raise TemporaryFailure(type(problem).__name__) from problem
