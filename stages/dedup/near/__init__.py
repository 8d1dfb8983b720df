"""Near duplicates: buckets, components, verified pairs, survivors.

A `job.NearJob` goes through `buckets.group_candidates`, `verify.choose_survivors` and `known_pairs.keep_pairs`, in this
order; `judge` decides pairs.
"""
