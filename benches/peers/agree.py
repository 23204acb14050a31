"""The first updates of ftrun and of PyTorch beside each other: the same parameters to start from, the
same rows in the same order, no dropout; where padding would count in the loss, it is left out.

    OMP_NUM_THREADS=2 python benches/peers/agree.py TASK --ftrun target/release/ftrun \\
        --model MODELS/all-MiniLM-L6-v2 --data DATA --updates 50

Runs the training of the shipped pipeline, cut to these updates, and prints the losses of both and the
largest relative difference. TASK: as in `finetune.py`.
"""

import argparse
import csv
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import torch
from transformers import AutoTokenizer

from finetune import TASKS, loss_without_padding, optimizer_and_schedule, update
from pytorch_classify import cut, ftrun_order

PIPELINES = pathlib.Path(__file__).parents[2] / "pipelines"
PROGRAM = {"go_emotions": "go-emotions"}
SEED = 1


def initial(task, model_folder, names, to):
    """A checkpoint with the head drawn and no dropout, under the name that the pipeline asks for."""
    model = task.model(model_folder)
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    if names:
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {name: at for at, name in enumerate(names)}
    model.save_pretrained(to)
    for file in pathlib.Path(model_folder).iterdir():
        if file.suffix in (".json", ".txt") and not (to / file.name).exists():
            shutil.copyfile(file, to / file.name)


def ours(args, folder):
    """The losses of the pipeline's training."""
    name = PROGRAM.get(args.task, args.task)
    program = (PIPELINES / f"{name}.ftp").read_text()
    program = re.sub(r"budget( *)= .*", rf"budget\1= {args.updates} updates", program)
    program = re.sub(r"(?m)^ *(keep|validate) .*\n", "", program)
    program = program[: program.index("eval ")]
    program += 'save losses { table = tuned.log, to = "losses.csv" }\n'
    (folder / "program.ftp").write_text(program)
    where = {"FTRUN_DATA": args.data, "FTRUN_MODELS": str(folder / "models")}
    threads = ["--threads", str(torch.get_num_threads())]
    command = [args.ftrun, "program.ftp", *threads]
    subprocess.run(command, cwd=folder, env={**os.environ, **where}, check=True, capture_output=True)
    with open(folder / "losses.csv", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]


def theirs(task, settings, rows, folder, updates):
    model = task.model(folder)
    model.train()
    optimizer, schedule = optimizer_and_schedule(model, settings, updates)
    losses = []
    for epoch in range(updates):
        for batch in cut(ftrun_order(SEED, epoch, len(rows)), settings["batch"]):
            made = task.collate([rows[at] for at in batch])
            losses.append(update(model, made, optimizer, schedule, loss_without_padding))
            if len(losses) == updates:
                return losses


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--ftrun", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--updates", type=int, default=50)
    args = parser.parse_args()
    args.ftrun = str(pathlib.Path(args.ftrun).resolve())
    args.data = str(pathlib.Path(args.data).resolve())
    kind, settings = TASKS[args.task]
    torch.manual_seed(SEED)
    task = kind(args.data, AutoTokenizer.from_pretrained(args.model), settings)
    rows = task.encode(task.rows("train"))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        drawn = folder / "models" / "all-MiniLM-L6-v2"
        drawn.mkdir(parents=True)
        initial(task, args.model, task.names, drawn)
        mine, other = ours(args, folder), theirs(task, settings, rows, drawn, args.updates)
    assert len(mine) == len(other), (len(mine), len(other))
    apart = [abs(a - b) / abs(b) for a, b in zip(mine, other)]
    print("| update | ftrun | PyTorch | apart |\n|---|---|---|---|")
    for at in sorted({0, *range(9, args.updates, 10), args.updates - 1}):
        print(f"| {at + 1} | {mine[at]:.6f} | {other[at]:.6f} | {apart[at]:.1e} |")
    print(json.dumps({"task": args.task, "updates": args.updates, "largest": max(apart)}), flush=True)


if __name__ == "__main__":
    main()
