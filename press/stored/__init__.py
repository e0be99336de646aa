"""What is stored: printed from store, made again live, refused where the two differ.

``numbers`` of a chapter's own cells, and ``tables`` of costly ones.
"""

from press.stored.tables import Table, over_seeds

__all__ = ["Table", "over_seeds"]
