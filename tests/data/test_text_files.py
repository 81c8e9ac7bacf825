from pathlib import Path

import pandas
import pytest

from src.data.text_files import read_lines, read_table

ROWS = [["a.png", "1", ""], ["b, c.png", "0", 'so "quoted"']]
PLAIN = 'file,hat,note\na.png,1,\n"b, c.png",0,"so ""quoted"""\n'


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.csv", PLAIN, [2, 3]),
        ("a.csv", "\ufeff" + PLAIN, [2, 3]),
        ("a.csv", PLAIN.replace("\n", "\r\n"), [2, 3]),
        ("a.csv", PLAIN.replace("\n", "\r"), [2, 3]),
        ("a.csv", "\n\n" + PLAIN.replace("\n", "\n\n ,\n"), [6, 9]),
        ("a.csv", PLAIN.removesuffix("\n"), [2, 3]),
        ("a.csv", PLAIN.replace(",", ", ").replace("b,  ", "b, "), [2, 3]),
        ("a.csv", PLAIN.replace("\n", ",,\n"), [2, 3]),
        ("a.csv", PLAIN.replace(",", ";").replace("b;", "b,"), [2, 3]),
        ("a.txt", PLAIN.replace(",", "\t").replace("b\t", "b,"), [2, 3]),
        ("a.TSV", PLAIN.replace(",", "\t").replace("b\t", "b,"), [2, 3]),
    ],
)
def test_tables_are_read_as_any_program_writes_them(
    name: str, content: str, lines: list[int], tmp_path: Path
) -> None:
    table = read_table(write(tmp_path / name, content))
    assert table.columns == ["file", "hat", "note"]
    rows = list(table)
    assert [row.line for row in rows] == lines
    assert [row.cells for row in rows] == ROWS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", " is empty"),
        ("\ufeff \r\n\n", " is empty"),
        (PLAIN.encode("utf-16"), ", line 1: no text in UTF-8: save the file in this encoding"),
        (PLAIN.encode("utf-16-le"), ", line 1: no text in UTF-8"),
        (PLAIN.encode("utf-32-be"), ", line 1: no text in UTF-8"),
        ("file,hat\na.png,1\nfür.png,0\n".encode("latin-1"), ", line 3: no text in UTF-8"),
        (b"PK\x03\x04\x00\x00", ", line 1: no text in UTF-8"),
        ("file,hat\na.png\n", ", line 2: 1 values, where 2 columns are named"),
        ("file,hat\na.png,1,0\n", ", line 2: 3 values, where 2 columns are named"),
        ('file,hat\n\n"a.png,1\nb.png,0\n', ", line 3: no row of a table"),
        ("file,hat,hat\na.png,1,0\n", " has two columns hat: rename or remove one"),
        ("\n<html>\n<body>moved</body>\n", " holds a web page"),
        ("<!DOCTYPE html>", " holds a web page"),
    ],
)
def test_what_is_no_table_is_named_with_its_line(
    content: str | bytes, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "table.csv", content)
    with pytest.raises(ValueError, match=f"^{path}{message}"):
        list(read_table(path))


def test_columns_are_found_by_name_or_the_nearest_is_said(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "table.csv", PLAIN))
    assert table.find("note") == 2
    with pytest.raises(ValueError, match=r"has no column hut; did you mean hat\?"):
        table.find("hut")
    with pytest.raises(ValueError, match="has no column glasses; it has file, hat, note"):
        table.find("glasses")


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    path = write(tmp_path / "list.txt", "\ufeff\r\n a.png \r\n\r\nb\u2028c.png\n\n")
    assert read_lines(path) == [(2, "a.png"), (4, "b\u2028c.png")]
    with pytest.raises(ValueError, match=f"{path}, line 2: no text"):
        read_lines(write(path, b"a\n\xfc\n"))


def test_parquet_is_read_like_text(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    frame = pandas.DataFrame({"file": ["a.png", "b.png"], "hat": [True, None], "age": [3, 4]})
    frame.to_parquet(path)
    table = read_table(path)
    assert table.columns == ["file", "hat", "age"]
    assert [row.cells for row in table] == [["a.png", "True", "3"], ["b.png", "", "4"]]
    assert str(table.wrong(2, "no")) == f"{path}, row 2: no"


def test_parquet_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "table.parquet", b"no table")
    with pytest.raises(ValueError, match=r"cannot be read as Parquet"):
        read_table(path)
    with pytest.raises(FileNotFoundError, match="none"):
        read_table(tmp_path / "none.parquet")
