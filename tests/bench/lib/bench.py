"""What every benchmark shares: servers and their CPU, alternating runs, rows, the table.

Rules (docs/benchmarks.md): both sides in one run on one machine and one file system, A B A B, at
least five runs of at least five seconds each, median and spread printed, CPU of all server
processes, raw samples in build/bench/*.json; a run with an error or a wrong answer fails the row.
"""
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
from processes import (BIN, SOURCE, TMP, Failed, Server, free_ports,  # noqa: E402,F401
                       pause, rmtree, wait_for, workdir)

ROUNDS = int(os.environ.get("DRAFT_BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("DRAFT_BENCH_SECONDS", "5"))
WANT_JSON = "--json" in sys.argv


def progress(text):
    print(f"   {text}", file=sys.stderr, flush=True)


def cpu_total(servers):
    return sum(s.cpu_s() for s in servers)


def load(servers, program="h2_load", **options):
    """One run of a load generator; adds cpu_us: server CPU per operation (per message for
    streams)."""
    argv = [f"{BIN}/{program}"]
    for name, value in options.items():
        if value is True:
            argv.append(f"--{name}")
        elif value is not None:
            argv += [f"--{name}", str(value)]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    if child.stdout.readline().strip() != "measuring":
        raise Failed(f"{' '.join(argv)} did not start")
    before = cpu_total(servers)
    if child.stdout.readline().strip() != "measured":
        raise Failed(f"{' '.join(argv)} did not finish")
    after = cpu_total(servers)
    result = json.loads(child.stdout.readline() or "{}")
    if child.wait() != 0 or not result or result["errors"] or result["wrong"]:
        raise Failed(f"{' '.join(argv)}: {result}")
    done = result["messages"] if options.get("kind") == "download" else result["ops"]
    result["cpu_us"] = (after - before) * 1e6 / max(1, done)
    return result


def alternate(sides, run, rounds=None):
    """A B A B …: {side: [sample, …]}."""
    samples = {name: [] for name in sides}
    for number in range(rounds or ROUNDS):
        for name in sides:
            samples[name].append(run(name))
        progress(f"round {number + 1} of {rounds or ROUNDS}")
    return samples


def median(samples, key):
    return statistics.median(s[key] for s in samples)


def spread(samples, key):
    values = [s[key] for s in samples]
    return (max(values) - min(values)) / 2 / statistics.median(values) if any(values) else 0.0


class Table:
    """Rows of one benchmark; printed at the end, raw samples kept beside."""

    def __init__(self, bench):
        self.bench = bench
        self.rows = []
        self.samples = {}

    def row(self, case, ours, unit, peer=None, peer_name=None, goal=None, lower_is_better=False,
            note="", samples=None):
        reference = peer if goal is None else goal
        ratio = reference / ours if lower_is_better else ours / reference
        row = {"bench": self.bench, "case": case, "ours": round(ours, 3)}
        if goal is None:
            row.update(peer=round(peer, 3), peer_name=peer_name)
        else:
            row.update(goal=goal)
        row.update(unit=unit, ratio=round(ratio, 3))
        self.rows.append((row, note))
        if samples is not None:
            self.samples[case] = samples

    def finish(self):
        os.makedirs(f"{SOURCE}/build/bench", exist_ok=True)
        with open(f"{SOURCE}/build/bench/{self.bench}.json", "w", encoding="utf-8") as f:
            json.dump({"rows": [r for r, _ in self.rows], "samples": self.samples,
                       "machine": machine(), "date": time.strftime("%Y-%m-%d")}, f, indent=1)
        if WANT_JSON:
            for row, _ in self.rows:
                print(json.dumps(row))
            return
        print(f"{machine()} · {filesystem(TMP)} · {time.strftime('%Y-%m-%d')}")
        print(f"{'case':24} {'ours':>12} {'peer or goal':>24} {'unit':>10} {'ratio':>7}  note")
        for row, note in self.rows:
            against = (f"{row['goal']:g} (goal)" if "goal" in row
                       else f"{row['peer']:g} ({row['peer_name']})")
            print(f"{row['case']:24} {row['ours']:>12g} {against:>24} {row['unit']:>10} "
                  f"{row['ratio']:>7.2f}  {note}")


def machine():
    model = "unknown CPU"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{os.cpu_count()} × {model}"


def filesystem(path):
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True,
                          check=True).stdout.strip()
    if kind == "tmpfs":
        raise SystemExit(f"bench: '{path}' is on tmpfs, where fsync means nothing: set DRAFT_TMP")
    return kind


def main(bench, cases):
    """Run the cases, or those named on the command line; a failed one is reported, the rest still
    run, the exit code is 1."""
    table, failed = Table(bench), []
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    for case in cases:
        if wanted and case.__name__ not in wanted:
            continue
        progress(case.__name__.replace("_", " "))
        try:
            case(table)
        except Failed as error:
            failed.append(f"{case.__name__}: {error}")
            print(f"bench {bench}: {failed[-1]}", file=sys.stderr)
    table.finish()
    return 1 if failed else 0
