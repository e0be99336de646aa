"""The book's site: chapters executed, pages finished, rendered by Sphinx and mended."""
