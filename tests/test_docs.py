"""What the documents promise is true of the tree."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import torch
from text_cases import save_checkpoint

from multirate_core.cli import program
from multirate_core.cli.parser import make_parser

ROOT = Path(__file__).resolve().parent.parent


def test_both_lists_of_requirements_are_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = [line for line in lines if line and not line.startswith(("#", "-e"))]
    assert listed == project["dependencies"]


def test_the_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z-]+)", readme))
    assert {"app", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_links_between_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"


def test_modules_named_in_the_architecture_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = text.split("```")[1].partition("multirate_core/\n")[2].partition("tests/\n")[0]
    names = re.findall(r"^  ([a-z_]+/|[a-z_]+\.py)", block, re.MULTILINE)
    assert len(names) > 10
    for name in names:
        assert (ROOT / "multirate_core" / name).exists(), name


def code_blocks(language: str, document: str = "README.md") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)


def test_the_python_lines_of_the_readme_train_a_network() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential()
    model.add_module("body", torch.nn.Linear(4, 8))
    model.add_module("fc", torch.nn.Linear(8, 2))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    loader = [(torch.randn(6, 4), torch.randint(0, 2, (6,))) for _ in range(7)]
    for block in code_blocks("python"):
        exec(block, {"model": model, "loader": loader, "loss_fn": torch.nn.functional.cross_entropy})
    assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_the_code_of_the_optimisers_page_runs_from_the_first_import_to_the_last_line() -> None:
    blocks = code_blocks("python", "docs/optimiser.md")
    assert len(blocks) >= 6
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert set(names["norms"]) == {name for name, _ in names["model"].named_parameters()}  # type: ignore[call-overload, attr-defined]
    assert names["periods"].steps == 24  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_blocks_of_the_page_on_models_and_data_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("datasets", reason="datasets is not installed").disable_progress_bars()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MULTIRATE_HOME", str(tmp_path / "home"))
    save_checkpoint("distilbert", tmp_path / "my_checkpoint")
    text = (ROOT / "docs" / "models-and-data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|sh)\n(.*?)```", text, re.DOTALL)
    assert [language for language, _ in blocks].count("sh") >= 4
    names: dict[str, object] = {}
    for language, block in blocks:
        if language == "python":
            exec(block, names)
        else:
            words = shlex.split(block)
            assert words[:3] == [".venv/bin/python", "-m", "multirate_core"]
            raced = words[3] == "compare"
            assert program.main([*words[3:], *(["--inline", "--threads", "1"] if raced else [])]) == 0, block
            assert ("finished" if raced else "square") in capsys.readouterr().out


def test_the_command_lines_of_the_readme_are_understood() -> None:
    blocks = [*code_blocks("sh"), *code_blocks("sh", "docs/cost.md")]
    lines = [line for block in blocks for line in block.splitlines() if "multirate_core" in line]
    assert len(lines) >= 2
    for line in lines:
        words = shlex.split(line)
        assert words[:3] == [".venv/bin/python", "-m", "multirate_core"]
        assert make_parser().parse_args(words[3:]).command in ("compare", "data", "predict")
