"""The schema's history while the commit log is archived: looked at, kept here, put in every destination."""
