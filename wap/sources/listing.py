"""Which files a source names: local paths, globs and fsspec URLs, each with size and version."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import fsspec

from wap.errors import NotInstalledError, SourceError, SourceUnavailableError
from wap.paths import is_url, without_password

_PATTERN = frozenset("*?[")
_VERSION_KEYS = ("ETag", "etag", "version_id", "generation", "LastModified", "mtime", "created")


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file as it was when it was listed.

    Attributes:
        path: how messages, plans and cursors name it: relative to the project, absolute, or a
            URL without its secrets.
        size: in bytes, before decompression.
        version: modification time in nanoseconds, or the store's etag.
        location: the local path or the URL to open; may hold secrets.
        filesystem: fsspec's, None for a local file.
    """

    path: str
    size: int
    version: str
    location: str = field(repr=False)
    filesystem: Any = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> tuple[str, int, str]:
        """What makes it the same file with the same content."""
        return (self.path, self.size, self.version)

    @property
    def is_local(self) -> bool:
        """Whether the operating system can open it."""
        return self.filesystem is None

    def open(self) -> BinaryIO:
        """Its bytes, as they are stored.

        Raises:
            SourceError: it cannot be opened.
            SourceUnavailableError: the store does not answer.
        """
        try:
            if self.filesystem is None:
                return Path(self.location).open("rb", buffering=0)
            return self.filesystem.open(self.location, "rb")  # type: ignore[no-any-return]
        except Exception as exc:
            raise storage_error(exc, self.path, remote=not self.is_local) from exc

    def now(self) -> InputFile:
        """The same file as it is now.

        Raises:
            SourceError: it is gone.
        """
        try:
            if self.filesystem is None:
                return _local(Path(self.location), self.path)
            self.filesystem.invalidate_cache()
            return _remote(self.filesystem, self.location, self.path)
        except Exception as exc:
            raise storage_error(exc, self.path, remote=not self.is_local) from exc


def storage_error(exc: Exception, path: str, *, remote: bool) -> SourceError:
    """Say what went wrong with a file; a remote store's own words may hold keys and stay out."""
    if isinstance(exc, SourceError):
        return exc
    if isinstance(exc, FileNotFoundError):
        return SourceError("the file is not there", where=path, hint="check source: {path: …}")
    if isinstance(exc, PermissionError):
        return SourceError("the file may not be read", where=path, hint="check its permissions")
    if remote:
        return SourceUnavailableError(
            f"the store does not give the file ({type(exc).__name__})",
            where=path,
            hint="check the network, and the credentials in the environment",
        )
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
    return SourceError(f"the file cannot be read: {reason}", where=path)


def list_inputs(root: Path, patterns: Sequence[str], *, from_user: bool) -> list[InputFile]:
    """All files that the patterns name, each once, sorted by path.

    Args:
        root: the project's folder.
        patterns: paths, globs, or URLs (with globs, where the store can list).
        from_user: given on the command line, so an absolute path may lie anywhere.

    Raises:
        SourceError: a pattern matches no file, a path leads out of the project, an empty file.
        SourceUnavailableError: a store does not answer.
    """
    found: dict[str, InputFile] = {}
    for pattern in patterns:
        matched = list(_matches(root.resolve(), pattern, from_user=from_user))
        if not matched:
            raise SourceError(
                "no file is there",
                where=without_password(pattern) if is_url(pattern) else pattern,
                hint="check source: {path: …} in the pipeline; paths start at the project's folder",
            )
        for file in matched:
            other = found.setdefault(file.path, file)
            if other.location != file.location:
                raise SourceError(
                    "two inputs cannot be told apart without the secret part of their URLs",
                    where=file.path,
                    hint="name files whose URLs differ before the question mark",
                )
    files = [found[path] for path in sorted(found)]
    for file in files:
        if file.size == 0:
            raise SourceError(
                "the file is empty (0 bytes)",
                where=file.path,
                hint="an empty delivery has a header at least; ask the sender, or remove the file",
            )
    return files


def _matches(root: Path, pattern: str, *, from_user: bool) -> Iterator[InputFile]:
    if is_url(pattern) and not pattern.startswith(("file://", "local://")):
        yield from _remote_matches(pattern)
        return
    text = pattern.partition("://")[2] if is_url(pattern) else pattern
    for name in _expand(root, text):
        path = _confined(root, name, allow_absolute=from_user and Path(text).is_absolute())
        if path.is_dir():
            if text != name:
                continue  # a glob names what lies in a folder; the folder itself is no input
            raise SourceError(
                "the path is a folder", where=pattern, hint=f"write {pattern.rstrip('/')}/*"
            )
        shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        try:
            yield _local(path, shown)
        except OSError as exc:
            raise storage_error(exc, shown, remote=False) from exc


def _expand(root: Path, text: str) -> list[str]:
    """A name that is there is itself, also when it holds a bracket; else it is a glob."""
    if (root / text).exists() or not _PATTERN & set(text):
        return [text] if (root / text).exists() else []
    # Unlike Path.glob it takes absolute patterns, and leaves hidden files out.
    return sorted(glob.glob(text, root_dir=root, recursive=True))  # noqa: PTH207 - see above


def _confined(root: Path, name: str, *, allow_absolute: bool) -> Path:
    path = (root / name).resolve()
    if not allow_absolute and not path.is_relative_to(root):
        raise SourceError(
            "the path leads out of the project",
            where=name,
            hint="put the file under the project's folder, or name it with --source",
        )
    # The name as given, links not followed, is what people know it by; what it leads to is read.
    return path


def _local(path: Path, shown: str) -> InputFile:
    stat = path.stat()
    return InputFile(shown, stat.st_size, str(stat.st_mtime_ns), str(path))


def _remote_matches(url: str) -> Iterator[InputFile]:
    shown = without_password(url)
    fs, path = _filesystem(url, shown)
    try:
        # A worker lives for days, and a listing that was kept would hide what came since.
        fs.invalidate_cache()
        # In a URL a question mark begins the query, and HTTP cannot list at all.
        is_glob = not url.startswith("http") and bool({"*", "["} & set(path))
        # Not isfile(): it says no where the store did not answer.
        names = sorted(fs.glob(path)) if is_glob else [path]
        for name in names:
            yield _remote(fs, name, _shown_name(fs, name) if is_glob else shown)
    except Exception as exc:
        raise storage_error(exc, shown, remote=True) from exc


def _filesystem(url: str, shown: str) -> tuple[Any, str]:
    scheme = url.partition("://")[0]
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as exc:
        extra = "wap-lakehouse[s3]" if scheme == "s3" else f"fsspec[{scheme}]"
        raise NotInstalledError(
            f"reading {scheme}:// needs a package that is not installed",
            where=shown,
            hint=f"pip install '{extra}'",
        ) from exc
    except ValueError as exc:
        raise SourceError(f"{scheme}:// is no kind of store that is known", where=shown) from exc
    except Exception as exc:  # some stores connect at once
        raise storage_error(exc, shown, remote=True) from exc
    return fs, path


def _shown_name(fs: Any, name: str) -> str:
    return without_password(str(fs.unstrip_protocol(name)))


def _remote(fs: Any, name: str, shown: str) -> InputFile:
    info = fs.info(name)
    if info.get("type") == "directory":
        raise SourceError("the path is a folder", where=shown, hint=f"write {shown.rstrip('/')}/*")
    version = next((str(info[k]) for k in _VERSION_KEYS if info.get(k)), "")
    return InputFile(shown, int(info.get("size") or -1), version, name, fs)
