"""Does the service stay small and fast as it grows? 1,000, 100,000 and 1,000,000 rows and clients.

Each database has as many clients, with a key each, as rows in `revoked_jtis`. An ordinary *week*
is 80 % spent refresh tokens and 20 % ended sessions; in a *burst* every row is a session that was
ended in the last ten minutes, so that the whole table is in each worker's copy. Then: two workers;
what else a worker may bear; and with the most rows, refreshes and purges. Run by `make scale`;
`--sqlite --rounds 1 --sizes 1000,10000` is a quick look, which keeps no result; `--purges` measures
these alone, beside what is kept of the rest.
"""

import argparse
import json
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(1, str(Path(__file__).parent.parent / "verifiers" / "python"))

import interpreter
import scale_report
import scale_rounds
import service
import wrk
from scale_burdens import BURDENS
from scale_purges import measure_purges, measure_refreshes
from scale_subjects import SIZES, Report, Subject, fill_postgres, fill_sqlite
from service import Void

from tests.postgres import run_synced

RESULTS = Path(__file__).parent / "results"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--sqlite", action="store_true", help="leave out PostgreSQL")
    parser.add_argument("--purges", action="store_true", help="measure nothing else")
    return parser.parse_args()


def measure(folder: Path, options: argparse.Namespace) -> Report:
    sizes = [int(size) for size in options.sizes.split(",")]
    subjects = [subject for size in sizes for subject in fill_sqlite(folder, size)]
    weeks = [subject for subject in subjects if subject.variant == "week"]
    subjects += [subject.but(workers=2) for subject in weeks]
    subjects += [weeks[0].but(beside=burden) for burden in BURDENS if burden]
    scale_rounds.measure(subjects, options.rounds)
    refreshes, purges = refresh(weeks[-1]), measure_purges(weeks[-1])
    with nullcontext() if options.sqlite else run_synced() as postgres:
        if postgres:
            others = [each for size in sizes for each in fill_postgres(postgres, folder, size)]
            scale_rounds.measure(others, options.rounds)
            subjects += others
    return {
        "sizes": [subject.report() for subject in subjects],
        "refreshes": refreshes,
        "purges": purges,
    }


def measure_purges_alone(folder: Path) -> Report:
    """Beside all that was measured before."""
    (week,) = (each for each in fill_sqlite(folder, max(SIZES)) if each.variant == "week")
    found: Report = json.loads((RESULTS / "scale.json").read_text())
    return found | {"purges": measure_purges(week)}


def refresh(subject: Subject) -> Report:
    try:
        return measure_refreshes(subject)
    except Void as reason:
        return {"void": str(reason)}


def main() -> None:
    options = arguments()
    wrk.demand()
    found: Report = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "python": interpreter.describe_other(service.PYTHON),
        "rounds": options.rounds,
        "load_before": round(os.getloadavg()[0], 1),
    }
    with TemporaryDirectory(prefix="scale-") as folder:
        if options.purges:
            found = measure_purges_alone(Path(folder))
        else:
            found |= measure(Path(folder), options)
            found["load_after"] = round(os.getloadavg()[0], 1)
    text = scale_report.show(found)
    print(text)
    if options.sizes == ",".join(map(str, SIZES)):
        (RESULTS / "scale.json").write_text(json.dumps(found, indent=1) + "\n")
        (RESULTS / "scale.md").write_text(text)


if __name__ == "__main__":
    main()
