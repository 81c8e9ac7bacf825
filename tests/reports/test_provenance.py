import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import run_command

from src.reports import provenance as module
from src.reports.provenance import check_clean, provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in the place of the project."""
    root = tmp_path / "project"
    for name in ("src/a.py", "conf/a.yaml", "experiments/a.yaml", "results/a/cpu/table.json"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("1\n")
    (root / "requirements.lock").write_text("")
    (root / ".gitignore").write_text("/results/*/smoke/\n__pycache__/\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "First")
    monkeypatch.setattr(module, "ROOT", root)
    return root


CHANGES: dict[str, Callable[[Path], object]] = {
    "source": lambda root: (root / "src/a.py").write_text("2\n"),
    "config": lambda root: (root / "conf/a.yaml").write_text("2\n"),
    "new file": lambda root: (root / "src/b.py").write_text("2\n"),
    "staged": lambda root: git(root, "rm", "-q", "experiments/a.yaml"),
    "requirements": lambda root: (root / "requirements.lock").write_text("2\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_commit_is_dirty_where_what_numbers_depend_on_has_changed(
    change: str, project: Path
) -> None:
    commit = git(project, "rev-parse", "HEAD").strip()
    assert provenance()["run/commit"] == commit
    # A table that is made, or a page, leaves the next one clean.
    (project / "results/a/cpu/table.json").write_text("2\n")
    (project / "README.md").write_text("2\n")
    assert provenance()["run/commit"] == commit
    CHANGES[change](project)
    assert provenance()["run/commit"] == f"{commit}-dirty"


def test_numbers_of_no_commit_go_into_no_file_of_the_project(project: Path, tmp_path: Path) -> None:
    table = project / "results/b/cpu/table.json"
    check_clean(table, "1234", dirty=False)
    for commit in ("1234-dirty", "1234, 5678-dirty"):  # of several runs
        with pytest.raises(ValueError, match="commit them first, or set dirty=true"):
            check_clean(table, commit, dirty=False)
        check_clean(table, commit, dirty=True)
        check_clean(project / "results/b/smoke/table.json", commit, dirty=False)
        check_clean(tmp_path / "elsewhere" / "table.json", commit, dirty=False)


def test_outside_a_checkout_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOT", tmp_path)
    assert provenance()["run/commit"] == "unknown"
    check_clean(tmp_path / "table.json", "1234-dirty", dirty=False)
    monkeypatch.setenv("PATH", "")
    assert provenance()["run/commit"] == "unknown"


def test_a_table_is_refused_before_a_run(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "src/a.py").write_text("2\n")
    runs, results = tmp_path / "runs", project / "results"
    arguments = ["table=claims", f"runs_dir={runs}", f"results_dir={results}"]
    result = run_command("reproduce", *arguments, "scale=cpu")
    assert result.status != 0
    assert "set dirty=true" in result.message
    assert not (runs / "claims").exists()
    assert run_command("reproduce", *arguments, "scale=cpu", "--dry-run") == (0, "")
