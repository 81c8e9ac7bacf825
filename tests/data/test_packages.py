"""Lists of packages against what was written into them."""

import gzip
import lzma
import os
import shutil
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Literal

import pytest
import torch
from conftest import run_command
from hypothesis import given, settings
from hypothesis import strategies as st
from packages import Written, write_packages

from src.data.packages import (
    Package,
    Packages,
    draw_split,
    known_gaps,
    read_packages,
    read_tags,
    share_disagreeing,
    share_without,
)

SOURCES = 120
PARTS = {"length": 64, "validation": 0.2, "test": 0.3, "split_seed": 0}


def packages_of(
    file: Path | None,
    tags: int = 4,
    literals: list[str] | None = None,
    unknown: Literal["negative", "keep"] = "negative",
) -> Packages:
    return Packages(
        None if file is None else str(file),
        tags=tags,
        literals=literals,
        unknown=unknown,
        **PARTS,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Written]]:
    path = tmp_path_factory.mktemp("list") / "Packages"
    return path, write_packages(path, SOURCES)


def test_splits_hold_every_package_with_tags_once(listed: tuple[Path, list[Written]]) -> None:
    path, written = listed
    data = packages_of(path)
    found = {}
    for split in data.splits.values():
        texts = [bytes(text.flatten().tolist()).rstrip(b"\0").decode() for text in split.images]
        names = split.names
        assert names is not None
        for name, text, labels in zip(names, texts, split.labels.tolist(), strict=True):
            tags = {tag for tag, value in zip(data.literals, labels, strict=True) if value}
            assert name not in found
            found[name] = (text, tags)
    assert found == {
        f"{package.name}: {package.description}": (package.description, package.tags)
        for package in written
        if package.tags
    }


def test_packages_without_tags_are_left_out_and_counted(
    listed: tuple[Path, list[Written]],
) -> None:
    path, written = listed
    data = packages_of(path)
    sizes = [len(split) for split in data.splits.values()]
    untagged = sum(not package.tags for package in written)
    assert sum(sizes) == len(written) - untagged
    said = f"left out: {untagged} of {len(written)} packages, which have no tag"
    assert said in data.notes


def test_siblings_are_in_one_split(listed: tuple[Path, list[Written]]) -> None:
    path, written = listed
    source = {f"{package.name}: {package.description}": package.source for package in written}
    splits = packages_of(path).splits.values()
    sources = [{source[name] for name in split.names or []} for split in splits]
    assert all(not first & second for first, second in combinations(sources, 2))
    assert sum(map(len, sources)) < sum(map(len, splits))  # there are siblings


def test_split_of_a_source_depends_on_its_name_and_the_seed_alone(
    listed: tuple[Path, list[Written]], tmp_path: Path
) -> None:
    path, _ = listed
    shorter = tmp_path / "Packages"
    stanzas = path.read_text(encoding="utf-8").split("\n\n")
    shorter.write_text("\n\n".join(stanzas[::-2]), encoding="utf-8")
    whole, half = packages_of(path).splits, packages_of(shorter).splits
    for name in whole:
        assert set(half[name].names or []) <= set(whole[name].names or [])
    names = [f"source{number}" for number in range(3000)]
    drawn = Counter(draw_split(name, 0.2, 0.3, seed=1) for name in names)
    assert {name: round(count / 3000, 1) for name, count in drawn.items()} == {
        "train": 0.5,
        "val": 0.2,
        "test": 0.3,
    }
    assert [draw_split(name, 0.2, 0.3, 2) for name in names] != [
        draw_split(name, 0.2, 0.3, 1) for name in names
    ]


def test_literals_are_the_commonest_tags(listed: tuple[Path, list[Written]]) -> None:
    path, written = listed
    counts = Counter(tag for package in written for tag in package.tags)
    data = packages_of(path, tags=3)
    assert [counts[tag] for tag in data.literals] == sorted(counts.values(), reverse=True)[:3]


@pytest.mark.parametrize("ending", [".gz", ".xz"])
def test_compressed_lists_are_read(
    ending: str, listed: tuple[Path, list[Written]], tmp_path: Path
) -> None:
    path, _ = listed
    compress = gzip.compress if ending == ".gz" else lzma.compress
    compressed = tmp_path / f"Packages{ending}"
    compressed.write_bytes(compress(path.read_bytes()))
    assert read_packages(compressed) == read_packages(path)


def test_of_a_package_that_is_listed_twice_the_first_counts(tmp_path: Path) -> None:
    path = tmp_path / "Packages"
    stanza = "Package: a\nDescription: {}\nTag: b::{}\n"
    path.write_text("\n".join([stanza.format("one", "c"), stanza.format("two", "d")]))
    assert read_packages(path) == [Package("a", "a", "one", frozenset({"b::c"}))]


NAMES = st.from_regex(r"[a-z][a-z0-9+.-]{0,6}", fullmatch=True)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    facets=st.dictionaries(NAMES, st.lists(NAMES, min_size=1, unique=True), max_size=5),
    choices=st.data(),
)
def test_tags_are_read_however_they_are_laid_out(
    facets: dict[str, list[str]], choices: st.DataObject
) -> None:
    parts = []
    for facet, names in facets.items():
        if choices.draw(st.booleans()):
            parts.append(f"{facet}::{{{choices.draw(st.sampled_from([',', ', '])).join(names)}}}")
        else:
            parts += [f"{facet}::{name}" for name in names]
    text = choices.draw(st.sampled_from([",", ", ", ",\n "])).join(parts)
    assert read_tags(text) == {f"{facet}::{name}" for facet in facets for name in facets[facet]}


