"""Why something failed, in words for a page that may be shared."""

from __future__ import annotations

import re

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import AvpenetError


def without_names(error: Exception, store: SegmentStore) -> str:
    """An error's message without the names of the store's recordings and subjects, and without its path.

    Returns:
        Of an error that is not the program's own, whose text may hold anything, its type only.
    """
    if not isinstance(error, AvpenetError):
        return f"{type(error).__name__}; the log and --debug say more"
    text = error.message.replace(str(store.path), "the store")
    names = {record.recording: "a recording" for record in store.record.recordings}
    names |= dict.fromkeys(map(str, store.index["subject"].unique()), "a subject")
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", names[name], text)
    return text
