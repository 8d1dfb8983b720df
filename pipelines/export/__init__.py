"""Exports: a mix as tokens in the native files of training loaders, and the way back from a token to its documents.

Doors: `export.export`, `trace.trace`, `view.render_trace`.
"""
