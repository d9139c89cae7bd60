"""What this host speaks and is."""

VERSION = "0.1.0"
"""This package's version."""

CONTRACT_VERSION = "0.1.0"
"""The contract's version that this host speaks."""
