"""Everything that is stored: printed from store, made again live, refused where the two differ.

``numbers`` of a chapter's own cells, ``tables`` of costly ones, and ``artefacts``: files such as
films, embeddings and codes. Each carries a digest of all that it depends on: data, models,
configuration, and for a table's row and an artefact the code that makes them.
"""

from press.stored.tables import Table, over_seeds

__all__ = ["Table", "over_seeds"]
