"""`ingestd webhook`: programs of others that are told what happens.

Heavy modules are imported inside the commands, as in `cli`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ingestd import printing
from ingestd.commands.options import CONFIG, HOME, AsJson, Config, Home, Limit, Why, deed, given, opened

webhook = typer.Typer(help="Webhooks: who is told of what, and what was sent.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(metavar="WEBHOOK", help="The webhook's number.")]
Message = Annotated[int, typer.Argument(metavar="MESSAGE", help="The message's number in the log.")]
Events = Annotated[
    list[str] | None, typer.Option("--event", help="Only of this, such as delivery.failed; several are allowed.")
]


@webhook.command()
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where it is told, https:// or http://.")],
    event: Events = None,
    description: Annotated[str, typer.Option("--description", help="Whose it is.")] = "",
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Makes a webhook and prints its secret: the only time that it is shown."""
    from ingestd.store.engine import writing
    from ingestd.webhooks import endpoints

    with writing(opened(config, home).engine) as connection:
        made, secret = endpoints.add(connection, deed(why), url, event or (), description)
    if as_json:
        printing.print_json({**vars(made), "secret": secret})
        return
    typer.echo(secret)
    typer.echo(f"webhook {made.id}; keep its secret now: it is not shown again", err=True)


@webhook.command(name="list")
def list_webhooks(config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Lists the webhooks."""
    from ingestd.store.engine import reading
    from ingestd.webhooks import endpoints

    with reading(opened(config, home).engine) as connection:
        found = endpoints.every(connection)
    if as_json:
        printing.print_json([vars(each) for each in found])
        return
    table = printing.table_of("id", "url", "events", "description", "state")
    for each in found:
        state = "active" if each.active else f"inactive {each.disabled_why}".rstrip()
        table.add_row(str(each.id), each.url, ", ".join(each.events) or "all", each.description, state)
    printing.print_table(table)


@webhook.command()
def edit(
    number: Number,
    url: Annotated[str | None, typer.Option("--url", help="Where it is told from now on.")] = None,
    event: Events = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Switch it on or off.")] = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Changes a webhook, or switches it off and on; its secret stays."""
    from ingestd.store.engine import writing
    from ingestd.webhooks import endpoints

    values = given(url=url, events=event, active=active)
    with writing(opened(config, home).engine) as connection:
        after = endpoints.change(connection, deed(why), number, values)
    typer.echo(f"webhook {number} is {'active' if after.active else 'inactive'}")


@webhook.command()
def remove(number: Number, why: Why = "", config: Config = CONFIG, home: Home = HOME) -> None:
    """Removes a webhook, with all that waits for it and its log."""
    from ingestd.store.engine import writing
    from ingestd.webhooks import endpoints

    with writing(opened(config, home).engine) as connection:
        endpoints.remove(connection, deed(why), number)
    typer.echo(f"webhook {number} is removed")


@webhook.command(name="test")
def send_test(number: Number, config: Config = CONFIG, home: Home = HOME) -> None:
    """Queues the event webhook.test; the running daemon sends it."""
    from ingestd.store.engine import writing
    from ingestd.store.ledger import now
    from ingestd.webhooks import messages

    with writing(opened(config, home).engine) as connection:
        queued = messages.test(connection, number, now())
    typer.echo(f"message {queued.id} is queued")


@webhook.command()
def replay(number: Number, message: Message, config: Config = CONFIG, home: Home = HOME) -> None:
    """Sends a message once more, under its old name; the running daemon does it."""
    from ingestd.store.engine import writing
    from ingestd.store.ledger import now
    from ingestd.webhooks import messages

    with writing(opened(config, home).engine) as connection:
        messages.replay(connection, number, message, now())
    typer.echo(f"message {message} is queued")


@webhook.command()
def log(
    number: Number,
    message: Annotated[int | None, typer.Option("--message", help="Only this one, with every attempt.")] = None,
    limit: Limit = 50,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Shows what was sent to a webhook or waits for it, the newest first."""
    from ingestd.store.engine import reading
    from ingestd.webhooks import endpoints, messages

    with reading(opened(config, home).engine) as connection:
        endpoints.known(connection, number)
        if message is None:
            found = messages.latest(connection, number, limit=limit)
        else:
            found = [messages.known(connection, number, message)]
        tried = messages.attempts(connection, message) if message is not None else []
    if as_json:
        attempts = [{name: value for name, value in vars(each).items() if name != "wait"} for each in tried]
        extra = {"log": attempts} if message is not None else {}
        printing.print_json([{**vars(each), **extra} for each in found])
        return
    table = printing.table_of("id", "at (UTC)", "event", "state", "attempts", "next (UTC)")
    for each in found:
        following = f"{each.next_at:%Y-%m-%d %H:%M:%S}" if each.next_at else ""
        table.add_row(
            str(each.id), f"{each.at:%Y-%m-%d %H:%M:%S}", each.event, each.state, str(each.attempts), following
        )
    printing.print_table(table)
    for attempt in tried:
        told = attempt.error or f"{attempt.status} {attempt.answer}".strip()
        typer.echo(f"{attempt.at:%Y-%m-%d %H:%M:%S} UTC, {attempt.milliseconds} ms: {told}")
