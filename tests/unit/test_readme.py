"""The README tells the truth about settings; its examples are run in tests/integration/test_examples.py."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from noukai_worker.settings import UNPREFIXED, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BROKERS = (ROOT / "docs" / "brokers.md").read_text()


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(NOUKAI_\w+)` \| ([^|]+) \|", README, re.MULTILINE))
    expected = {
        f"NOUKAI_{'' if name in UNPREFIXED else 'WORKER_'}{name.upper()}": name for name in Settings.model_fields
    }
    assert set(rows) == set(expected)
    for variable, name in expected.items():
        default = Settings.model_fields[name].default
        if isinstance(default, float | int | bool):
            assert float(rows[variable].replace("false", "0")) == float(default)


def test_every_celery_setting_of_ours_is_one_that_celery_knows() -> None:
    from celery.app.defaults import NAMESPACES, flatten

    from noukai_worker.tasks import conf, rabbitmq

    known = {name for name, _ in flatten(NAMESPACES)}
    assert set(conf.alone(Settings())) | set(rabbitmq.alone()) <= known
    for name in conf.needed(Settings()):
        assert name == "task_routes" or f"`{name}`" in README
    for name in rabbitmq.alone():
        assert f"`{name}`" in BROKERS


def test_every_dependency_is_in_the_table_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    users = [
        *project["dependencies"],
        *(one for name in extras if name not in {"test", "fuzz", "bench"} for one in extras[name]),
    ]
    needed = {re.split(r"[\[<>=]", requirement)[0] for requirement in users} - {project["name"]}
    rows = re.findall(r"^\| ([^|]+) \|", README.partition("## Dependencies, and why")[2], re.MULTILINE)
    told = {re.sub(r" .*", "", name.strip()) for row in rows for name in row.split(",")} - {"package"}
    assert told == needed
