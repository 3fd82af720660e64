"""`python -m tests.mutation [module ...]`: mutants of `agent/plan` and `agent/repository` against tests that call them.

Modules are named below `agent`, `plan.sweep` say; none means those that docs/mutants.md has figures of, which takes two
cores an hour. Prints how many mutants of each module ended how, and each survivor that docs/mutants.md doesn't answer
for, as the row that it lacks. Exit 0 only if there is none.
"""

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

from tests.mutation.found import results
from tests.mutation.listed import cell, counted, listed

ROOT = Path(__file__).resolve().parents[2]
MUTMUT = Path(sys.executable).with_name("mutmut")
MEMORY = 8 << 30
"""Bytes of addresses: a mutant that gathers for ever ends here and not the machine."""


def main() -> int:
    """Run, then compare with what is listed."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--last", action="store_true", help="compare the results that the last run left")
    asked = parser.parse_args()
    document = (ROOT / "docs" / "mutants.md").read_text(encoding="utf-8")
    modules = asked.modules or counted(document)
    if not asked.last:
        os.environ["PATH"] = f"{MUTMUT.parent}{os.pathsep}{os.environ['PATH']}"  # mutmut starts mypy by its name
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        patterns = [f"agent.{module}.*" for module in modules]
        subprocess.run([MUTMUT, "run", "--max-children", "2", *patterns], cwd=ROOT, check=True)
    answered = listed(document)
    unanswered = 0
    for module_or_package in modules:
        found = results(str(MUTMUT), module_or_package)
        for module, ended in sorted(found.counts.items()):
            print(module, ", ".join(f"{status} {number}" for status, number in sorted(ended.items())))
        for one in sorted(found.survivors - answered, key=lambda one: (one.module, one.function, one.old)):
            print(f"| `{one.module}::{one.function}` | {cell(one)} |  |")
            unanswered += 1
    print(f"{unanswered} survivors that docs/mutants.md doesn't answer for")
    return 1 if unanswered else 0


if __name__ == "__main__":
    sys.exit(main())
