"""`make demo`: a real cluster is backed up, loses data and gets it back; `make cluster`: the same cluster to keep."""
