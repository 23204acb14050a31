"""ftrun's methods in turn: the same rows, batches and updates; rows a second and memory of each.

    python benches/peers/methods.py --ftrun target/release/ftrun --shared shared \
        --methods full lora "lora(targets = all_linear)" dora ia3 head_only --rows 960 --pairs 5

`--shared` is a folder with `data/sst2` and `models/all-MiniLM-L6-v2`. Each round runs every method
once; figures are medians over rounds, ratios are to the first method of the same round. The first
three updates of a run are not counted. Memory is the largest resident set of the process.
"""

import argparse
import json
import pathlib
import statistics
import tempfile

from compare import WORKLOADS, follow

OF_SST2 = WORKLOADS["sst2"]


def program(args, method, seed):
    text = lambda path: json.dumps(str(path))
    file = pathlib.Path(args.shared, "data", OF_SST2.file).resolve()
    model = pathlib.Path(args.shared, "models", args.model).resolve()
    updates = -(-args.rows // args.batch)
    return f"""ftp 1
load-data rows {{
  source = files({text(file)}), columns = {{ text = "sentence", label = "label" }}, limit = {args.rows}
}}
load-model encoder {{ source = folder({text(model)}), head = sequence_classification }}
tokenize tokens {{ data = rows, tokenizer = encoder, max_length = 128, overflow = truncate }}
train tuned {{
  model = encoder, data = tokens, batch = {args.batch}, budget = {updates} updates, seed = {seed}
  method = {method}, precision = {args.precision}
  optimizer = adamw(learning_rate = 5e-4, weight_decay = 0.01), schedule = linear(warmup = 6%)
}}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ftrun", default="target/release/ftrun")
    parser.add_argument("--shared", required=True)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--methods", nargs="+", default=["full", "lora"])
    parser.add_argument("--rows", type=int, default=960)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    found = {method: [] for method in args.methods}
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "case.ftp")
        for seed in range(1, args.pairs + 1):
            for method in args.methods:
                file.write_text(program(args, method, seed), encoding="utf-8")
                store = pathlib.Path(folder, "store")
                command = [args.ftrun, "run", file, "--quiet", "--store", store, "--force", "tuned"]
                found[method].append(follow(command, "tuned").speed())
                print(seed, method, found[method][-1], flush=True)
    first = found[args.methods[0]]
    print("| method | rows/s | ratio | MB | ratio |\n|---|---|---|---|---|")
    for method, runs in found.items():
        median = lambda key: statistics.median(run[key] for run in runs)
        ratio = lambda key: statistics.median(
            run[key] / one[key] for run, one in zip(runs, first, strict=True)
        )
        print(
            f"| `{method}` | {median('rows_s'):.1f} | {ratio('rows_s'):.2f} "
            f"| {median('peak_mb'):.0f} | {ratio('peak_mb'):.2f} |"
        )


if __name__ == "__main__":
    main()
