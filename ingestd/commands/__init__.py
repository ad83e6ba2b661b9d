"""Commands in groups of their own; `cli` puts them together."""