def test_gaps_are_counted_as_by_hand() -> None:
    def package(source: str, *tags: str) -> Package:
        return Package("", source, "", frozenset(tags))

    packages = [
        package("a", "role::program", "interface::x11"),
        package("a", "role::program", "interface::x11"),
        package("a", "role::plugin"),  # alone in its role
        package("b", "role::program", "use::editing"),
        package("b", "role::program"),  # which its sibling contradicts
        package("c", "use::editing"),
        package("d", "use::editing"),
    ]
    assert share_without("role::", packages) == 2 / 7
    assert share_without("interface::", packages[:5]) == 3 / 5
    assert share_disagreeing(packages) == 1 / 2
    assert share_disagreeing(packages[5:]) == share_without("a::", []) == 0


def test_gaps_that_are_known_are_those_of_a_missing_language_interface_or_role() -> None:
    literals = ["role::program", "implemented-in::c", "interface::x11", "use::editing"]
    tags_and_gaps = [
        ({"role::program"}, [0, 1, 1, 0]),
        ({"role::program", "implemented-in::c"}, [0, 0, 1, 0]),
        ({"role::program", "implemented-in::perl", "interface::x11"}, [0, 0, 0, 0]),
        ({"role::plugin"}, [0, 0, 0, 0]),
        ({"use::editing", "interface::x11"}, [1, 0, 0, 0]),
    ]
    packages = [Package("", "a", "", frozenset(tags)) for tags, _ in tags_and_gaps]
    expected = [gaps for _, gaps in tags_and_gaps]
    assert known_gaps(packages, literals).int().tolist() == expected


def test_known_gaps_stay_unknown_in_training_alone(listed: tuple[Path, list[Written]]) -> None:
    path, written = listed
    read, kept = packages_of(path), packages_of(path, unknown="keep")
    tags = {package.name: package.tags for package in written}
    train = kept.splits["train"]
    assert train.unknown is not None
    assert train.names is not None
    assert read.splits["train"].unknown is None
    names = train.names
    assert names is not None
    for name, gaps in zip(names, train.unknown.tolist(), strict=True):
        of_it = tags[name.partition(":")[0]]
        language = "role::program" in of_it and "implemented-in::c++" not in of_it
        role = not of_it & {"role::program", "role::shared-lib"}
        due = {"implemented-in": language, "role": role, "use": False}
        assert gaps == [due[tag.partition("::")[0]] for tag in kept.literals]
    for name in ("val", "test"):
        assert kept.splits[name].unknown is None
        assert torch.equal(kept.splits[name].labels, read.splits[name].labels)


def test_a_checkpoint_needs_no_list_to_name_its_literals(
    listed: tuple[Path, list[Written]],
) -> None:
    path, _ = listed
    settled = packages_of(path).settled()
    assert settled["file"] == str(path)
    again = packages_of(Path("/nowhere/Packages"), literals=settled["literals"])
    assert again.literals == packages_of(path).literals


# What is said where there is no list


def stub(folder: Path, script: str) -> str:
    """A PATH on which apt-cache is a script."""
    command = folder / "apt-cache"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_the_list_of_apt_is_that_of_the_machine(
    listed: tuple[Path, list[Written]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = listed
    script = f'[ "$*" = dumpavail ] && exec {shutil.which("cat")} {path}'
    monkeypatch.setenv("PATH", stub(tmp_path, script))
    assert read_packages(None) == read_packages(path)
    assert packages_of(None).settled()["file"] is None


@pytest.mark.parametrize(
    ("script", "said"),
    [("", "apt lists no packages here; run apt-get update"), ("exit 3", "failed with 3")],
)
def test_a_machine_whose_apt_has_no_list_is_told_what_to_do(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", stub(tmp_path, script))
    status, message = run_command("train", "+experiment=packages_subspace")
    assert status == 1
    assert said in message
    assert "dataset.file=FILE" in message
    assert "\n" not in message


def test_a_machine_without_apt_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, message = run_command("train", "+experiment=packages_subspace")
    assert status == 1
    assert "has no apt-cache" in message
    assert "dataset.file=FILE" in message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("Packages", b"", "lists no packages"),
        ("Packages", b"no stanza at all", "lists no packages"),
        ("Packages", b"\xff\xfe\x00", "is damaged, or no list"),
        ("Packages.gz", b"Package: a", "is damaged, or no list"),
        ("Packages.gz", gzip.compress(b"Package: a\n" * 9999)[:-9], "is damaged, or no list"),
        ("Packages.xz", b"Package: a", "is damaged, or no list"),
        ("Packages.xz", lzma.compress(b"Package: a\n" * 9999)[:-9], "is damaged, or no list"),
    ],
)
def test_what_is_no_list_is_refused(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        packages_of(path)


def test_arguments_out_of_range_are_refused(listed: tuple[Path, list[Written]]) -> None:
    path, _ = listed
    with pytest.raises(FileNotFoundError, match=r"there is no /nowhere/Packages .*dataset\.file"):
        packages_of(Path("/nowhere/Packages"))
    with pytest.raises(ValueError, match="tags must be from 1 to 4"):
        packages_of(path, tags=5)
    with pytest.raises(ValueError, match="literals names none"):
        packages_of(path, literals=[])
    with pytest.raises(ValueError, match="has the tag a::b"):
        assert packages_of(path, literals=["role::program", "a::b"]).splits
    with pytest.raises(ValueError, match="shares above 0"):
        Packages(str(path), 4, None, "negative", 64, validation=0.5, test=0.5, split_seed=0)
    with pytest.raises(ValueError, match="length must be at least 8 bytes, not 7"):
        Packages(str(path), 4, None, "negative", 7, validation=0.2, test=0.2, split_seed=0)
