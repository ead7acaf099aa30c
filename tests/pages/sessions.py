"""Sessions of the app in Streamlit's test runner, with the real store and the real backend in a folder of the test."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from plot_races import recorders
from streamlit.testing.v1 import AppTest

from multirate_core import home
from multirate_core import store as races
from multirate_core.config import RaceConfig
from multirate_core.events import EnvironmentFound, Outcome
from multirate_core.layers import describe
from multirate_core.layers.tree import LayerTree
from multirate_core.store.queue import take_turn

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("in:more_settings", "in:take_home", "in:rates")
TIMEOUT_S = 60  # a loaded machine is slow, not wrong


def open_app(page: str = "", **params: str | list[str]) -> AppTest:
    """A new session: the address `/?params` typed into a browser, and then perhaps another page chosen.

    The folded parts of the Explore page are open, as a click opens them.
    """
    session = AppTest.from_file(str(ROOT / "app.py"), default_timeout=TIMEOUT_S)
    for name, value in params.items():
        session.query_params[name] = value
    for folder in FOLDERS:
        session.session_state[folder] = True
    session.run()
    return session.switch_page(page).run() if page else session


def address(session: AppTest) -> dict[str, list[str]]:
    """What stands in the address bar behind the question mark."""
    return {
        name: list(value) if isinstance(value, list | tuple) else [value]
        for name, value in session.query_params.items()
    }


def reopened(session: AppTest) -> AppTest:
    """A new session on the address of another one."""
    return open_app(**address(session))


def component(session: AppTest, key: str) -> dict[str, Any]:
    """What the browser gets for one of our components."""
    (node,) = [each for each in session.get("bidi_component") if each.proto.id.endswith(f"-{key}")]
    data: dict[str, Any]
    (data,) = json.loads(node.proto.json)
    return data


def board(session: AppTest) -> dict[str, Any]:
    """What the board got, with its rows and costs."""
    data = component(session, "board")
    return data | json.loads(data["content"])


def groups(session: AppTest) -> dict[str, int]:
    """Name -> period of the groups on the board."""
    return {group["name"]: group["period"] for group in board(session)["groups"]}


def parameters(session: AppTest) -> list[str]:
    """What can be moved on the board, in order."""
    return [row["id"] for row in board(session)["rows"] if row["unit"]]


def group_of(session: AppTest) -> dict[str, str]:
    """Parameter -> name of its group, as the page has it."""
    names = list(groups(session))
    codes = session.session_state["codes"]
    return {name: names[int(code, 36)] for name, code in zip(parameters(session), codes, strict=True)}


def in_group(session: AppTest, group: str) -> list[str]:
    return [name for name, own in group_of(session).items() if own == group]


def drop(session: AppTest, codes: str) -> AppTest:
    """What the browser sends when something was dropped on the board."""
    stamp = board(session)["assign"]["stamp"]
    session.session_state["board"]["assign"] = {"stamp": f"{stamp}/test.1", "codes": codes}
    return session.run()


def said(session: AppTest) -> str:
    """All messages on the page as they are read, one per line."""
    messages = [*session.error, *session.warning, *session.info]
    return "\n".join(read(message.value) for message in messages)


def read(markdown: str) -> str:
    return re.sub(r"\\(.)", r"\1", markdown).replace("\u2060", "")


def press(session: AppTest, label: str) -> AppTest:
    return button(session, label).click().run()


def button(session: AppTest, label: str) -> Any:
    (found,) = [each for each in session.button if read(each.label) == label]
    return found


def labels(session: AppTest) -> list[str]:
    return [read(each.label) for each in session.button]


def is_well(session: AppTest) -> bool:
    """Nothing went wrong that nobody foresaw."""
    assert not session.exception, [each.value for each in session.exception]
    return True


@cache
def glyph_tree() -> LayerTree:
    """The tree of the default network, which ships."""
    tree = describe.read(describe.SHIPPED)
    assert isinstance(tree, LayerTree)
    return tree


def record(
    config: RaceConfig,
    steps: int = 100,
    outcome: Outcome = "finished",
    message: str = "",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Write an ended race of two arms with made-up curves into the store; return its id."""
    with races.open_store(home.store_path()) as store:
        race_id = races.submit(store, config, attend=True)
        assert take_turn(store, race_id)
        races.record(store, race_id, [EnvironmentFound(dict(environment or {}))])
        for lane in recorders(store, race_id, config.seeds):
            lane.take(steps)
            lane.end(outcome)
        races.finish(store, race_id, outcome, message)
    return race_id


def stored(race_id: str) -> races.RaceRow:
    with races.open_store(home.store_path()) as store:
        return races.get_race(store, race_id)


def race_count() -> int:
    with races.open_store(home.store_path()) as store:
        return len(races.list_races(store))
