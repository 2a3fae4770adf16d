"""What a search refuses."""

from __future__ import annotations

__all__ = ["SearchError"]


class SearchError(ValueError):
    """A search that cannot be done, in one line: what was asked, and what is allowed."""
