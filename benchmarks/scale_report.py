"""The tables of growth: each cost as a multiple of that of the smallest database."""

from statistics import median

from growth import CALLS, VARIANTS, Report, base_of, growth
from report import spread, table
from scale_purges import KINDS, PACE, REFRESHES


def show(found: Report) -> str:
    sizes = found["sizes"]
    plain = [one for one in sizes if not one["beside"]]
    tables = [
        _sizes(engine, [one for one in plain if one["engine"] == engine], sizes)
        for engine in dict.fromkeys(one["engine"] for one in plain)
    ]
    tables += [_burdens(sizes), _refreshes(found["refreshes"]), _purges(found["purges"])]
    return "\n\n".join([_note(found), *tables]) + "\n"


def _note(found: Report) -> str:
    return (
        f"{found['rounds']} rounds, in which all took turns; {found['cores']} cores,"
        f" {found['python']}, load average {found['load_before']} to {found['load_after']},"
        f" {found['date']}. The costs are the CPU time of a request over that with the fewest rows"
        " in the same round: medians, with the lowest and the highest."
    )


def _sizes(engine: str, shown: list[Report], sizes: list[Report]) -> str:
    rows = []
    for one in shown:
        kind = VARIANTS[one["variant"]] + (", 2 workers" if one["workers"] == 2 else "")
        rows.append([kind, f"{one['size']:,}", _median(one, "start_seconds", "{:.2f} s")])
        rows[-1] += [_median(one, name, "{:.0f} MB") for name in ("rss_mb", "rss_after_mb")]
        rows[-1] += [_growth(one, sizes, call) for call in CALLS]
    head = [engine, "rows and clients", "start-up", "memory", "after the logins", *CALLS.values()]
    return table(head, rows)


def _burdens(sizes: list[Report]) -> str:
    rows = [
        [
            one["beside"] or "nothing",
            _median(one, "idle_share", "{:.0%} of a core"),
            _median(one, "rss_after_mb", "{:.0f} MB"),
            *(_growth(one, sizes, call) for call in CALLS),
        ]
        for one in sizes
        if one["beside"] or one is base_of(sizes, one)
        if one["engine"] == "SQLite"
    ]
    head = ["one worker, 1,000 rows, and beside that", "idle", "memory", *CALLS.values()]
    return table(head, rows)


def _median(one: Report, name: str, form: str) -> str:
    values = [each[name] for each in one["rounds"] if each]
    return form.format(median(values)) if values else "void"


def _growth(one: Report, sizes: list[Report], call: str) -> str:
    ratios = growth(one, base_of(sizes, one), call)
    return spread(ratios) if ratios else "void"


def _refreshes(found: Report) -> str:
    if "void" in found:
        return f"The refreshes are void: {found['void']}"
    rows = []
    for when in ("before", "after"):
        got = found[when]
        counts = [f"{got['rss_mb']:.1f}", f"{got['ids_in_copy']:,}", f"{got['spent_rows']:,}"]
        rows.append([f"{when} {REFRESHES:,}", *counts])
    return table(["refreshes", "resident, MB", "ids in the copy", "spent refresh tokens"], rows)


def _purges(found: Report) -> str:
    rows = []
    for when, got in found.items():
        work = ""
        if "deleted" in got:
            work = f"{got['deleted']:,} of {got['of']:,} in {got['seconds']:.0f} s"
        if "void" in got:
            rows.append([when, work, f"void: {got['void']}", *[""] * (len(KINDS) - 1)])
            continue
        rows.append([when, work, *(_latency(got[kind]) for kind in KINDS)])
    head = [f"{PACE} requests a second, during", "rows"]
    return table([*head, *(f"{kind}, p50; p99, ms" for kind in KINDS)], rows)


def _latency(turns: list[Report]) -> str:
    """The medians of the turns; of p99 also the lowest and the highest."""
    p50, p99 = ([turn[which] for turn in turns] for which in ("p50_ms", "p99_ms"))
    return f"{median(p50):.1f}; {median(p99):.1f} ({min(p99):.1f}-{max(p99):.1f})"
