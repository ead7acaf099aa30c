"""The layer board's pure functions and its bundle, run by node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pages.components.board.layer_board.bundle import FOLDER, SCRIPTS, bundle

ROOT = Path(__file__).parents[2]

node = pytest.mark.skipif(shutil.which("node") is None, reason="node is missing: install Node.js 18 or newer")


@node
def test_the_boards_pure_functions_pass_their_own_tests() -> None:
    tests = sorted(str(path) for path in (ROOT / "tests" / "js").glob("*.test.mjs"))
    result = subprocess.run(["node", "--test", *tests], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout[-4000:]
    assert tests


@node
def test_the_bundle_is_one_module_without_imports_that_node_can_load(tmp_path: Path) -> None:
    script = tmp_path / "board.mjs"
    script.write_text(f"{bundle()}\nconsole.log(typeof mount, typeof buildTree);", encoding="utf-8")
    result = subprocess.run(["node", str(script)], capture_output=True, text=True, timeout=60)
    assert result.stdout.split() == ["function", "function"], result.stderr
    assert "\nimport " not in bundle()


def test_every_script_of_the_board_is_in_the_bundle_after_what_it_imports() -> None:
    assert sorted(SCRIPTS) == sorted(path.stem for path in FOLDER.glob("*.js"))
    for place, name in enumerate(SCRIPTS):
        source = (FOLDER / f"{name}.js").read_text(encoding="utf-8")
        imported = [line.rsplit("./", 1)[1][:-5] for line in source.splitlines() if line.startswith("import ")]
        assert set(imported) <= set(SCRIPTS[:place]), name
