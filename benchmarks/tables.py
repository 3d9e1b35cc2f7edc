"""Prints the tables of `docs/performance.md` from the figures that `make bench` wrote.

python -m benchmarks.tables out/bench-*.json
"""

import json
import sys
from pathlib import Path


def main(files):
    runs = [json.loads(Path(file).read_text()) for file in files]
    for run in runs:
        print(", ".join(f"{key}: {value}" for key, value in run["machine"].items()))
    columns = [run["machine"]["backend"].split()[0] for run in runs]
    for part in ("decoders", "layers", "compiled"):
        _races(part, [run.get(part, {}) for run in runs], columns)
    for part in ("regret", "even"):
        _ratios(part, [run.get(part) for run in runs], columns)
    _memory([run.get("memory", {}) for run in runs], columns)
    _limit([run.get("limit", {}) for run in runs], columns)


def _races(part, runs, columns):
    """A row a race: our time, and what its competitors take of it."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        for title, times in run.items():
            others = tuple(_kind(name) for name in times if name != "ours")
            kinds.setdefault(others, [])
            kinds[others] += [title] if title not in kinds[others] else []
    for others, titles in kinds.items():
        _header(f"{part}: ours, and by what to multiply it for {' / '.join(others)}", columns)
        for title in titles:
            _row(title, [_race(run.get(title)) for run in runs])


def _race(times):
    if times is None:
        return "-"
    factors = [f"{ms / times['ours']:.2f}" for name, ms in times.items() if name != "ours"]
    return f"{times['ours']:.1f} ms: {' / '.join(factors)}"


def _kind(name):
    """A competitor without its numbers."""
    return name.split("(")[0]


def _ratios(part, runs, columns):
    if not any(runs):
        return
    _header(f"{part}: median / worst", columns)
    for step in ("forward", "gradient"):
        for name in next(filter(None, runs))["ratios"][step]:
            cells = [run and run["ratios"][step][name] for run in runs]
            _row(
                f"{name}, {step}",
                [f"{c['median']:.2f} / {c['worst']:.2f}" if c else "-" for c in cells],
            )


def _memory(runs, columns):
    _header("memory, MiB", columns)
    for name in next(filter(None, runs), {}):
        _row(name, [f"{run[name]:.0f}" if run else "-" for run in runs])


def _limit(runs, columns):
    print("\n| limit | | dense, 1e9/s | plain | transposed | products |\n|---|---|---|---|---|---|")
    for run, column in zip(runs, columns, strict=True):
        for title, found in run.items():
            rate, *forms = found.values()
            shares = [f"{f['limit ms'] / f['ms']:.0%} ({f['ms']:.1f} ms)" for f in forms]
            print(f"| {column} | {title} | {rate:.0f} | {' | '.join(shares)} |")


def _header(title, columns):
    print(f"\n| {title} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")


def _row(title, cells):
    print(f"| {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
