"""Trained weights by name: where they are, how they come into a cache, and what is known of them."""

from weights.hub.cache import cached, home
from weights.hub.fetching import fetch, located, take
from weights.hub.table import Source, find, sources

__all__ = ["Source", "cached", "fetch", "find", "home", "located", "sources", "take"]
