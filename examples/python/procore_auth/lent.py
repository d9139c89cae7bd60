"""Everything that the host lends to the plugin for one connection."""

from __future__ import annotations

from dataclasses import dataclass

from .clock import Clock
from .egress import Egress
from .faults import Faults
from .holding_store import HoldingStore
from .http_client import HttpClient
from .limits import Limits
from .recorder import Recorder
from .settings import Settings


@dataclass(frozen=True)
class Lent:
    """The capabilities of one connection. Each call gets them through a :class:`~procore_auth.capabilities.Capabilities` of its own."""

    settings: Settings
    actor: str
    egress: Egress
    http: HttpClient
    clock: Clock
    store: HoldingStore
    recorder: Recorder
    faults: Faults
    limits: Limits
