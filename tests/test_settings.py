"""What operators write: read once, consistent, and every error names the file, the key and the value."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from ingestd import settings
from ingestd.errors import Misconfigured
from ingestd.settings import Campaign, Configuration, Organisation, Project, Team, User, code_key

CONFIG = Path(__file__).parents[1] / "config"
TOP = Team(key="top", name="Top")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of the example, to break."""
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


def rewrite(config: Path, file: str, old: str, new: str) -> None:
    path = config / file
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{file} of the example has no {old!r} any more"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_example_is_consistent(example: Configuration) -> None:
    assert len(example.organisation.team) == 8
    assert len(example.sources.source) == 3
    assert len(example.statuses.status) == 36
    assert sum(status.kind == "open" for status in example.statuses.status) == 14


@pytest.mark.parametrize(
    ("file", "old", "new", "key", "told"),
    [
        ("ingestd.toml", "port = 2121", "port = 70000", "ftp.port", "found 70000"),
        ("ingestd.toml", "port = 2121", 'port = "high"', "ftp.port", "found 'high'"),
        ("ingestd.toml", "port = 2121", "prot = 2121", "ftp.prot", "found 2121"),
        ("ingestd.toml", "quiet_seconds = 2.0", "quiet_seconds = -1", "folder.quiet_seconds", "found -1"),
        ("ingestd.toml", "processes = 1", "processes = 0", "worker.processes", "found 0"),
        ("ingestd.toml", "keep_days = 30", "keep_days = 0\nkeep_hours = 1", "results.keep_hours", "results.keep_days"),
        ("ingestd.toml", "[store]", "[store", "syntax", "line 3"),
        ("organisation.toml", 'parent = "company"', 'parent = "concern"', "file", "'concern' does not exist"),
        ("organisation.toml", 'parent = "company"\n', "", "file", "found 2: company, denmark"),
        ("organisation.toml", 'code = "DE"', 'code = " dk "', "file", "Lead Ownership Code used twice: dk"),
        ("organisation.toml", 'code = "CPH-101"', 'code = "dk-cph"', "file", "Lead Ownership Code used twice: dk-cph"),
        ("organisation.toml", 'team = "denmark"', 'team = "sweden"', "file", "user.team: 'sweden' does not exist"),
        ("organisation.toml", 'role = "admin"', 'role = "boss"', "user admin.role", "found 'boss'"),
        ("organisation.toml", 'project = "ENERGY"', 'project = "OIL"', "file", "campaign.project: 'OIL'"),
        ("organisation.toml", 'code = "DE-ENERGY"', 'code = "dk-energy"', "file", "campaign code used twice"),
        ("organisation.toml", 'region = "DK"', 'region = "dk"', "campaign DK-ENERGY.region", "found 'dk'"),
        (
            "organisation.toml",
            '"Europe/Copenhagen"',
            '"Europe/Kopenhagen"',
            "campaign DK-ENERGY.timezone",
            "no such time zone",
        ),
        (
            "organisation.toml",
            'on_duplicate = "reject"',
            'on_duplicate = "skip"',
            "campaign DK-ENERGY.on_duplicate",
            "'skip'",
        ),
        ("sources.toml", 'campaign = "DK-ENERGY"', 'campaign = "SE-ENERGY"', "source nordlead.campaign", "'SE-ENERGY'"),
        ("sources.toml", '["DK-FIBRE"]', '["SE-FIBRE"]', "source nordlead.campaign", "no campaign 'SE-FIBRE'"),
        ("sources.toml", "team:denmark", "team:sweden", "source nordlead.default_owner", "'team:sweden'"),
        ("sources.toml", "team:denmark", "denmark", "source nordlead.default_owner", "found 'denmark'"),
        (
            "sources.toml",
            'campaign = "DK-FIBRE"',
            (
                'campaign = "DK-FIBRE"\nunknown_code = "default_owner"\n[[source]]\nname = "x"\ntitle = "x"\n'
                'campaign = "DK-FIBRE"'
            ),
            "source fibreweb.unknown_code",
            "needs default_owner",
        ),
        ("sources.toml", 'login = "stadtwerk"', 'login = "nordlead"', "file", "login used twice: nordlead"),
        ("sources.toml", 'name = "stadtwerk"', 'name = "nordlead"', "file", "source name used twice: nordlead"),
        ("sources.toml", 'name = "stadtwerk"', 'name = "../etc"', "source ../etc.name", "found '../etc'"),
        ("sources.toml", '"$argon2id$', '"', "source nordlead.login nordlead.password_hash", "pattern"),
        ("sources.toml", 'delimiter = ";"', 'delimiter = ";;"', "source stadtwerk.dialect.delimiter", "found ';;'"),
        ("sources.toml", 'dates = "dmy"', 'dates = "ymd"', "source nordlead.dates", "found 'ymd'"),
        (
            "sources.toml",
            "expected_every_hours = 26",
            "expected_every_hours = 1e9",
            "source nordlead.expected",
            "than or equal",
        ),
        (
            "sources.toml",
            "max_rejected_share = 0.5",
            "max_file_bytes = 2000000000000",
            "source nordlead.limits",
            "2000000",
        ),
        ("sources.toml", "max_rejected_share = 0.5", "max_rejected_share = 50", "source nordlead.limits", "found 50"),
        ("sources.toml", "(?P<code>", "(?P<kode>", "source fibreweb.code_in_name", "needs a group named code"),
        ("sources.toml", "[A-Z]{2}-", "[A-Z{2}-", "source fibreweb.code_in_name", "is no regular expression"),
        ("statuses.toml", 'kind = "open"', 'kind = "ajar"', "status unprocessed.kind", "found 'ajar'"),
        ("statuses.toml", 'code = "success"', 'code = "unresolved"', "file", "status code used twice: unresolved"),
    ],
)
def test_an_error_names_file_key_and_value(config: Path, file: str, old: str, new: str, key: str, told: str) -> None:
    rewrite(config, file, old, new)
    with pytest.raises(Misconfigured) as raised:
        settings.read(config)
    assert raised.value.where == str(config / file)
    assert raised.value.key.startswith(key)
    assert told in raised.value.message


