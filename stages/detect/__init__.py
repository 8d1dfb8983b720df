"""Things found in text and URLs: personal data, addresses, benchmark items, domains."""
