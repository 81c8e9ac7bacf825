"""All commands by one name, from any folder: `vss train`, which is `python -m src.train`."""

import ast
import runpy
import sys
from pathlib import Path

from src.config.groups import CONF_DIR

COMMANDS = sorted(path.stem for path in CONF_DIR.glob("*.yaml"))


def main() -> None:
    """Run the command that the first argument names, with the others."""
    if not COMMANDS:
        sys.exit(f"error: no {CONF_DIR}: install a checkout, by `pip install -e .` in its folder")
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h"):
        sys.stdout.write(usage())
    elif name in COMMANDS:
        del sys.argv[1]
        # As `python -m` does it: Lightning starts further processes by the name of this module.
        runpy.run_module(f"src.{name}", run_name="__main__", alter_sys=True)
    else:
        sys.exit(f"error: there is no command {name!r}; choose from {', '.join(COMMANDS)}")


def usage() -> str:
    """Say what each command does, in the first words of its file."""
    lines = ["Usage: vss COMMAND [KEY=VALUE ...]     vss COMMAND --help explains one", ""]
    for name in COMMANDS:
        source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        said = ast.get_docstring(ast.parse(source)) or ""
        lines.append(f"  {name:10} {said.partition(':')[0]}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
