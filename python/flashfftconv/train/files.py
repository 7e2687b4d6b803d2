"""Writing files so that a crash or a full disk never leaves a half-written one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


class WriteError(OSError, ValueError):
    """A file could not be written; what was there before is intact."""


def write_atomically(path: Path | str, content: bytes) -> None:
    """Replace `path` by `content`, all or nothing.

    The content goes to a temporary file in the same folder, is forced to disk, and takes the name over in one step, so
    that a reader, a killed process or a failed write sees either the old file or the new one.

    Raises
    ------
    WriteError
        If it cannot be written (full disk, size limit, no permission). The temporary file is removed and the old file
        kept.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; give the result the permissions any other new file would get.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        kept = "the old file is unchanged" if path.exists() else "no file was made"
        reason = error.strerror or str(error)
        raise WriteError(error.errno, f"cannot write {path} ({len(content)} bytes): {reason}; {kept}") from error


def write_text_atomically(path: Path | str, text: str) -> None:
    """`write_atomically` for text, as UTF-8."""
    write_atomically(path, text.encode("utf-8"))


def remove_stale_temporaries(path: Path | str) -> None:
    """Delete temporary files that a killed process left beside `path`."""
    path = Path(path)
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            leftover.unlink()


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    """Force the rename itself to disk, where the system lets a folder be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
