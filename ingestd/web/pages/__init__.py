"""Pages for people: Jinja2 on the server, htmx for parts of a page, and all of it works as plain links and forms."""
