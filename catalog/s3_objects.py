"""Objects of S3 as files: read by ranges, written by parts, and never half of either."""

from __future__ import annotations

import io
import logging
import time
from collections import deque
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Self

from catalog.errors import CatalogError
from catalog.s3 import TRIES, Client, s3_error

#: One part of an upload; S3 takes no less but for the last, and some stores want equal ones.
PART_BYTES: Final = 8 << 20
#: Parts of one object on their way; its writer then waits, so that memory stays bounded.
IN_FLIGHT: Final = 2

#: Read at once where nothing is known yet: a metadata file or manifest comes in one request.
_FIRST_BYTES = 1 << 20
#: Short reads, such as of a Parquet footer, fetch so much around them.
_LEAST_BYTES = 64 << 10

_log = logging.getLogger(__name__)


class ObjectReader(io.RawIOBase):
    """One object, read by ranges.

    A range whose transfer breaks off is asked for again, from where it broke.
    """

    def __init__(self, client: Client, bucket: str, key: str, size: int | None = None) -> None:
        """Open it; nothing is asked of S3 yet.

        Args:
            client: of the store.
            bucket: its name.
            key: of the object.
            size: in bytes; None: the first read finds out.
        """
        super().__init__()
        self._client, self._bucket, self._key = client, bucket, key
        self._size = size
        self._at = 0
        self._start, self._window = 0, b""

    @property
    def _where(self) -> str:
        return f"s3://{self._bucket}/{self._key}"

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def size(self) -> int:
        """Bytes of the object.

        Raises:
            FileNotFoundError: there is no such object.
        """
        if self._size is None:
            self._fill(0, _FIRST_BYTES)
        return self._size or 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set where the next read begins."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence)
        self._at = max(0, offset + (self.size() if base is None else base))
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Up to so many bytes; all that is left without a number.

        Raises:
            FileNotFoundError: there is no such object.
            CatalogError: see :meth:`catalog.s3.Client.call`.
        """
        left = self.size() - self._at if size is None or size < 0 else size
        if self._size is not None:
            left = min(left, self._size - self._at)
        if left <= 0:
            return b""
        if not self._start <= self._at <= self._at + left <= self._start + len(self._window):
            self._fill(self._at, left)
        offset = self._at - self._start
        found = self._window[offset : offset + left]
        self._at += len(found)
        return found

    def read_at(self, size: int, offset: int) -> bytes:
        """Up to so many bytes from an offset, as any number of threads may ask at once."""
        size = min(size, self.size() - offset)
        return self._fetch(offset, size) if size > 0 else b""

    def readall(self) -> bytes:
        """All that is left."""
        return self.read()

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there is something."""
        view = memoryview(buffer).cast("B")
        found = self.read(len(view))
        view[: len(found)] = found
        return len(found)

    def _fill(self, start: int, length: int) -> None:
        """Fetch a range, and a little around a short one."""
        if self._size is None:
            length = max(length, _FIRST_BYTES)
        elif length < _LEAST_BYTES:
            # A footer is read from the end, and what comes next lies before it.
            start = max(0, min(start, self._size - _LEAST_BYTES))
            length = min(_LEAST_BYTES, self._size - start)
        self._window = self._fetch(start, length)
        self._start = start

    def _fetch(self, start: int, length: int) -> bytes:
        parts: list[bytes] = []
        have, failure = 0, None
        for attempt in range(TRIES):
            if attempt:
                time.sleep(0.2 * 2**attempt)
            answer = self._ask(start + have, length - have)
            if answer is None:
                return b"".join(parts)
            expected = int(answer["ContentLength"])
            try:
                for chunk in answer["Body"].iter_chunks(1 << 20):
                    parts.append(chunk)
                    have += len(chunk)
                    expected -= len(chunk)
            except Exception as exc:  # noqa: BLE001 - boto3 passes on what urllib3 and sockets raise
                failure = exc
                continue
            if expected == 0:
                return b"".join(parts)
        raise s3_error(failure or ConnectionError(), "get_object", self._where) from failure

    def _ask(self, start: int, length: int) -> Any:
        """The answer to a GET of a range; None: the object has nothing there."""
        try:
            answer = self._client.call(
                "get_object", self._where, Bucket=self._bucket, Key=self._key,
                Range=f"bytes={start}-{start + length - 1}",
            )  # fmt: skip
        except CatalogError as exc:
            if "InvalidRange" not in exc.what:
                raise
            self._size = self._size or 0
            return None
        if self._size is None:
            total = str(answer.get("ContentRange", "")).rpartition("/")[2]
            self._size = int(total) if total.isdecimal() else int(answer["ContentLength"])
        return answer


