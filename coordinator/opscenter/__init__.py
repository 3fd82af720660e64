"""The REST API of the OpsCenter Backup Service, a file per section; how it departs from plain REST is in `quirks`."""
