"""ftrun and PyTorch in turn: the same rows, batches, updates and machine.

One case, then the whole table, then what of it speaks of MRPC:

    python benches/peers/compare.py --ftrun target/release/ftrun --shared shared \
        --workload sst2 --mode f32-padded --batch 32 --rows 1600 --pairs 5
    python benches/peers/compare.py --ftrun target/release/ftrun --shared shared --suite --out table.md
    python benches/peers/compare.py --ftrun target/release/ftrun --shared shared --suite --workload mrpc

`--out FILE.md` gets Markdown tables, written anew after every case; to `FILE.jsonl` beside it a line
of JSON per case is appended. `--shared` is a folder with `data/` and `models/`; `--python` a Python
with torch and transformers.

Workloads: `sst2` (sentences), `mrpc` (pairs), `long` (SST-2 sentences of one label joined to texts of
300 to 512 tokens, in a temporary file that both read).

Modes:
  f32-padded, bf16-padded     training; PyTorch pads the very batches that ftrun takes
  f32-grouped, bf16-grouped   training; PyTorch groups batches by length, ftrun stays as it is
  eval-f32, eval-bf16         answers and nothing else; both sort by length, ftrun cuts its own batches
  start                       seconds from the command to the first finished update, everything cached
  curves                      dropout off, same first parameters, same batches: how far losses differ
`--threads 1 2` measures with one and with two threads and prints how either side scales.

The first three updates (or batches) of a run are not counted. Tokens are real ones, without padding.
Memory is the largest resident set of the process. bf16 is `torch.autocast` there, `precision = bf16`
here.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
WARMUP = 3  # updates that are not counted
WINDOW = 50  # updates whose mean losses are compared


@dataclasses.dataclass(frozen=True)
class Workload:
    file: str | None  # below shared/data; none: made by prepare.py
    max_length: int
    text: str = "sentence"
    text_pair: str | None = None
    label: str = "label"


WORKLOADS = {
    "sst2": Workload("sst2/train_sentences.tsv", 128),
    "mrpc": Workload("mrpc/train.tsv", 128, "#1 String", "#2 String", "Quality"),
    "long": Workload(None, 512),
}


@dataclasses.dataclass(frozen=True)
class Case:
    workload: str
    mode: str
    batch: int
    rows: int
    threads: tuple[int, ...] | None = None  # none: all cores
    updates: int | None = None  # none: one epoch

    @property
    def total(self):
        return self.updates or -(-self.rows // self.batch)

    def __str__(self):
        threads = "+".join(map(str, self.threads))
        return (
            f"{self.workload} {self.mode}, batch {self.batch}, {self.rows} rows, threads {threads}"
        )


TRAINING = ["f32-padded", "f32-grouped", "bf16-padded", "bf16-grouped"]
EVALUATION = ["eval-f32", "eval-bf16"]
MODES = [*TRAINING, *EVALUATION, "start", "curves"]

# Enough rows for a steady speed. `long` in batches of 128 takes PyTorch more than 24 GiB.
ROWS = {
    ("sst2", 8): 800, ("sst2", 32): 1600, ("sst2", 128): 2560,
    ("mrpc", 8): 400, ("mrpc", 32): 960, ("mrpc", 128): 1280,
    ("long", 8): 120, ("long", 32): 256,
}  # fmt: skip
SUITE = [
    *(Case(of, mode, batch, rows) for (of, batch), rows in ROWS.items() for mode in TRAINING),
    *(Case("sst2", mode, batch, 3200) for batch in (32, 128) for mode in EVALUATION),
    *(Case("mrpc", mode, 32, 1600) for mode in EVALUATION),
    *(Case("long", mode, 8, 256) for mode in EVALUATION),
    *(Case("sst2", mode, 32, 1600, threads=(1, 2)) for mode in ("f32-grouped", "bf16-grouped")),
    Case("sst2", "start", 32, 1600),
    Case("sst2", "curves", 32, 1600, updates=150),
    Case("mrpc", "curves", 32, 960, updates=60),
]


class Failure(Exception):
    pass


# Running one side


@dataclasses.dataclass
class Run:
    updates: list[dict]  # progress events of the step that counts
    arrived: list[float]  # seconds from the command to each of them
    peak_mb: int

    def sum(self, field):
        return sum(update[field] for update in self.updates[WARMUP:])

    def speed(self):
        seconds = self.updates[-1]["seconds"] - self.updates[WARMUP - 1]["seconds"]
        rows, tokens = self.sum("rows"), self.sum("tokens")
        return {"tokens_s": tokens / seconds, "rows_s": rows / seconds, "peak_mb": self.peak_mb}

    def start(self):
        return {"seconds": self.arrived[0], "peak_mb": self.peak_mb}


def follow(command, step, environment=()):
    """Runs a command that writes events, and takes them as they come."""
    read, write = os.pipe()
    updates, arrived = [], []
    with open(read, encoding="utf-8") as events, tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        child = subprocess.Popen(
            [*map(str, command), "--events", f"/dev/fd/{write}"],
            pass_fds=[write],
            stdout=said,
            stderr=said,
            env=os.environ | dict(environment),
        )
        os.close(write)
        for line in events:
            event = json.loads(line)
            if event["event"] == "progress" and event["step"] == step:
                updates.append(event)
                arrived.append(time.perf_counter() - began)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
            raise Failure(f"`{command[0]}` ended with {child.returncode}:\n{text}")
    missing = {"seconds", "rows", "tokens"} - set(updates[0] if updates else ())
    if missing:
        raise Failure(f"`{command[0]}`: its progress lines lack {', '.join(sorted(missing))}")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Run(updates, arrived, round(kilobytes / 1024))


class Bench:
    """Both sides of one case, with a folder for what they need."""

    def __init__(self, args, case, folder):
        self.args, self.case, self.folder = args, case, pathlib.Path(folder)
        self.workload = WORKLOADS[case.workload]
        self.model = pathlib.Path(args.shared, "models", args.model).resolve()
        sentences = pathlib.Path(args.shared, "data", WORKLOADS["sst2"].file).resolve()
        if self.workload.file:
            self.file = pathlib.Path(args.shared, "data", self.workload.file).resolve()
        else:
            self.file = self.folder / "texts.tsv"
            self.prepare("long", "--source", sentences, "--rows", case.rows, "--to", self.file)
        self.evaluates = case.mode in EVALUATION
        if self.evaluates or case.mode == "curves":
            self.prepare("checkpoint", "--to", self.folder / "model")
            self.model = self.folder / "model"

    def prepare(self, what, *more):
        command = [self.args.python, HERE / "prepare.py", what, "--model", self.model, *more]
        made = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if made.returncode:
            raise Failure(made.stderr)

    def program(self, precision, seed, updates):
        case, workload = self.case, self.workload
        text = lambda value: json.dumps(str(value), ensure_ascii=False)
        columns = {"text": workload.text, "text_pair": workload.text_pair, "label": workload.label}
        columns = ", ".join(f"{role} = {text(name)}" for role, name in columns.items() if name)
        # What is left out is f32.
        precise = "" if precision == "f32" else f", precision = {precision}"
        if self.evaluates:
            step = f"eval predicted {{ model = encoder, data = tokens{precise} }}"
        else:
            step = f"""train tuned {{
  model = encoder, data = tokens, batch = {case.batch}, budget = {updates} updates
  seed = {seed}{precise}
  optimizer = adamw(learning_rate = 5e-5, weight_decay = 0.01), schedule = linear(warmup = 6%)
}}"""
        return f"""ftp 1
