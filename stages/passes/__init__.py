"""Verbs over a whole run: freeze the inputs, annotate in one read, judge later what deduplication leaves."""
