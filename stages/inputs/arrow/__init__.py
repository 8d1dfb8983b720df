"""Files that Arrow reads by itself: Parquet and Arrow IPC; what of them must be looked at first."""
