"""The plain bytes of an input file: decompressed and in UTF-8, streamed, with progress."""

from __future__ import annotations

import codecs
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

from wap.errors import SourceError
from wap.sources.listing import InputFile, storage_error

_ENDINGS = {".gz": "gzip", ".gzip": "gzip", ".zip": "zip", ".zst": "zstd", ".zstd": "zstd"}
_CHUNK = 1 << 20
_BOM = codecs.BOM_UTF8


class Readable(Protocol):
    """What readers need of a stream."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the buffer from the front; 0 at the end."""


def compression_of(file: InputFile, declared: str) -> str:
    """``none``, ``gzip``, ``zip`` or ``zstd``: as declared, or by the name's ending."""
    if declared != "auto":
        return declared
    return next((kind for end, kind in _ENDINGS.items() if file.path.lower().endswith(end)), "none")


@contextmanager
def open_plain(
    file: InputFile,
    *,
    compression: str = "auto",
    encoding: str = "utf-8",
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[Readable]:
    """Open a file for reading its plain bytes.

    Args:
        progress: told the stored bytes consumed since it was told before.

    Raises:
        SourceError: unreadable, not in the compression or encoding said, several members.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(_Counted(file, progress))
        kind = compression_of(file, compression)
        plain = stack.enter_context(_OPENERS[kind](raw, file))
        if codecs.lookup(encoding).name != "utf-8":
            plain = _Recoded(plain, encoding)
        yield _Guarded(plain, file, kind, encoding)


class _Counted(io.RawIOBase):
    """The stored bytes, counted as they are read; seekable, as archives are read from the end."""

    def __init__(self, file: InputFile, progress: Callable[[int], None]) -> None:
        self._file = file.open()
        self._progress = progress

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any, /) -> int:
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._progress(count)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Guarded:
    """Fills whole buffers, drops a byte order mark, and names the file when reading fails."""

    def __init__(self, plain: Any, file: InputFile, kind: str, encoding: str) -> None:
        self._plain, self._file, self._kind, self._encoding = plain, file, kind, encoding
        self._head: bytes | None = None

    def readinto(self, buffer: memoryview, /) -> int:
        filled = 0
        if self._head is None:
            start = self._read(memoryview(bytearray(len(_BOM))))
            self._head = start.removeprefix(_BOM)
        if self._head:
            filled = min(len(buffer), len(self._head))
            buffer[:filled] = self._head[:filled]
            self._head = self._head[filled:]
        while filled < len(buffer):
            count = self._fill(buffer[filled:])
            if not count:
                break
            filled += count
        return filled

    def _read(self, buffer: memoryview) -> bytes:
        filled = 0
        while filled < len(buffer) and (count := self._fill(buffer[filled:])):
            filled += count
        return bytes(buffer[:filled])

    def _fill(self, buffer: memoryview) -> int:
        try:
            return int(self._plain.readinto(buffer) or 0)
        except UnicodeError as exc:
            reason = exc.reason if isinstance(exc, UnicodeDecodeError) else str(exc)
            raise SourceError(
                f"the file is not in {self._encoding}: {reason}",
                where=self._file.path,
                hint="say its encoding under source: {encoding: …}",
            ) from exc
        except (zlib.error, EOFError, zipfile.BadZipFile) as exc:
            raise _damaged(self._file, self._kind) from exc
        except OSError as exc:
            if exc.errno is None and self._kind != "none":
                raise _damaged(self._file, self._kind) from exc
            raise storage_error(exc, self._file.path, remote=not self._file.is_local) from exc


class _Recoded:
    """Text of another encoding as UTF-8."""

    def __init__(self, plain: BinaryIO, encoding: str) -> None:
        self._plain = plain
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._rest = b""
        self._ended = False

    def readinto(self, buffer: memoryview) -> int:
        while not self._rest and not self._ended:
            chunk = self._plain.read(_CHUNK)
            self._ended = not chunk
            self._rest = self._decoder.decode(chunk, final=self._ended).encode()
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _damaged(file: InputFile, kind: str) -> SourceError:
    return SourceError(
        f"the file is not valid {kind}, or was cut off",
        where=file.path,
        hint="transfer it again, or say its compression under source: {compression: …}",
    )


@contextmanager
def _open_none(raw: io.RawIOBase, file: InputFile) -> Iterator[Any]:
    del file
    yield raw


def _open_codec(codec: str) -> Callable[[io.RawIOBase, InputFile], Any]:
    @contextmanager
    def open_it(raw: io.RawIOBase, file: InputFile) -> Iterator[Any]:
        del file
        # Arrow's decompressor, unlike zstandard's, says when a stream was cut off.
        with pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), codec) as plain:
            yield plain

    return open_it


@contextmanager
def _open_zip(raw: io.RawIOBase, file: InputFile) -> Iterator[Any]:
    try:
        archive = zipfile.ZipFile(raw)
    except zipfile.BadZipFile as exc:
        raise _damaged(file, "zip") from exc
    with archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        if len(members) != 1:
            names = ", ".join(m.filename for m in members[:5]) or "none"
            raise SourceError(
                f"the archive holds {len(members)} files where one is expected: {names}",
                where=file.path,
                hint="unpack it, and name the files it held",
            )
        try:
            plain = archive.open(members[0])
        except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as exc:
            raise SourceError(
                "the archive is encrypted, or packed in a way that cannot be read",
                where=file.path,
                hint="pack it again as plain zip (deflate) or gzip",
            ) from exc
        with plain:
            yield plain


_OPENERS: dict[str, Callable[[Any, InputFile], Any]] = {
    "none": _open_none,
    "gzip": _open_codec("gzip"),
    "zip": _open_zip,
    "zstd": _open_codec("zstd"),
}
