# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Reading the tables
#
# `experiments/` has a file for each table and figure of the papers and of what this project adds to
# them. `python -m src.reproduce` trains what a table needs and writes it into
# `results/NAME/SCALE/`, at one of three scales:
#
# | scale | what it is | how long |
# | --- | --- | --- |
# | `smoke` | shows that the path works; **its numbers mean nothing** | seconds |
# | `cpu` | budgets for 2 cores, on data that need no download | minutes to an evening |
# | `paper` | the full protocol, data sets to be fetched | a GPU |
#
# This notebook reads what is there, of each table the largest scale, and makes no numbers of its
# own. Run it again when there is more.

# %%
import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

sys.path.insert(0, "..")  # notebooks run in their own folder, the project is one above

import matplotlib.pyplot as plt
import pandas as pd
import PIL.Image
from IPython.display import Image, Markdown, display

from src.config.groups import CONF_DIR
from src.tables.experiments import load_experiment, table_names

# %matplotlib inline
plt.rcParams |= {"figure.dpi": 80, "figure.constrained_layout.use": True}

PROJECT = CONF_DIR.parent
SCALES = ("paper", "cpu", "smoke")

# %% [markdown]
# ## What there is

# %%
found: dict[str, Path] = {}
for name in table_names():
    folders = [PROJECT / "results" / name / scale for scale in SCALES]
    made = [folder for folder in folders if (folder / "table.json").exists()]
    if made:
        found[name] = made[0]
records = {name: json.loads((folder / "table.json").read_text()) for name, folder in found.items()}

titles = {
    name: str(load_experiment(name, "smoke", {}).title).partition(".")[0] for name in table_names()
}
pd.DataFrame(
    {
        "what it is": titles,
        "scale": {name: folder.name for name, folder in found.items()},
        "rows": {name: str(len(record["rows"])) for name, record in records.items()},
        "commits": {
            name: ", ".join(commit[:7] for commit in record["run/commit"].split(", "))
            for name, record in records.items()
        },
    }
).fillna("not made yet")

# %%
missing = [name for name in table_names() if name not in found]
lines = [f"- `python -m src.reproduce table={name} scale=cpu`" for name in missing]
Markdown("\n".join(["To make what is missing:\n", *lines] if missing else ["Nothing is missing."]))

# %% [markdown]
# ## How to make one
#
# `--dry-run` says what a table would run, without running it. These are ordinary commands of
# `src.train`; runs are kept below `outputs/reproduce`, so that a table that was interrupted goes on
# where it stopped, and tables that need the same runs share them.

# %%
command = [sys.executable, "-m", "src.reproduce", "table=label_coding", "scale=cpu", "--dry-run"]
plain = os.environ | {"FORCE_COLOR": ""}  # which Jupyter sets: colours are codes here
listing = subprocess.run(
    command, cwd=PROJECT, env=plain, capture_output=True, text=True, check=True
).stdout
Markdown(f"```\n{listing}```")

# %% [markdown]
# ## What a row says
#
# Each table comes as Markdown, CSV, LaTeX and JSON, with a picture and a page. A cell is the **mean
# ± standard deviation over n training seeds**, on the test split. Three habits of reading:
#
# 1. A difference counts if it is larger than the deviations. With three seeds those are rough
#    themselves; without a ± there was one seed, and nothing can be said about chance.
# 2. The deviation is over seeds, not over test images: of another 360 test images two or
#    three more or fewer would be right at an accuracy of 0.98, whatever stands behind the ±.
# 3. Below each table stand its **conditions**: data and number of test images, protocol, seeds,
#    epochs, hardware, versions, commit. Numbers of different conditions are not to be compared.

# %%
pd.set_option("display.max_rows", 200, "display.max_colwidth", 60)


def read_table(name: str) -> pd.DataFrame:
    """A table with its headings, all digits."""
    return pd.read_csv(found[name] / "table.csv")


