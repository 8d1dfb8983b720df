"""Reading: files found, their formats and columns, and batches of documents out of them.

Doors: `reader.read_piece` for documents of a shard, `files.discover.find_shards` for the files of a dataset, `presets`
for known schemas, `check.check_dataset` for a look at one.
"""
