"""Packages of Debian: one-line descriptions, and the tags that people gave them."""

import gzip
import hashlib
import lzma
import re
import shutil
import subprocess
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from email.parser import HeaderParser
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import torch
from torch import Tensor

from src.data.images import LabelledImages
from src.data.missing import MissingDataError, found_in
from src.data.texts import LabelledTexts, TextSet
from src.subspaces.propositions import Proposition

OPENERS: dict[str, Callable[..., IO[str]]] = {".gz": gzip.open, ".xz": lzma.open}
APT = ("apt-cache", "dumpavail")
MEND = (
    "give a list by dataset.file=FILE, such as dists/stable/main/binary-amd64/Packages.xz of a "
    "mirror of Debian"
)
NAMES = re.compile(r"[\w:+-]+")  # in an example
BRACES = re.compile(r"([^\s,{}]+)\{([^{}]*)\}")
PROGRAM, ROLE = "role::program", "role::"
OF_EVERY_PROGRAM = ("implemented-in::", "interface::")  # facets that each program has by its nature
EXAMPLES = (
    "implemented-in::python & ~use::gameplaying",
    "interface::graphical & ~uitoolkit::gtk & ~uitoolkit::qt",
    "role::documentation | devel::doc",
    "role::program & ~interface::commandline",
    "devel::library & ~role::shared-lib",
)


class Package(NamedTuple):
    """A package as a list has it."""

    name: str
    source: str  # the source package that it is built from, with siblings
    description: str  # its first line
    tags: frozenset[str]


class Packages(TextSet):
    """The packages of Debian that have tags, their commonest tags as literals [0].

    All packages of one source are in one split, which is drawn by the name of the source alone: it
    is the same in the next release. A package without any tag is left out, as nobody knows of it
    what is true; a tag that is missing from a package with others reads as false.

    Args:
        file: A list of packages, as mirrors have them: plain, .gz or .xz; None for the one that apt
            keeps on this machine.
        tags: The number of literals, the commonest tags of the list.
        literals: The literals themselves; None for the commonest.
        unknown: Whether tags that are known to be missing (`known_gaps`) read as `negative`, or
            training shall `keep` them unknown.
        length: Bytes that are kept of a description.
        validation, test: Shares of the sources that are drawn for these splits, above 0 and
            together below 1.
        split_seed: Seed of the draw.

    Raises:
        ValueError: If the shares leave nothing, the list cannot be read or has not so many tags.
        MissingDataError: If there is no list.

    References:
        [0] https://wiki.debian.org/Debtags
    """

    def __init__(
        self,
        file: str | None,
        tags: int,
        literals: list[str] | None,
        unknown: Literal["negative", "keep"],
        length: int,
        validation: float,
        test: float,
        split_seed: int,
    ) -> None:
        super().__init__(length)
        if not (validation > 0 and test > 0 and validation + test < 1):
            raise ValueError(
                f"validation and test must be shares above 0, together below 1, not {validation} "
                f"and {test}"
            )
        self.file = None if file is None else Path(file).expanduser().absolute()
        self.unknown = unknown
        self.validation = validation
        self.test = test
        self.split_seed = split_seed
        self.literals = tuple(self._commonest(tags) if literals is None else literals)
        self.example_queries = _examples(self.literals)

    @cached_property
    def packages(self) -> list[Package]:
        """All packages of the list, each name once."""
        return read_packages(self.file)

    def settled(self) -> Mapping[str, Any]:
        return {
            "file": None if self.file is None else str(self.file),
            "literals": list(self.literals),
        }

    def load(self) -> Mapping[str, LabelledImages]:
        tagged = [package for package in self.packages if package.tags]
        unknown = set(self.literals).difference(*(package.tags for package in tagged))
        if unknown:
            raise ValueError(f"no package of {self._source} has the tag {min(unknown)}")
        labels = torch.tensor([[tag in each.tags for tag in self.literals] for each in tagged])
        texts = LabelledTexts(
            [package.description for package in tagged],
            [f"{package.name}: {package.description}" for package in tagged],
            labels,
            self.length,
        )
        named = [
            draw_split(package.source, self.validation, self.test, self.split_seed)
            for package in tagged
        ]
        positions = {
            name: torch.tensor([split == name for split in named]).nonzero().flatten()
            for name in ("train", "val", "test")
        }
        splits = {name: texts.select(where) for name, where in positions.items()}
        if self.unknown == "keep":
            gaps = known_gaps(tagged, self.literals)[positions["train"]]
            splits["train"] = splits["train"].without(gaps)
        sizes = ", ".join(f"{name} {len(split):,}" for name, split in splits.items())
        left_out = len(self.packages) - len(tagged)
        self.notes = [
            f"{len(tagged):,} packages of {self._source}: {sizes}; sources are in one split each",
            f"left out: {left_out:,} of {len(self.packages):,} packages, which have no tag",
            describe_gaps(tagged),
        ]
        return splits

    @property
    def _source(self) -> str:
        return str(self.file or " ".join(APT))

    def _commonest(self, number: int) -> list[str]:
        counts = Counter(tag for package in self.packages for tag in package.tags)
        ranked = sorted(counts, key=lambda tag: (-counts[tag], tag))
        if not 1 <= number <= len(ranked):
            raise ValueError(
                f"tags must be from 1 to {len(ranked)}, as many as {self._source} has, not {number}"
            )
        return ranked[:number]


