"""Metadata that was parsed once: the file of one location never changes."""

from __future__ import annotations

import threading
from collections import OrderedDict

from pyiceberg.io import FileIO
from pyiceberg.table.metadata import TableMetadata


class KnownMetadata:
    """Parsed metadata by the location of its file; a metadata file never changes once written."""

    _SIZE = 32

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[TableMetadata, FileIO]] = OrderedDict()

    def get(self, location: str) -> tuple[TableMetadata, FileIO] | None:
        """The metadata and the FileIO it was read with; None when it is not known."""
        with self._lock:
            return self._entries.get(location)

    def put(self, location: str, metadata: TableMetadata, io: FileIO) -> None:
        """Remember; what was not asked for longest is forgotten."""
        with self._lock:
            self._entries[location] = metadata, io
            self._entries.move_to_end(location)
            while len(self._entries) > self._SIZE:
                self._entries.popitem(last=False)
