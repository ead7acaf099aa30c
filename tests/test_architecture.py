"""The rules of docs/architecture.md, enforced on the source: imports point one way, and the pages never load torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = sorted((ROOT / "multirate_core").rglob("*.py"))
PAGES = sorted((ROOT / "pages").rglob("*.py"))
LEAVES = {"errors", "checks", "config", "config_json", "events", "home", "kept_answer", "machine", "metrics"}
LEAVES |= {"network", "recipe"}

# What a part of the core may import beside the leaves; a part is the first name below multirate_core.
MAY_IMPORT = {
    "layers": {"models", "lean"},
    "partition": {"layers"},
    "lean": set(),
    "optim": set(),
    "data_parallel": {"optim"},
    "from_scratch": set(),
    "models": set(),
    "data": {"models"},
    "arms": {"optim", "partition"},
    "training": {"arms", "data"},
    "memory": {"data", "models", "layers", "partition"},
    "cost": {"training", "arms", "data", "lean", "layers", "models", "optim", "partition", "store"},
    "race": {"training", "arms", "cost", "data", "lean", "memory", "models", "layers", "partition"},
    "verdict": set(),
    "presets": {"data", "models", "partition"},
    "answers": {"store", "verdict"},
    "schema": set(),
    "store": {"schema"},
    "worker": {"store", "race"},
    "backends": {"store", "worker"},
    "serve": set(),
}


def imports_of(path: Path) -> set[str]:
    """Return the full dotted names that a file imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part_of(path: Path) -> str:
    first = path.relative_to(ROOT / "multirate_core").parts[0]
    return first.removesuffix(".py")


def test_the_core_imports_no_user_interface() -> None:
    for path in CORE:
        tops = {name.split(".")[0] for name in imports_of(path)}
        assert not tops & {"streamlit", "plotly", "pages", "app"}, path


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_inside_the_core_imports_point_one_way(path: Path) -> None:
    part = part_of(path)
    used = {name.split(".")[1] for name in imports_of(path) if name.startswith("multirate_core.")}
    used = {name for name in used if (ROOT / "multirate_core" / name).exists() or _is_module(name)}
    if part in ("cli", "__main__", "__init__"):
        return
    allowed = LEAVES if part in LEAVES else LEAVES | MAY_IMPORT[part] | {part}
    assert used <= allowed, f"{path.name} imports {sorted(used - allowed)}"


def _is_module(name: str) -> bool:
    return (ROOT / "multirate_core" / f"{name}.py").exists()


def test_only_the_schema_and_the_store_speak_sql() -> None:
    for path in [*CORE, *PAGES]:
        if part_of_or_page(path) not in ("schema", "store"):
            assert "sqlite3" not in {name.split(".")[0] for name in imports_of(path)}, path


def part_of_or_page(path: Path) -> str:
    return part_of(path) if (ROOT / "multirate_core") in path.parents else "pages"


def test_the_components_do_not_import_the_pages() -> None:
    for path in PAGES:
        if path.parent.name != "pages":
            pages = {name for name in imports_of(path) if name.startswith("pages.")}
            assert all(name.startswith("pages.components") for name in pages), path


def test_session_state_keys_and_url_parameters_are_named_in_one_place() -> None:
    allowed = {"state.py", "__init__.py"}
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        if "query_params" in text:
            assert path.name in allowed, path


def test_the_user_interface_does_not_load_torch() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in PAGES
        if path.parent.name != "pages" and path.name != "__init__.py"
    ]
    code = f"import sys; {'; '.join(f'import {name}' for name in modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")


def test_no_folder_is_a_junk_drawer() -> None:
    junk = {"utils", "common", "helpers", "src", "misc"}
    tops = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    names = {path.name for top in tops for path in [top, *top.rglob("*")] if path.is_dir()}
    assert {"pages", "live_plot"} <= names
    assert not names & junk


def test_modules_stay_small() -> None:
    for path in [*CORE, *PAGES]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 350, path
