"""Keeps a measured run in docs/measured/: its command, recipe, environment and metrics, since caches do not last.

    python -m benchmarks.measured dog-breed lite2 --run 2026 --command "invoke run --comp dog-breed"

The tables of README.md, docs/measured.md and the competition files are made of these files.
"""

import argparse
import json
import re

from pipeline.files import write_json
from pipeline.paths import REPOSITORY
from pipeline.runs.load import find_run_folder, load_run

FOLDER = REPOSITORY / "docs" / "measured"


def main() -> None:
    """Runs as a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comp", help="name of the competition")
    parser.add_argument("name", help="of the file, such as lite2")
    parser.add_argument("--run", required=True, help="the beginning of a run's name")
    parser.add_argument("--command", required=True, help="that made the run")
    wanted = parser.parse_args()
    run = load_run(find_run_folder(wanted.run, wanted.comp))
    record = {
        "command": wanted.command,
        "run": run.folder.name,
        "recipe": run.recipe,
        "environment": run.environment,
        "metrics": run.results,
    }
    path = FOLDER / wanted.comp / f"{wanted.name}.json"
    # A weights file is named without its folder, which depends on the machine.
    write_json(path, json.loads(re.sub(r"=[^\"=]*/([^\"/]+)", r"=\1", json.dumps(record))))
    print(f"{path.relative_to(REPOSITORY)}: {run.results['metric']} {run.results['score']:.5f}")


if __name__ == "__main__":
    main()
