"""What keeps a process from leaving patients' data where others can read it, or at all."""

from __future__ import annotations

import contextlib
import os
import resource

from avpenet_cli.media.confinement import NO_CORE_BYTES


def keep_private() -> None:
    """Make all that this process and its children create their owner's alone, and forbid core dumps.

    A core dump holds frames, audio and names. Files get mode 0600 and folders 0700 whatever the umask was: code of
    libraries creates some, too, and an umask such as 0777 would keep the program from its own folders.
    """
    os.umask(0o077)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    allowed = NO_CORE_BYTES if hard == resource.RLIM_INFINITY else min(NO_CORE_BYTES, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (allowed, hard))
