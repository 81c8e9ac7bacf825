import re
from pathlib import Path

import pytest
from conftest import Run, run_command
from PIL import Image


@pytest.mark.parametrize(
    "query", ["even & ~prime", "square | (even & has_loop)", "not (prime or square)"]
)
def test_ranks_images_and_draws_them(
    query: str, trained_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_command(
        "retrieve",
        f"ckpt_path={trained_run.checkpoint}",
        f"query={query}",
        "top_k=7",
        f"hydra.run.dir={tmp_path / 'out'}",
    )
    assert result == (0, "")
    output = capsys.readouterr().out
    rows = re.findall(r"│ (\d+) +│ (\d+) +│ (\d\.\d+) +│ (\d\.\d+) +│ (yes|no)", output)
    assert [int(row[0]) for row in rows] == list(range(1, 8))
    scores = [float(row[2]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert sum(row[4] == "yes" for row in rows) >= 6
    with Image.open(tmp_path / "out" / "retrieval.png") as image:
        assert image.width > image.height


def test_help_explains_queries(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("retrieve", "--help") == (0, "")
    output = capsys.readouterr().out
    assert "(not)" in output
    assert "ckpt_path" in output