def test_all_that_is_wrong_is_told_and_first_the_key_that_is_misspelt(config: Path) -> None:
    rewrite(config, "sources.toml", 'campaign = "DK-ENERGY"', 'campaing = "DK-ENERGY"')
    rewrite(config, "sources.toml", 'dates = "dmy"', 'dates = "ymd"')
    with pytest.raises(Misconfigured) as raised:
        settings.read(config)
    assert raised.value.key == "source nordlead.campaing"
    assert [each.split(" (found")[0] for each in raised.value.message.split("; ")] == [
        "there is no such key",
        "is 'campaign' meant?",
        "source nordlead.campaign: Field required",
        "source nordlead.dates: Input should be 'dmy' or 'mdy'",
    ]


def test_a_wrong_file_does_not_fill_the_screen(config: Path) -> None:
    shutil.copy(config / "statuses.toml", config / "sources.toml")
    with pytest.raises(Misconfigured, match="source: Field required"):
        settings.read(config)
    (config / "sources.toml").write_text("".join(f"key_{number} = 1\n" for number in range(30)))
    with pytest.raises(Misconfigured, match=r"key_9: there is no such key .*; and 21 more$"):
        settings.read(config)


@pytest.mark.parametrize("url", ["nonsense", "mysql://me:secret@host/leads", "oracle://me:secret@host/leads"])
def test_a_store_is_of_two_kinds_and_no_password_is_told(config: Path, url: str) -> None:
    rewrite(config, "ingestd.toml", 'url = ""', f'url = "{url}"')
    with pytest.raises(Misconfigured, match=r"store\.url: is neither sqlite:///") as raised:
        settings.read(config)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("file", ["ingestd.toml", "organisation.toml", "sources.toml", "statuses.toml"])
def test_a_missing_file_is_named(config: Path, file: str) -> None:
    (config / file).unlink()
    with pytest.raises(Misconfigured, match=f"{file}: file: is missing"):
        settings.read(config)


def test_text_that_is_no_utf_8_is_named(config: Path) -> None:
    (config / "sources.toml").write_bytes("# København\n".encode("latin-1"))
    with pytest.raises(Misconfigured, match=r"sources\.toml: syntax: "):
        settings.read(config)


def test_one_top_level_team() -> None:
    with pytest.raises(ValidationError, match="found 0: none"):
        Organisation(team=())
    with pytest.raises(ValidationError, match="found 2: top, other"):
        Organisation(team=(TOP, Team(key="other", name="Other")))


def test_no_team_is_above_itself() -> None:
    ring = [Team(key=key, name=key, parent=parent) for key, parent in (("a", "c"), ("b", "a"), ("c", "b"))]
    with pytest.raises(ValidationError, match="'a' is above itself"):
        Organisation(team=(TOP, *ring))


def test_the_order_of_teams_does_not_matter() -> None:
    child = Team(key="child", name="Child", parent="top")
    assert Organisation(team=(child, TOP)).team == (child, TOP)


@pytest.mark.parametrize("code", ["ab-1", " AB-1", "Ab-1\t"])
def test_codes_are_unique_over_teams_and_users_trimmed_and_without_case(code: str) -> None:
    team = Team(key="top", name="Top", code="AB-1")
    user = User(login="somebody", name="Somebody", team="top", code=code)
    with pytest.raises(ValidationError, match="Lead Ownership Code used twice: ab-1"):
        Organisation(team=(team,), user=(user,))


