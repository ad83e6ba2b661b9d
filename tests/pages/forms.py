"""Pages as a browser without scripts has them: their text, and their forms, which are filled in and sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode

from tests.web.serving import Answer, Client

URLENCODED = "application/x-www-form-urlencoded"


@dataclass(kw_only=True)
class Form:
    """One form, with what its fields have."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[str] = field(default_factory=list)

    def send(self, client: Client, **changed: str | Sequence[str]) -> Answer:
        """Sends it as it is, but for fields that the person has changed; a list is one field several times."""
        kept = [(name, value) for name, value in self.fields if name not in changed]
        for name, value in changed.items():
            kept += [(name, each) for each in ([value] if isinstance(value, str) else value)]
        if self.method == "get":
            return client.ask("GET", f"{self.action}?{urlencode(kept)}")
        return client.ask("POST", self.action, urlencode(kept).encode(), Content_Type=URLENCODED)


class Paper(HTMLParser):
    """A page, read from its beginning to its end."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.text = ""
        self._inside: list[Form] = []
        self._dialogs = 0
        self._select: str | None = None
        self._button = False
        self.feed(page)

    def form(self, button: str) -> Form:
        """The form that has a button; dialogs are out of sight without scripts, and theirs do not count."""
        (found,) = (each for each in self.forms if button in each.buttons)
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "dialog":
            self._dialogs += 1
        elif tag == "form":
            self._inside.append(Form(action=has.get("action", ""), method=has.get("method", "get")))
        elif tag == "button":
            self._button = True
            if self._inside:
                self._inside[-1].buttons.append("")
        elif self._inside:
            self._field(tag, has)

    def handle_endtag(self, tag: str) -> None:
        if tag == "dialog":
            self._dialogs -= 1
        elif tag == "form":
            form = self._inside.pop()
            if not self._dialogs:
                self.forms.append(form)
        elif tag == "button":
            self._button = False

    def handle_data(self, data: str) -> None:
        if self._dialogs == 0 or self._inside:
            self.text += f" {data.strip()}" if data.strip() else ""
        if self._button and self._inside:
            self._inside[-1].buttons[-1] += data.strip()

    def _field(self, tag: str, has: dict[str, str]) -> None:
        fields = self._inside[-1].fields
        if tag == "select":
            self._select = has["name"]
            fields.append((has["name"], ""))
        elif tag == "option" and self._select and "selected" in has:
            fields[-1] = (self._select, has["value"])
        elif tag == "input" and "name" in has and (has.get("type") not in ("checkbox", "radio") or "checked" in has):
            fields.append((has["name"], has.get("value", "")))


def paper(client: Client, path: str) -> Paper:
    """A page that is there."""
    answer = client.ask("GET", path)
    assert answer.status == 200, answer.body
    return Paper(answer.body.decode())