def read_packages(file: Path | None) -> list[Package]:
    """Read a list of packages; of one that is listed again, such as in another version, the first.

    Args:
        file: The list; None for that of apt.

    Raises:
        MissingDataError: If there is none.
        ValueError: If it is damaged, or holds no packages.
    """
    packages: dict[str, Package] = {}
    parse = HeaderParser().parsestr  # a stanza is written as the head of a mail
    for stanza in map(parse, re.split(r"\n\s*\n", _read_list(file).strip())):
        if stanza["Package"] and stanza["Description"]:
            name = stanza["Package"].strip()
            source = stanza.get("Source", name).split()[0]  # a version may follow
            description = stanza["Description"].partition("\n")[0].strip()
            tags = read_tags(stanza.get("Tag", ""))
            packages.setdefault(name, Package(name, source, description, tags))
    if packages:
        return list(packages.values())
    if file is None:
        raise MissingDataError("apt lists no packages here", f"run apt-get update, or {MEND}")
    raise ValueError(f"{file} lists no packages with descriptions: {MEND}")


def read_tags(text: str) -> frozenset[str]:
    """Read the field of tags: `a::b, c::{d,e}`, on one line or several, is a::b, c::d and c::e."""

    def expand(found: re.Match[str]) -> str:
        return ",".join(found[1] + name.strip() for name in found[2].split(","))

    return frozenset(BRACES.sub(expand, text).replace(",", " ").split())


def draw_split(source: str, validation: float, test: float, seed: int) -> str:
    """The split of all packages of a source, which depends on nothing else."""
    digest = hashlib.sha256(f"{seed} {source}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < test:
        return "test"
    return "val" if place < test + validation else "train"


def describe_gaps(packages: Sequence[Package]) -> str:
    """Say how incomplete tags are: of programs, which have a language and an interface whether a
    tag says so or not, and of packages of one source in the same role, which should have the same
    tags.
    """
    programs = [package for package in packages if PROGRAM in package.tags]
    gaps = ", ".join(
        f"{share_without(facet, programs):.0%} no {facet.rstrip(':')}" for facet in OF_EVERY_PROGRAM
    )
    return (
        f"tags are incomplete: of programs {gaps}; of all {share_without(ROLE, packages):.0%} no "
        f"role; of siblings in one role {share_disagreeing(packages):.0%} differ in other tags"
    )


def known_gaps(packages: Sequence[Package], literals: Sequence[str]) -> Tensor:
    """The tags that nobody can have meant to leave out: of a program without a language, or without
    an interface, all tags of that facet; of a package without a role, all roles.

    Returns:
        (N, C), bool, for the literals of each package.
    """

    def missing(package: Package) -> list[str]:
        due = [ROLE, *(OF_EVERY_PROGRAM if PROGRAM in package.tags else ())]
        return [facet for facet in due if not any(tag.startswith(facet) for tag in package.tags)]

    return torch.tensor(
        [[tag.startswith(tuple(missing(each))) for tag in literals] for each in packages]
    )


def share_without(facet: str, packages: Sequence[Package]) -> float:
    """The share of packages that have no tag of a facet, such as `role::`; 0 without packages."""
    without = sum(not any(tag.startswith(facet) for tag in each.tags) for each in packages)
    return without / max(1, len(packages))


def share_disagreeing(packages: Sequence[Package]) -> float:
    """The share of groups of packages of one source with the same roles, two packages or more, in
    which not all have the same tags; 0 without groups.
    """
    groups = defaultdict(list)
    for package in packages:
        roles = frozenset(tag for tag in package.tags if tag.startswith(ROLE))
        groups[package.source, roles].append(package.tags)
    siblings = [tags for tags in groups.values() if len(tags) > 1]
    return sum(len(set(tags)) > 1 for tags in siblings) / max(1, len(siblings))


def _read_list(file: Path | None) -> str:
    """The text of a list of packages, whole: of a part, its reader would say nothing."""
    if file is None:
        return _ask_apt()
    if not file.is_file():
        raise MissingDataError(f"there is no {file} ({found_in(file.parent)})", MEND)
    try:
        with OPENERS.get(file.suffix, open)(file, "rt", encoding="utf-8") as lines:
            return lines.read()
    except (EOFError, UnicodeDecodeError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{file} is damaged, or no list of packages: {error}; {MEND}") from error


def _ask_apt() -> str:
    if shutil.which(APT[0]) is None:
        raise MissingDataError(f"this machine has no {APT[0]}, and so no list of packages", MEND)
    answer = subprocess.run(APT, stdout=subprocess.PIPE, encoding="utf-8")
    if answer.returncode:
        raise MissingDataError(f"{' '.join(APT)} failed with {answer.returncode}", MEND)
    return answer.stdout


def _examples(literals: Sequence[str]) -> tuple[str, ...]:
    """The examples whose tags are literals, or else one of the first and the last literal.

    Raises:
        ValueError: If there is no literal, or one cannot be written in a query.
    """
    if not literals:
        raise ValueError("literals names none: leave it null for the commonest tags")
    first, last = literals[0], literals[-1]
    fitting = [text for text in EXAMPLES if set(NAMES.findall(text)) <= set(literals)]
    texts = fitting or [f"{first} & ~{last}" if first != last else first]
    return tuple(Proposition(text, literals).text for text in texts)
