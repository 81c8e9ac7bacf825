"""Small lists of packages, as mirrors of Debian have them."""

import random
from pathlib import Path
from typing import NamedTuple

WORDS = {  # of descriptions, which the tags follow
    "role::program": "tool",
    "role::shared-lib": "library",
    "implemented-in::c++": "C++",
    "use::gameplaying": "game",
}
OTHERS = ["fast", "small", "modern", "for servers", "for desktops", "überall", "with colours"]


class Written(NamedTuple):
    """A package as it was written."""

    name: str
    source: str
    description: str
    tags: set[str]


def write_packages(path: Path, sources: int) -> list[Written]:
    """Write a list of packages, one to three of each source, of which some have no tags.

    Tags lie in one line, in several, or in braces; a version may follow a source.
    """
    draw = random.Random(0)
    packages = []
    stanzas = []
    for number in range(sources):
        source = f"source{number}"
        for part in range(draw.randint(1, 3)):
            name = source if part == 0 else f"{source}-part{part}"
            tags = {tag for tag in WORDS if draw.random() < 0.4}
            said = [WORDS[tag] for tag in sorted(tags) if draw.random() < 0.95]
            said += draw.sample(OTHERS, 2)
            if draw.random() < 0.2:
                tags = set()
            description = f"{' '.join(said)} {number}"
            packages.append(Written(name, source, description, tags))
            fields = [f"Package: {name}", f"Version: 1.{part}"]
            if part:
                fields.append(f"Source: {source}" + (" (0.9)" if draw.random() < 0.5 else ""))
            fields += [f"Description: {description}", " A long text.", " .", " It goes on."]
            if tags:
                fields.append(f"Tag: {draw.choice([',', ', ', f',{chr(10)} ']).join(group(tags))}")
            stanzas.append("\n".join([*fields, "Section: misc"]))
    path.write_text("\n\n".join(stanzas) + "\n", encoding="utf-8")
    return packages


def group(tags: set[str]) -> list[str]:
    """Tags as a field lists them, the roles in braces if there are two."""
    roles = {"role::program", "role::shared-lib"}
    if roles <= tags:
        return [*sorted(tags - roles), "role::{program,shared-lib}"]
    return sorted(tags)
