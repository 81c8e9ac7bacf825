import hashlib
from pathlib import Path
from typing import Any

import pytest

from src.search import answers


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its embeddings would be kept under the hash of the other."""
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"first")

    def load(path: str, data_dir: str | None) -> tuple[Any, ...]:
        return "config", "data", "module"

    monkeypatch.setattr(answers, "load_checkpoint", load)
    content = hashlib.sha256(b"first").hexdigest()
    assert answers.load_with_hash(str(path), None)[0] == content

    def load_late(path: str, data_dir: str | None) -> tuple[Any, ...]:
        Path(path).write_bytes(b"other")
        return load(path, data_dir)

    monkeypatch.setattr(answers, "load_checkpoint", load_late)
    with pytest.raises(ValueError, match=r"last\.ckpt was written while it was read: ask again"):
        answers.load_with_hash(str(path), None)