load-data rows {{
  source = files({text(self.file)}), format = tsv, columns = {{ {columns} }}, limit = {case.rows}
}}
load-model encoder {{ source = folder({text(self.model)}), head = sequence_classification }}
tokenize tokens {{
  data = rows, tokenizer = encoder, max_length = {workload.max_length}, overflow = truncate
}}
{step}
"""

    def ftrun(self, precision, seed, threads, updates):
        file = self.folder / "case.ftp"
        file.write_text(self.program(precision, seed, updates), encoding="utf-8")
        step = "predicted" if self.evaluates else "tuned"
        command = [self.args.ftrun, "run", file, "--quiet", "--store", self.folder / "store"]
        return follow([*command, "--threads", threads, "--force", step], step)

    def pytorch(self, precision, seed, threads, updates, order):
        case, workload = self.case, self.workload
        command = [self.args.python, HERE / "pytorch_classify.py"]
        command += ["--model", self.model, "--train", self.file, "--label", workload.label]
        command += ["--text", workload.text, "--max_length", workload.max_length]
        command += ["--rows", case.rows, "--batch", case.batch, "--order", order]
        command += ["--updates", updates, "--seeds", seed, "--threads", threads]
        command += ["--text_pair", workload.text_pair] if workload.text_pair else []
        command += ["--bf16"] if precision == "bf16" else []
        command += ["--eval"] if self.evaluates else []
        environment = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        return follow(command, "predicted" if self.evaluates else "tuned", environment)


def same_batches(ours, theirs):
    read = lambda run: [(update["rows"], update["tokens"]) for update in run.updates]
    for number, (one, other) in enumerate(zip(read(ours), read(theirs), strict=True), 1):
        if one != other:
            raise Failure(
                f"update {number}: ftrun read {one} rows and tokens, PyTorch {other}; "
                "the order or the tokens differ"
            )


# Cases


def pairs(bench):
    """Speed or start: pairs of runs one after the other, for every number of threads in turn."""
    case = bench.case
    start = case.mode == "start"
    precision = "bf16" if "bf16" in case.mode else "f32"
    order = "grouped" if case.mode.endswith("grouped") else "ftrun"
    updates = 1 if start else case.total
    if not start and not bench.evaluates and updates <= WARMUP:
        raise Failure(f"{updates} updates: nothing is left after {WARMUP} that warm up")
    measures, key = (Run.start, "seconds") if start else (Run.speed, "tokens_s")
    # What the first run reads, the second finds in the caches of files: it alone counts.
    times = 2 if start else 1
    made = {threads: [] for threads in case.threads}
    for pair in range(1, bench.args.pairs + 1):
        for threads in case.threads:
            for _ in range(times):
                ours = bench.ftrun(precision, pair, threads, updates)
            for _ in range(times):
                theirs = bench.pytorch(precision, pair, threads, updates, order)
            if order == "ftrun" and not bench.evaluates:
                same_batches(ours, theirs)
            one, other = measures(ours), measures(theirs)
            ratio = other[key] / one[key] if start else one[key] / other[key]
            made[threads].append({"ftrun": one, "pytorch": other, "ratio": ratio})
            many = f", {threads} threads" if len(case.threads) > 1 else ""
            print(f"  pair {pair}{many}: {line(made[threads][-1])}", flush=True)
    results = []
    for threads, runs in made.items():
        median = {
            side: {
                name: statistics.median(run[side][name] for run in runs) for name in runs[0][side]
            }
            for side in ("ftrun", "pytorch")
        }
        median["ratio"] = statistics.median(run["ratio"] for run in runs)
        print(f"  median, {threads} threads: {line(median)}")
        results.append({"threads": threads, "pairs": runs, "median": median})
    if len(results) > 1 and not start:
        first = results[0]["median"]
        for result in results[1:]:
            scales = {
                side: result["median"][side][key] / first[side][key]
                for side in ("ftrun", "pytorch")
            }
            result["scaling"] = scales
            print(
                f"  {result['threads']} threads are faster than {results[0]['threads']} by a factor "
                f"of {scales['ftrun']:.2f} (ftrun), {scales['pytorch']:.2f} (PyTorch)"
            )
    return results


def line(pair):
    sides = []
    for name, side in (("ftrun", pair["ftrun"]), ("PyTorch", pair["pytorch"])):
        if "seconds" in side:
            sides.append(f"{name} {side['seconds']:.2f} s, {side['peak_mb']:.0f} MB")
        else:
            sides.append(
                f"{name} {side['tokens_s']:.0f} tokens/s, {side['rows_s']:.1f} rows/s, "
                f"{side['peak_mb']:.0f} MB"
            )
    return f"{' | '.join(sides)} | ratio {pair['ratio']:.2f}"


def curves(bench):
    """The losses of the same updates on both sides, in both precisions."""
    threads, total = bench.case.threads[-1], bench.case.total
    losses, results = {}, []
    for precision in ("f32", "bf16"):
        ours = bench.ftrun(precision, 1, threads, total)
        theirs = bench.pytorch(precision, 1, threads, total, "ftrun")
        same_batches(ours, theirs)
        for side, run in (("ftrun", ours), ("PyTorch", theirs)):
            if "loss" not in run.updates[0]:
                raise Failure(f"{side}: its progress lines lack loss")
            losses[f"{side} {precision}"] = [update["loss"] for update in run.updates]
        compared = [(f"ftrun {precision}", f"PyTorch {precision}")]
        if precision == "bf16":
            compared += [(f"{side} bf16", f"{side} f32") for side in ("ftrun", "PyTorch")]
        for one, other in compared:
            result = {"one": one, "other": other, **distance(losses[one], losses[other])}
            results.append({"threads": threads, "curve": result})
            print(f"  {one} and {other}: {described(result)}", flush=True)
    results[-1]["losses"] = losses
    return results


def distance(one, other):
    """Of two series of losses: absolute by update, relative by the means of windows."""
    apart = [abs(a - b) for a, b in zip(one, other, strict=True)]
    means = lambda losses: [
        statistics.fmean(losses[start : start + WINDOW])
        for start in range(0, len(losses) - WINDOW + 1, WINDOW)
    ]
    windows = [(a - b) / b for a, b in zip(means(one), means(other))]
    return {"mean": statistics.fmean(apart), "largest": max(apart), "windows": windows}


def described(curve):
    windows = ", ".join(f"{window:+.3%}" for window in curve["windows"]) or "too few updates"
    return f"mean {curve['mean']:.2e}, largest {curve['largest']:.2e}, windows of {WINDOW}: {windows}"


# Results


def machine(args):
    """What a number was measured on."""
    asked = "import torch, transformers; print(torch.__version__, transformers.__version__)"
    versions = subprocess.run([args.python, "-c", asked], capture_output=True, text=True, check=True)
    ours = subprocess.run([args.ftrun, "--version"], capture_output=True, text=True, check=True)
    torch, transformers = versions.stdout.split()
    about = {}
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        pairs = (line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        about = {name.strip(): value.strip() for name, value in pairs}
    telling = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "cpu": about.get("model name", platform.processor()),
        "features": [flag for flag in telling if flag in about.get("flags", "").split()],
        "cores": os.cpu_count(),
        "ftrun": ours.stdout.split()[-1],
        "torch": torch,
        "transformers": transformers,
        "date": datetime.date.today().isoformat(),
    }


SPEED = (
    "| workload | mode | batch | rows | threads | ftrun tokens/s | PyTorch tokens/s | ratio "
    "| ftrun rows/s | PyTorch rows/s | ftrun MB | PyTorch MB |"
)
START = "| workload | batch | rows | threads | ftrun s | PyTorch s | ratio | ftrun MB | PyTorch MB |"
CURVES = "| workload | batch | updates | compared | mean | largest | means of windows |"


def table(about, records):
    """Markdown of all cases so far."""
    made = {SPEED: [], START: [], CURVES: []}
    for record in records:
        case, result = record["case"], record["result"]
        if "curve" in result:
            curve = result["curve"]
            windows = ", ".join(f"{window:+.2%}" for window in curve["windows"])
            cells = [case["workload"], case["batch"], case["updates"]]
            cells += [f"{curve['one']} and {curve['other']}", f"{curve['mean']:.2e}"]
            made[CURVES].append([*cells, f"{curve['largest']:.2e}", windows])
            continue
        median = result["median"]
        ours, theirs = median["ftrun"], median["pytorch"]
        ratios = [pair["ratio"] for pair in result["pairs"]]
        ratio = f"**{median['ratio']:.2f}** ({min(ratios):.2f}–{max(ratios):.2f})"
        numbers = [case["batch"], case["rows"], result["threads"]]
        memory = [f"{ours['peak_mb']:.0f}", f"{theirs['peak_mb']:.0f}"]
        if "seconds" in ours:
            seconds = [f"{ours['seconds']:.2f}", f"{theirs['seconds']:.2f}"]
            made[START].append([case["workload"], *numbers, *seconds, ratio, *memory])
        else:
            cells = [f"{ours['tokens_s']:.0f}", f"{theirs['tokens_s']:.0f}", ratio]
            cells += [f"{ours['rows_s']:.1f}", f"{theirs['rows_s']:.1f}", *memory]
            made[SPEED].append([case["workload"], case["mode"], *numbers, *cells])
    lines = [
        f"{about['date']}, {about['cpu']} ({', '.join(about['features'])}), {about['cores']} cores; "
        f"ftrun {about['ftrun']}, PyTorch {about['torch']}, transformers {about['transformers']}.",
    ]
    for head, rows in made.items():
        if rows:
            lines += ["", head, "|---" * head.count(" | ") + "|---|"]
            lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    lines += ["", "Medians; in parentheses the ratios of the pairs. Above 1, ftrun is faster."]
    return "\n".join(lines) + "\n"


def cases(args):
    if args.suite:
        wanted = lambda case: all(
            getattr(args, name) in (None, getattr(case, name))
            for name in ("workload", "mode", "batch")
        )
        chosen = [case for case in SUITE if wanted(case)]
    else:
        workload, mode, batch = args.workload or "sst2", args.mode or "f32-padded", args.batch or 32
        chosen = [Case(workload, mode, batch, ROWS.get((workload, batch), 50 * batch))]
    for case in chosen:
        given = {name: getattr(args, name) for name in ("rows", "updates", "threads")}
        given = {name: value for name, value in given.items() if value}
        case = dataclasses.replace(case, **given)
        yield dataclasses.replace(case, threads=tuple(case.threads or [os.cpu_count()]))


def main(args):
    about = machine(args)
    print(json.dumps(about))
    records, failed = [], 0
    for case in cases(args):
        print(case, flush=True)
        try:
            with tempfile.TemporaryDirectory() as folder:
                bench = Bench(args, case, folder)
                results = curves(bench) if case.mode == "curves" else pairs(bench)
        except Failure as failure:
            print(f"  failed: {failure}", flush=True)
            failed += 1
            continue
        asked = {**dataclasses.asdict(case), "updates": case.total}
        new = [{"machine": about, "case": asked, "result": result} for result in results]
        records += new
        if args.out:  # after every case, so that nothing is lost
            args.out.write_text(table(about, records), encoding="utf-8")
            with open(args.out.with_suffix(".jsonl"), "a", encoding="utf-8") as file:
                file.writelines(json.dumps(record) + "\n" for record in new)
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ftrun", required=True, help="the program")
    parser.add_argument("--shared", required=True, help="a folder with data/ and models/")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="below shared/models")
    parser.add_argument("--suite", action="store_true", help="all cases that fit what else is given")
    parser.add_argument("--workload", choices=WORKLOADS)
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--updates", type=int, help="instead of one epoch")
    parser.add_argument("--threads", type=int, nargs="+")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path)
    sys.exit(main(parser.parse_args()))
