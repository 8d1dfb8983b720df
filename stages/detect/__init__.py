"""Detectors: personal data, addresses, benchmark items, domains found in texts and URLs. They know no stages."""
