"""Keeps an unattended agent signed in to Procore.

The token logic is a WebAssembly component without any authority of its own; this package lends it HTTP, a clock, randomness, a store and a
journal, and nothing else::

    from procore_auth import Connection

    procore = Connection.from_config()
    projects = procore.request("GET", "/rest/v1.0/projects?company_id=4001").json()
"""

from .answers import (
    Diagnosis,
    Header,
    Identity,
    Incident,
    Kept,
    Login,
    ParkedRequest,
    Replayed,
    ReplayReport,
    Response,
    Status,
    Token,
    TokenTimes,
    Visit,
)
from .clock import Clock, SystemClock
from .config import Config
from .connect_to import ConnectTo
from .connection import Connection
from .errors import (
    AuthError,
    Busy,
    Internal,
    InvalidInput,
    Misconfigured,
    SignInRequired,
    StorageFailed,
    Unavailable,
    UnknownOutcome,
)
from .http_client import HttpClient, HttpFailure, HttpReply, HttpRequest
from .https_client import HttpsClient
from .journal import Event, Journal, JsonLinesJournal, LoggingJournal
from .limits import Limits
from .plugin import LoadError, Plugin
from .secret import Secret
from .settings import AuthorizationCode, ClientCredentials, Environment, Grant, Policy, Settings
from .store import FileStore, Store, StoreFailure
from .version import CONTRACT_VERSION, VERSION

__version__ = VERSION

__all__ = [
    "CONTRACT_VERSION",
    "VERSION",
    "AuthError",
    "AuthorizationCode",
    "Busy",
    "ClientCredentials",
    "Clock",
    "Config",
    "ConnectTo",
    "Connection",
    "Diagnosis",
    "Environment",
    "Event",
    "FileStore",
    "Grant",
    "Header",
    "HttpClient",
    "HttpFailure",
    "HttpReply",
    "HttpRequest",
    "HttpsClient",
    "Identity",
    "Incident",
    "Internal",
    "InvalidInput",
    "Journal",
    "JsonLinesJournal",
    "Kept",
    "Limits",
    "LoadError",
    "LoggingJournal",
    "Login",
    "Misconfigured",
    "ParkedRequest",
    "Plugin",
    "Policy",
    "ReplayReport",
    "Replayed",
    "Response",
    "Secret",
    "Settings",
    "SignInRequired",
    "Status",
    "StorageFailed",
    "Store",
    "StoreFailure",
    "SystemClock",
    "Token",
    "TokenTimes",
    "Unavailable",
    "UnknownOutcome",
    "Visit",
]
