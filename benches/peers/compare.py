"""ftrun and PyTorch in turn, on the same rows, in the same run: rows per second of training.

    python benches/peers/compare.py --ftrun target/release/ftrun --model all-MiniLM-L6-v2 \
        --train sst2/train_sentences.tsv --validation sst2/dev.tsv --rows 1600 --pairs 5

Both fine-tune the same checkpoint on the first rows of the file, one epoch, batches of 32, 32-bit
floats, all cores. PyTorch's time counts updates alone; ftrun's counts its whole `train` step, with
assembling the model and storing the result. Prints each pair and the medians. Needs torch and
transformers in the Python that runs it.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

PROGRAM = """ftp 1
load-data rows {{ source = files("{train}"), format = tsv, columns = {{ text = "sentence", label = "label" }}, limit = {rows} }}
load-model encoder {{ source = folder("{model}"), head = sequence_classification }}
tokenize tokens {{ data = rows, tokenizer = encoder, max_length = {max_length}, overflow = truncate }}
train tuned {{
  model = encoder, data = tokens, batch = {batch}, budget = 1 epoch, seed = {seed}
  optimizer = adamw(learning_rate = 5e-5, weight_decay = 0.01), schedule = linear(warmup = 6%)
}}
"""


def ftrun(args, seed):
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "rows.ftp"
        program.write_text(
            PROGRAM.format(
                train=pathlib.Path(args.train).resolve(),
                model=pathlib.Path(args.model).resolve(),
                rows=args.rows,
                batch=args.batch,
                max_length=args.max_length,
                seed=seed,
            )
        )
        run = subprocess.run(
            [args.ftrun, str(program), "--json"], capture_output=True, text=True, check=False
        )
        if run.returncode:
            sys.exit(run.stderr + run.stdout)
        steps = {step["name"]: step for step in json.loads(run.stdout)["steps"]}
        return args.rows / steps["tuned"]["seconds"]


def pytorch(args, seed):
    peer = pathlib.Path(__file__).with_name("pytorch_sst2.py")
    run = subprocess.run(
        [sys.executable, peer, "--model", args.model, "--train", args.train]
        + ["--validation", args.validation, "--rows", str(args.rows), "--epochs", "1"]
        + ["--batch", str(args.batch), "--max_length", str(args.max_length)]
        + ["--order", args.order, "--seeds", str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        sys.exit(run.stderr)
    return json.loads(run.stdout.splitlines()[-1])["rows_per_second"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ftrun", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--validation", required=True)
    parser.add_argument("--rows", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--max_length", type=int, default=128)
    parser.add_argument("--order", choices=["padded", "grouped"], default="padded")
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    pairs = []
    for seed in range(1, args.pairs + 1):
        pairs.append((ftrun(args, seed), pytorch(args, seed)))
        ours, theirs = pairs[-1]
        print(f"pair {seed}: ftrun {ours:.1f} rows/s, PyTorch {theirs:.1f}, ratio {ours / theirs:.2f}", flush=True)
    ours, theirs = (statistics.median(side) for side in zip(*pairs))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"median: ftrun {ours:.1f} rows/s, PyTorch {theirs:.1f} ({args.order}), ratio {ratio:.2f}")
