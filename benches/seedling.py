"""What pretraining is worth: `builtin("seedling")` against the same architecture from scratch, on the
quickstart's messages and on 200 rows of SMS spam, five seeds each.

    python benches/seedling.py --ftrun target/release/ftrun --data DATA [--seeds 5]

Both learn with the settings of the shipped pipelines. The difference of a score is its mean over the
seeds; its interval is a paired bootstrap over the test rows: every resample takes the same rows of both
models and of all seeds.
"""

import argparse
import csv
import os
import pathlib
import subprocess
import tempfile

import numpy

ROOT = pathlib.Path(__file__).parents[1]
RESAMPLES = 10_000


def predictions(ftrun, program, files, store, data, seed):
    """`(truth, predicted)` of every file that the program saves."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "program.ftp").write_text(program)
        (folder / "quickstart").symlink_to(ROOT / "pipelines" / "quickstart")
        command = [ftrun, "program.ftp", "--set", f"seed={seed}", "--store", store, "--quiet"]
        subprocess.run(command, cwd=folder, env={**os.environ, "FTRUN_DATA": data}, check=True, stdout=subprocess.DEVNULL)
        made = []
        for name in files:
            with open(folder / name, newline="", encoding="utf-8") as file:
                rows = sorted(csv.DictReader(file), key=lambda row: row["id"])
            made.append((numpy.array([row["label"] for row in rows]), numpy.array([row["predicted"] for row in rows])))
        return made


def quickstart():
    text = (ROOT / "pipelines" / "quickstart.ftp").read_text()
    text = text[: text.index("## What has to be beaten")]
    scratch = text.replace('builtin("seedling")', 'builtin("seedling", fresh = true)')
    save = 'save answers { table = predicted, to = "answers.csv" }\n'
    return [(text + save, ["answers.csv"]), (scratch + save, ["answers.csv"])]


def sms_spam():
    text = (ROOT / "pipelines" / "sms-spam-200.ftp").read_text()
    text += 'save answers { table = predicted, to = "answers.csv" }\n'
    text += 'save others { table = predicted_from_scratch, to = "others.csv" }\n'
    return [(text, ["answers.csv", "others.csv"])]


def accuracy(truth, predicted, rows):
    return (truth[rows] == predicted[rows]).mean()


def f1_spam(truth, predicted, rows):
    truth, predicted = truth[rows] == "spam", predicted[rows] == "spam"
    both = (truth & predicted).sum()
    return 2 * both / max(truth.sum() + predicted.sum(), 1)


def compare(name, score, pretrained, scratch):
    """`pretrained`, `scratch`: for each seed `(truth, predicted)`."""
    rows = len(pretrained[0][0])
    mean = lambda of, rows: numpy.mean([score(*one, rows) for one in of])
    whole = numpy.arange(rows)
    draw = numpy.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        chosen = draw.integers(0, rows, rows)
        found.append(mean(pretrained, chosen) - mean(scratch, chosen))
    low, high = numpy.quantile(found, [0.025, 0.975])
    a, b = mean(pretrained, whole), mean(scratch, whole)
    each = lambda of: " ".join(f"{score(*one, whole):.4f}" for one in of)
    print(f"| {name} | {each(pretrained)} | {each(scratch)} | {a:.4f} | {b:.4f} | {a - b:+.4f} ({low:+.4f} … {high:+.4f}) |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ftrun", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    ftrun, data = str(pathlib.Path(args.ftrun).resolve()), str(pathlib.Path(args.data).resolve())
    print("| test | pretrained, by seed | from scratch, by seed | mean | mean | difference |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as store:
        for test, programs, scores in [
            ("quickstart", quickstart(), {"accuracy": accuracy}),
            ("SMS spam, 200 rows", sms_spam(), {"accuracy": accuracy, "F1 of spam": f1_spam}),
        ]:
            arms = [[], []]
            for seed in range(1, args.seeds + 1):
                made = [one for text, files in programs for one in predictions(ftrun, text, files, store, data, seed)]
                for arm, one in zip(arms, made):
                    arm.append(one)
            for name, score in scores.items():
                compare(f"{test}, {name}", score, *arms)


if __name__ == "__main__":
    main()
