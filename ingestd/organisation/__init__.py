"""Changing the organisation by API and command line: teams, users, ownership codes, projects, campaigns, sources."""
