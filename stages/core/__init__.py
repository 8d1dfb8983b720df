"""The nouns: shards, bundles and their manifest, stages, facts and edits, and what a task knows of its run."""