def test_an_owner_may_have_no_code() -> None:
    users = tuple(User(login=login, name=login, team="top", code=code) for login, code in (("a", None), ("b", "")))
    assert Organisation(team=(TOP,), user=users).user == users


def test_codes_are_stored_as_written() -> None:
    assert Team(key="top", name="Top", code=" Dk-Cph ").code == " Dk-Cph "
    assert code_key(" Dk-Cph ") == code_key("DK-CPH") == "dk-cph"


@pytest.mark.parametrize("region", ["dk", "DNK", "D1", ""])
def test_a_region_is_two_capitals(region: str) -> None:
    with pytest.raises(ValidationError, match="region"):
        Campaign(code="C", name="C", project="P", region=region)


def test_unchangeable_and_strict() -> None:
    project = Project(code="P", name="P")
    with pytest.raises(ValidationError, match="frozen"):
        project.name = "Q"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Project.model_validate({"code": "P", "name": "P", "colour": "red"})


def test_the_environment_wins_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGESTD_FTP__PORT", "0")
    monkeypatch.setenv("INGESTD_FTP__PASSIVE_PORTS", "[5000, 5010]")
    monkeypatch.setenv("INGESTD_STORE__URL", "sqlite:///elsewhere.db")
    monkeypatch.setenv("INGESTD_WORKER__PROCESSES", "")  # empty counts as not set
    monkeypatch.setenv("INGESTD_HOME", "somewhere")  # the command line's own, no setting
    daemon = settings.read(config).daemon
    assert (daemon.ftp.port, daemon.ftp.passive_ports) == (0, (5000, 5010))
    assert daemon.ftp.host == "127.0.0.1", "the other keys of the section stay"
    assert daemon.store.url == "sqlite:///elsewhere.db"
    assert daemon.worker.processes == 1


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("INGESTD_FTP__PORT", "abc", "ftp.port: .*found 'abc'"),
        ("INGESTD_FTP__PROT", "1", "ftp.prot: .*is 'port' meant.*found '1'"),
        ("INGESTD_FTP", '{"port": "abc"}', "ftp.port: .*found 'abc'"),
        ("INGESTD_STORE__URL", "mysql://host/leads", "store.url: is neither"),
    ],
)
def test_an_error_in_the_environment_names_the_variable(
    config: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(Misconfigured, match=f"^{variable}: {told}"):
        settings.read(config)


def test_a_table_of_the_environment_is_json(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGESTD_FTP", "abc")
    with pytest.raises(Misconfigured, match=r'environment: value: .*"ftp".*written as JSON'):
        settings.read(config)


def test_the_mapping_version_names_its_content(example: Configuration) -> None:
    versions = {source.name: source.mapping_version for source in example.sources.source}
    assert versions["nordlead"] == "", "no saved mapping"
    stadtwerk = next(source for source in example.sources.source if source.name == "stadtwerk")
    turned = stadtwerk.model_copy(update={"mapping": dict(reversed(stadtwerk.mapping.items()))})
    other = stadtwerk.model_copy(update={"mapping": {**stadtwerk.mapping, "Ort": "city"}})
    assert turned.mapping_version == versions["stadtwerk"] != other.mapping_version


def test_a_pinned_dialect_reaches_the_reader(example: Configuration) -> None:
    stadtwerk = next(source for source in example.sources.source if source.name == "stadtwerk")
    hints = stadtwerk.hints()
    assert (hints.encoding, hints.delimiter, hints.quote) == ("cp1252", ";", None)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("PASSIVE_PORTS", "[5002, 5000]", "5002, is above the last one, 5000"),
        ("PASSIVE_PORTS", "[70000, 70010]", "65535"),
        ("MASQUERADE", "hello", "no IPv4 address"),
        ("MASQUERADE", "2001:db8::1", "no IPv4 address"),
    ],
)
def test_ftp_settings_that_cannot_work(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str) -> None:
    monkeypatch.setenv(f"INGESTD_FTP__{variable}", value)
    with pytest.raises(Misconfigured, match=told):
        settings.read(CONFIG)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A reload must not end the daemon for it."""
    shutil.copytree(CONFIG, tmp_path / "config")
    (tmp_path / "config" / "sources.toml").unlink()
    (tmp_path / "config" / "sources.toml").mkdir()
    with pytest.raises(Misconfigured, match="cannot be read: Is a directory"):
        settings.read(tmp_path / "config")


def test_a_file_without_any_source_is_more_likely_half_saved(tmp_path: Path) -> None:
    shutil.copytree(CONFIG, tmp_path / "config")
    (tmp_path / "config" / "sources.toml").write_text("")
    with pytest.raises(Misconfigured, match="source"):
        settings.read(tmp_path / "config")