def show(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns and their `... std` as mean ± standard deviation."""
    cells = {}
    for heading in frame.columns:
        if heading.endswith(" std") and heading.removesuffix(" std") in frame:
            continue
        values, deviations = frame[heading], frame.get(f"{heading} std")
        if values.dtype == float:
            texts = [f"{value:.3g}" if value == value else "" for value in values]
            if deviations is not None:
                spread = [f" ± {std:.3f}" if std == std else "" for std in deviations]
                texts = [
                    f"{value:.3f}{std}" if value == value else ""
                    for value, std in zip(values, spread, strict=True)
                ]
            cells[heading] = texts
        else:
            cells[heading] = values.fillna("").astype(str).tolist()
    return pd.DataFrame(cells)


def read_conditions(name: str) -> str:
    """What stands below the table."""
    return (found[name] / "table.md").read_text().split("\n\n", 1)[1].strip()


example = next((name for name in ("attributes", *found) if name in found), None)
if example is not None:
    display(show(read_table(example)), Markdown(f"*{read_conditions(example)}*"))

# %% [markdown]
# In `table.json` there is also what was run, word for word, and where it ran:

# %%
if example is not None:
    record = records[example]
    where = {key: value for key, value in record.items() if key.startswith("run/")}
    settings = {f"run: {key}": str(value) for key, value in record["settings"].items()}
    with pd.option_context("display.max_colwidth", None):
        display(pd.Series(settings | where, name=example).to_frame())

# %% [markdown]
# ## What is published beside it
#
# Where a published figure could be found, it stands next to ours with the difference; where not,
# there is nothing, and never a guess. The paper's own tables could not be read, so these are
# figures of executed cells in the authors' notebooks, and of cross-entropy alone
# (`experiments/reference_numbers.yaml` has each with its source). They hold for the **full
# protocol**: 20 to 200 epochs on a GPU. Beside a `cpu` table, of a few epochs, a difference says
# how much the budget costs, not whether a result was reproduced.

# %%
published = [
    show(read_table(name)).assign(table=name, scale=found[name].name)
    for name in found
    if "published" in read_table(name)
]
rows = pd.concat(published) if published else pd.DataFrame({"published": []})
rows = rows[rows["published"] != ""]
if len(rows):
    display(rows.reset_index(drop=True))
else:
    display(Markdown("*No table that is there has a row with a published figure.*"))

# %% [markdown]
# ## Does negation cost anything?
#
# The claim of the method is about queries with *not*. Here are all rows, of all tables, that
# measured both kinds of query, each a method in one setting; a chance ranking has as mAP the share
# of images that answer. **Look at** the line: on it negated conjunctions are answered as well as
# positive ones. A method above it does not find negation easier: where labels are rare, more images
# answer `~hat` than `hat`, and chance alone finds more of them.

# %%
KEYS = {"test/retrieval/map_positive": "positive", "test/retrieval/map_negated": "negated"}
points = [
    {"table": f"{name}, {found[name].name}"}
    | {heading: row[key]["mean"] for key, heading in KEYS.items()}
    for name, record in records.items()
    for row in record["rows"]
    if all(isinstance(row.get(key), dict) for key in KEYS)
]
figure, axes = plt.subplots(figsize=(6.4, 4.4))
for label in dict.fromkeys(point["table"] for point in points):
    chosen = [point for point in points if point["table"] == label]
    positive, negated = ([point[kind] for point in chosen] for kind in ("positive", "negated"))
    axes.plot(positive, negated, "o", alpha=0.6, label=label)
axes.plot([0, 1], [0, 1], color="black", linewidth=0.8)
axes.set(xlabel="mAP, positive conjunctions", ylabel="mAP, conjunctions with negation")
axes.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
if points:
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## All tables that are there
#
# Each with its picture, its numbers and its conditions. The claims are counted instead of listed:
# how many of the measured rows hold, for each statement.

# %%
LARGEST, COLORS = (800, 1300), 32  # of a picture: pixels, and shades


def show_picture(path: Path) -> Image:
    """A figure, smaller than its file."""
    with PIL.Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail(LARGEST)
    file = BytesIO()
    small.quantize(COLORS, dither=PIL.Image.Dither.NONE).save(file, "png", optimize=True)
    return Image(file.getvalue())


for name in found:
    caption = " ".join(str(load_experiment(name, found[name].name, {}).caption).split())
    display(Markdown(f"### {titles[name]}: `{name}`, scale `{found[name].name}`"))
    display(show_picture(found[name] / "figure.png"), Markdown(f"*{caption}*"))
    frame = read_table(name)
    if "verdict" in frame:
        display(pd.crosstab(frame["claim"], frame["verdict"]))
    else:
        display(show(frame))
    display(Markdown(f"*{read_conditions(name)}*"))

# %% [markdown]
# ## A table of your own
#
# A file in `experiments/` with a `title`, a `caption`, `columns` (metrics of `metrics.json` with
# their headings) and `sweeps` of `src.train` is a table: `experiments/label_coding.yaml` is a short
# one to start from, and `python -m src.reproduce table=NAME` makes it.
