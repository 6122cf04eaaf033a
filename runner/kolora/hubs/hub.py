"""The hubs, as messages and the environment know them.

Another one is a line here, a module with its client, two lines in ``clients``, its ids in ``catalogue`` where they are
other ones, and its name as a story's source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

HubName = Literal["modelscope", "huggingface"]


@dataclass(frozen=True)
class Hub:
    """A hub: what stories, locks and the cache call it, and what messages do.

    token, endpoint: the environment variables that hold its token, which is read nowhere else and written nowhere, and
    that send its client to a mirror.
    """

    name: HubName
    title: str
    token: str
    endpoint: str


HUBS: Mapping[str, Hub] = {
    each.name: each
    for each in (
        Hub("modelscope", "ModelScope", "MODELSCOPE_API_TOKEN", "MODELSCOPE_ENDPOINT"),
        Hub("huggingface", "Hugging Face", "HF_TOKEN", "HF_ENDPOINT"),
    )
}
"""Every hub by its name; the first is asked where nobody chose."""
