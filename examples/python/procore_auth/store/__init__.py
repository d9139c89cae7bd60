"""Where a connection's tokens and parked requests are kept."""

from .contract import Conflict, Entry, Store, Stored, StoreFailure, Write
from .file_store import FileStore

__all__ = ["Conflict", "Entry", "FileStore", "Store", "StoreFailure", "Stored", "Write"]
