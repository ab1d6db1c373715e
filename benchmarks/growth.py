"""What grew, from the figures of `make scale`."""

from typing import Any

Report = dict[str, Any]
VARIANTS = {"week": "an ordinary week", "burst": "all ended in the last ten minutes"}
CALLS = {
    "secure_data": "`/secure-data`",
    "me": "`/me`",
    "first_login": "login, the first",
    "login": "login, once more",
}


def growth(one: Report, base: Report, call: str) -> list[float]:
    """CPU per request over that of `base` in the same round."""
    return [
        ours[call]["cpu_us"] / theirs[call]["cpu_us"]
        for ours, theirs in zip(one["rounds"], base["rounds"], strict=True)
        if ours and theirs
    ]


def base_of(sizes: list[Report], one: Report) -> Report:
    """The smallest database of the same engine, with one worker and nothing beside."""
    return next(
        each
        for each in sorted(sizes, key=lambda each: int(each["size"]))
        if (each["engine"], each["workers"], each["beside"]) == (one["engine"], 1, "")
    )
