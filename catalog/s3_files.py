"""S3 as a filesystem of Arrow's, for pyiceberg's FileIO: it knows objects, and no folders.

Arrow's own S3 filesystem is not used: it takes its credentials once, keeps any number of parts of
an upload in memory, leaves an object behind as the folder of one that it deletes, and can neither
abort uploads nor delete many objects at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.fs as pa_fs

from catalog.errors import CatalogConfigError, CatalogUnavailableError, UnsupportedError
from catalog.s3 import ABORTED, Access, Client, client_of, s3_error
from catalog.s3_objects import ObjectReader, ObjectWriter

_BATCH: Final = 1000
#: Objects of these names are begun as uploads at once, see :class:`ObjectWriter`: a late writer
#: of a run that was dropped cannot show its data file any more.
_FENCED: Final = ".parquet"
_NOT_OFFERED: Final = ("NotImplemented", "MethodNotAllowed", "MissingContentMD5")


class S3Files(pa_fs.FileSystemHandler):  # type: ignore[misc]  # pyarrow has no types
    """The store behind one :class:`Access`; paths are ``bucket/key``."""

    def __init__(self, access: Access) -> None:
        self.access = access

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> S3Files:
        """The store that pyiceberg's properties name.

        Raises:
            CatalogConfigError: a property cannot be used.
        """
        return cls(Access.of(properties))

    @property
    def client(self) -> Client:
        """The client, shared with all that have the same access."""
        return client_of(self.access)

    # --- what the warehouse needs ------------------------------------------------------------

    def prove(self, path: str) -> None:
        """Look once whether the bucket is there and lets us list it.

        Raises:
            CatalogConfigError: no such bucket, wrong credentials, no permission.
            CatalogUnavailableError: the store does not answer.
        """
        bucket, key = _split(path)
        prefix = f"{key}/" if key else ""
        where = f"s3://{path}"
        self.client.call("list_objects_v2", where, Bucket=bucket, Prefix=prefix, MaxKeys=1)
        next(self._uploads(path), None)

    def open_sized(self, path: str, size: int) -> ObjectReader:
        """An object whose size is known: only ranges that are read are asked for."""
        return ObjectReader(self.client, *_split(path), size)

    def create(self, path: str) -> ObjectWriter:
        """A new object, as what wrote it sees it: it can be aborted."""
        return ObjectWriter(self.client, *_split(path), fenced=path.endswith(_FENCED))

    def delete_many(self, paths: Sequence[str]) -> None:
        """Delete objects of one bucket; one that is gone already is no error.

        Raises:
            CatalogError: what S3 says of the first that it did not delete.
        """
        for first in range(0, len(paths), _BATCH):
            self._delete_batch(paths[first : first + _BATCH])

    def _delete_batch(self, paths: Sequence[str]) -> None:
        bucket, keys = _split(paths[0])[0], [_split(path)[1] for path in paths]
        objects = [{"Key": key} for key in keys]
        try:
            answer = self.client.call(
                "delete_objects", f"s3://{paths[0]}", Bucket=bucket,
                Delete={"Objects": objects, "Quiet": True},
            )  # fmt: skip
        except CatalogConfigError as exc:
            if not exc.what.endswith(_NOT_OFFERED):
                raise
            for path in paths:
                self.delete_file(path)
            return
        for error in answer.get("Errors", ()):
            if error.get("Code") not in ("NoSuchKey", "404"):
                raise _not_deleted(error, f"s3://{bucket}/{error.get('Key', '')}")

    def abort_uploads(self, path: str) -> int:
        """Abort the uploads below a path that were begun and never completed; how many."""
        count = 0
        for bucket, key, upload in list(self._uploads(path)):
            try:
                self.client.call(
                    "abort_multipart_upload", f"s3://{bucket}/{key}", Bucket=bucket, Key=key,
                    UploadId=upload,
                )  # fmt: skip
            except CatalogUnavailableError as exc:
                if ABORTED not in exc.what:  # else its writer was faster
                    raise
                continue
            count += 1
        return count

    def _uploads(self, path: str) -> Iterator[tuple[str, str, str]]:
        bucket, prefix = _split(path)
        markers: dict[str, str] = {}
        while True:
            try:
                page = self.client.call(
                    "list_multipart_uploads", f"s3://{path}", Bucket=bucket, Prefix=prefix,
                    **markers,
                )  # fmt: skip
            except CatalogConfigError as exc:
                if exc.what.endswith(_NOT_OFFERED):
                    return
                raise
            for found in page.get("Uploads", ()):
                if found["Key"].startswith(prefix):
                    yield bucket, found["Key"], found["UploadId"]
            if not page.get("IsTruncated"):
                return
            markers = {"KeyMarker": page["NextKeyMarker"],
                       "UploadIdMarker": page["NextUploadIdMarker"]}  # fmt: skip

    # --- what Arrow asks ---------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        return isinstance(other, S3Files) and other.access == self.access

    def __hash__(self) -> int:
        return hash(self.access)

    def get_type_name(self) -> str:
        """Its name among Arrow's filesystems."""
        return "wap-s3"

    def normalize_path(self, path: str) -> str:
        """The path itself: a key may hold anything."""
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[Any]:
        """Size and time of objects; what is no object is not found."""
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> Any:
        bucket, key = _split(path)
        try:
            found = self.client.call("head_object", f"s3://{path}", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return pa_fs.FileInfo(path, pa_fs.FileType.NotFound)
        return _file(path, found["ContentLength"], found["LastModified"])

    def get_file_info_selector(self, selector: Any) -> list[Any]:
        """The objects below a path, however deep or right below it, as is asked for."""
        bucket, key = _split(selector.base_dir)
        prefix = f"{key.rstrip('/')}/" if key else ""
        depth = {} if selector.recursive else {"Delimiter": "/"}
        found: list[Any] = []
        more: dict[str, str] = {}
        while True:
            page = self.client.call(
                "list_objects_v2", f"s3://{selector.base_dir}", Bucket=bucket, Prefix=prefix,
                **depth, **more,
            )  # fmt: skip
            found += [
                _file(f"{bucket}/{each['Key']}", each["Size"], each["LastModified"])
                for each in page.get("Contents", ())
            ]
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def open_input_file(self, path: str) -> Any:
        """An object to read anywhere in it."""
        return pa.PythonFile(ObjectReader(self.client, *_split(path)), mode="r")

    def open_input_stream(self, path: str) -> Any:
        """An object to read from its beginning."""
        return self.open_input_file(path)

    def open_output_stream(self, path: str, _: Any) -> Any:
        """A new object; there once it is closed."""
        return pa.PythonFile(self.create(path), mode="w")

    def delete_file(self, path: str) -> None:
        """Delete an object; one that is gone already is no error."""
        bucket, key = _split(path)
        self.client.call("delete_object", f"s3://{path}", Bucket=bucket, Key=key)

    def create_dir(self, path: str, recursive: bool) -> None:
        """Nothing: a prefix is there when an object is."""

    def delete_dir(self, path: str) -> None:
        """Refused, as what follows: nothing here is deleted but by its own name."""
        raise _unsupported("delete_dir", path)

    def delete_dir_contents(self, path: str, _: bool = False) -> None:
        """Refused."""
        raise _unsupported("delete_dir_contents", path)

    def delete_root_dir_contents(self) -> None:
        """Refused."""
        raise _unsupported("delete_root_dir_contents", "")

    def move(self, src: str, _: str) -> None:
        """Refused."""
        raise _unsupported("move", src)

    def copy_file(self, src: str, _: str) -> None:
        """Refused."""
        raise _unsupported("copy_file", src)

    def open_append_stream(self, path: str, _: Any) -> Any:
        """Refused."""
        raise _unsupported("open_append_stream", path)


def handler_of(filesystem: Any) -> S3Files | None:
    """The S3 behind an Arrow filesystem; None: it is another kind."""
    handler = filesystem.handler if isinstance(filesystem, pa_fs.PyFileSystem) else None
    return handler if isinstance(handler, S3Files) else None


def _split(path: str) -> tuple[str, str]:
    bucket, _, key = path.partition("/")
    return bucket, key


def _file(path: str, size: int, modified: Any) -> Any:
    return pa_fs.FileInfo(path, pa_fs.FileType.File, size=size, mtime=modified)


class _RefusedError(Exception):
    """An entry of DeleteObjects' errors, shaped as boto3 shapes its own."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


def _not_deleted(error: Mapping[str, str], where: str) -> Exception:
    return s3_error(_RefusedError(error.get("Code", "unknown")), "delete_objects", where)


def _unsupported(operation: str, path: str) -> UnsupportedError:
    return UnsupportedError(f"{operation} is not offered for S3", where=f"s3://{path}")