class ObjectWriter:
    """One object in the making; it is there when :meth:`close` returns, and not before.

    Not a child of ``io.IOBase``, which would close, and so complete, what is only forgotten.
    """

    def __init__(self, client: Client, bucket: str, key: str, *, fenced: bool = False) -> None:
        """Begin it.

        Args:
            client: of the store.
            bucket: its name.
            key: of the object.
            fenced: begin an upload at once, however small the object will be: once that upload
                is aborted from elsewhere, this writer can never complete the object.
        """
        self._client, self._bucket, self._key = client, bucket, key
        self._buffer = bytearray()
        self._written = 0
        self._upload: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._flying: deque[tuple[int, Future[str]]] = deque()
        self._aborted = False
        self.closed = False
        if fenced:
            self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def tell(self) -> int:
        """Bytes written so far."""
        return self._written

    def flush(self) -> None:
        """Nothing: only a whole object is shown."""

    def writable(self) -> bool:
        """Yes."""
        return True

    def readable(self) -> bool:
        """No."""
        return False

    def seekable(self) -> bool:
        """No."""
        return False

    def write(self, data: Any) -> int:
        """Take bytes; waits while enough of them are on their way.

        Raises:
            CatalogError: see :meth:`catalog.s3.Client.call`; the upload is aborted then.
        """
        view = memoryview(data).cast("B")
        self._written += len(view)
        if self._aborted:
            return len(view)
        self._buffer += view
        while len(self._buffer) > PART_BYTES:
            part = bytes(memoryview(self._buffer)[:PART_BYTES])
            del self._buffer[:PART_BYTES]
            self._or_abort(self._send, part)
        return len(view)

    def close(self) -> None:
        """Show the object.

        Raises:
            CatalogError: see :meth:`catalog.s3.Client.call`; no object is there then.
        """
        if self.closed:
            return
        self.closed = True
        if self._aborted:
            return
        body, self._buffer = bytes(self._buffer), bytearray()
        if self._upload is None:
            self._call("put_object", Body=body)
        else:
            self._or_abort(self._complete, body)

    def abort(self) -> None:
        """Show nothing; parts that are on their way are waited for and thrown away."""
        self._aborted = True
        self._buffer = bytearray()
        while self._flying:
            self._flying.popleft()[1].exception()
        upload, self._upload = self._upload, None
        if upload is None:
            return
        try:
            self._call("abort_multipart_upload", UploadId=upload)
        except (CatalogError, FileNotFoundError) as exc:
            # What led here is the error to tell; the undo aborts uploads that it finds by name.
            _log.warning("an upload could not be aborted: %s", type(exc).__name__)

    def _or_abort(self, step: Any, body: bytes) -> None:
        try:
            step(body)
        except BaseException:
            self.abort()
            raise

    def _call(self, operation: str, **parameters: Any) -> Any:
        where = f"s3://{self._bucket}/{self._key}"
        return self._client.call(operation, where, Bucket=self._bucket, Key=self._key, **parameters)

    def _begin(self) -> None:
        self._upload = str(self._call("create_multipart_upload")["UploadId"])

    def _send(self, part: bytes) -> None:
        if self._upload is None:
            self._begin()
        while len(self._flying) >= IN_FLIGHT:
            self._land()
        number = len(self._parts) + len(self._flying) + 1
        self._flying.append((number, self._client.uploads.submit(self._put_part, number, part)))

    def _put_part(self, number: int, part: bytes) -> str:
        answer = self._call("upload_part", UploadId=self._upload, PartNumber=number, Body=part)
        return str(answer["ETag"])

    def _land(self) -> None:
        number, sent = self._flying.popleft()
        self._parts.append({"PartNumber": number, "ETag": sent.result()})

    def _complete(self, last: bytes) -> None:
        if last or not (self._parts or self._flying):
            self._send(last)
        while self._flying:
            self._land()
        try:
            self._call(
                "complete_multipart_upload", UploadId=self._upload,
                MultipartUpload={"Parts": self._parts},
            )  # fmt: skip
        except (CatalogError, FileNotFoundError):
            if not self._is_there():
                raise
        self._upload = None

    def _is_there(self) -> bool:
        """Whether the answer was lost and the object is there; no other writer has its name."""
        try:
            return int(self._call("head_object")["ContentLength"]) == self._written
        except (CatalogError, FileNotFoundError):
            return False
