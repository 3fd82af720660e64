"""The page at /docs: files that kit.http_description serves."""
