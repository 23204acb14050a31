"""PyTorch and transformers fine-tuning (or evaluating) a text classifier: what ftrun is compared with.

    python benches/peers/pytorch_classify.py --model all-MiniLM-L6-v2 --train sst2/train.tsv \
        --validation sst2/dev.tsv --rows 10000 --epochs 2 --order grouped --seeds 1 2 3

is the yardstick of `pipelines/sst2.ftp`. Prints one line of JSON per seed: rows and tokens per second
(the first three updates warm up), peak memory, and with `--validation` the accuracy on those rows.
`--eval` trains nothing and times the answers for the rows of `--train`. `--events FILE` appends a
line of JSON per update, with the fields that ftrun writes. `compare.py` runs this beside ftrun.

Orders: `padded` takes random batches and pads them, as everybody does; `grouped` sorts by length
within windows of 50 batches and shuffles the batches; `ftrun` takes the very batches of ftrun's
`seed`, padded.
"""

import argparse
import contextlib
import csv
import itertools
import json
import os
import resource
import time

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers import get_linear_schedule_with_warmup

WARMUP = 3  # updates that are not timed


class Rows:
    """Tokenized rows; `batch` pads some of them to the longest."""

    def __init__(self, path, tokenizer, args, limit=None):
        with open(path, encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            rows = list(itertools.islice(table, limit))
        texts = [row[args.text] for row in rows]
        pairs = [row[args.text_pair] for row in rows] if args.text_pair else None
        encoded = tokenizer(texts, pairs, truncation=True, max_length=args.max_length)
        self.input_ids = [torch.tensor(ids) for ids in encoded["input_ids"]]
        # BERT takes zeros by itself where there is one text.
        self.segments = [torch.tensor(ids) for ids in encoded["token_type_ids"]] if pairs else None
        self.lengths = [len(ids) for ids in self.input_ids]
        self.labels = torch.tensor([int(row[args.label]) for row in rows])

    def __len__(self):
        return len(self.lengths)

    def tokens(self, pick):
        return sum(self.lengths[row] for row in pick)

    def batch(self, pick):
        pad = lambda rows: pad_sequence([rows[row] for row in pick], batch_first=True)
        lengths = torch.tensor([self.lengths[row] for row in pick])
        inputs = {"input_ids": pad(self.input_ids)}
        inputs["attention_mask"] = (torch.arange(lengths.max()) < lengths[:, None]).long()
        if self.segments:
            inputs["token_type_ids"] = pad(self.segments)
        return inputs


def cut(order, size):
    return [order[start : start + size] for start in range(0, len(order), size)]


def batches(rows, size, order, seed, epoch):
    """The rows of every update of an epoch."""
    if order == "ftrun":
        return cut(ftrun_order(seed, epoch, len(rows)), size)
    made = torch.randperm(len(rows)).tolist()
    if order == "padded":
        return cut(made, size)
    windows = (sorted(window, key=lambda row: -rows.lengths[row]) for window in cut(made, size * 50))
    made = cut(list(itertools.chain(*windows)), size)
    return [made[at] for at in torch.randperm(len(made)).tolist()]


def ftrun_order(seed, epoch, count):
    """ftrun's order of the rows in an epoch: `permutation` in `src/base/random.rs`, purpose 1."""
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        low, high, *_ = philox([last, 0, epoch, 1 << 16], [seed & 0xFFFFFFFF, seed >> 32])
        other = ((high << 32 | low) * (last + 1)) >> 64
        order[last], order[other] = order[other], order[last]
    return order


def philox(counter, key):
    """Philox 4x32-10."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        even, odd = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1 = odd >> 32 ^ c1 ^ k0, odd & 0xFFFFFFFF
        c2, c3 = even >> 32 ^ c3 ^ k1, even & 0xFFFFFFFF
        k0, k1 = k0 + 0x9E3779B9 & 0xFFFFFFFF, k1 + 0xBB67AE85 & 0xFFFFFFFF
    return c0, c1, c2, c3


class Log:
    """What every update did and when, kept and appended to `--events`."""

    def __init__(self, path, step):
        self.file = open(path, "a", encoding="utf-8") if path else None
        self.step = step
        self.began = time.perf_counter()
        self.lines = []

    def add(self, rows, tokens, loss):
        line = {"event": "progress", "step": self.step, "done": len(self.lines) + 1}
        line |= {"loss": loss, "rows": rows, "tokens": tokens}
        line["seconds"] = time.perf_counter() - self.began
        self.lines.append(line)
        if self.file:
            print(json.dumps(line), file=self.file, flush=True)

    def speed(self):
        if len(self.lines) <= WARMUP:
            return {}
        seconds = self.lines[-1]["seconds"] - self.lines[WARMUP - 1]["seconds"]
        count = lambda field: sum(line[field] for line in self.lines[WARMUP:])
        return {
            "rows_per_second": round(count("rows") / seconds, 1),
            "tokens_per_second": round(count("tokens") / seconds),
        }


def autocast(args):
    return torch.autocast("cpu", torch.bfloat16) if args.bf16 else contextlib.nullcontext()


def train(model, rows, args, seed, log):
    # As transformers' Trainer decides it: no decay on biases and layer norms.
    plain = lambda name: "bias" in name.lower() or "layernorm" in name.lower()
    parameters = list(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in parameters if not plain(n)], "weight_decay": 0.01},
            {"params": [p for n, p in parameters if plain(n)], "weight_decay": 0.0},
        ],
        lr=args.learning_rate,
        fused=True,
    )
    per_epoch = -(-len(rows) // args.batch)
    total = args.updates or max(1, round(args.epochs * per_epoch))
    schedule = get_linear_schedule_with_warmup(optimizer, -(-total * 6 // 100), total)
    every = (
        pick
        for epoch in itertools.count()
        for pick in batches(rows, args.batch, args.order, seed, epoch)
    )
    call = torch.compile(model) if args.compile else model
    model.train()
    for pick in itertools.islice(every, total):
        with autocast(args):
            loss = call(**rows.batch(pick), labels=rows.labels[pick]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        log.add(len(pick), rows.tokens(pick), loss.item())


def evaluate(model, rows, args, size, log=None):
    """The share of right answers. Rows of similar length go together."""
    model.eval()
    made = cut(sorted(range(len(rows)), key=lambda row: rows.lengths[row]), size)
    # Shuffled, so that what warms up is like the rest.
    made = [made[at] for at in torch.randperm(len(made)).tolist()]
    right = 0
    # One autocast around all batches: it then casts the weights once.
    with torch.inference_mode(), autocast(args):
        for pick in made:
            predicted = model(**rows.batch(pick)).logits.argmax(-1)
            right += int((predicted == rows.labels[pick]).sum())
            if log:
                log.add(len(pick), rows.tokens(pick), None)
    return right / len(rows)


def run(args, seed):
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(
        args.model, num_labels=2, dtype=torch.float32
    )
    rows = Rows(args.train, tokenizer, args, args.rows)
    log = Log(args.events, "predicted" if args.eval else "tuned")
    result = {"seed": seed, "precision": "bf16" if args.bf16 else "f32"}
    if args.eval:
        result["accuracy"] = round(evaluate(model, rows, args, args.batch, log), 4)
    else:
        train(model, rows, args, seed, log)
        result |= {"order": args.order, "updates": len(log.lines)}
        result["last_loss"] = round(log.lines[-1]["loss"], 4)
    result |= log.speed()
    if args.validation:
        held = Rows(args.validation, tokenizer, args)
        result["accuracy"] = round(evaluate(model, held, args, 64), 4)
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a folder in Hugging Face layout")
    parser.add_argument("--train", required=True, help="a tsv file with a header")
    parser.add_argument("--validation")
    parser.add_argument("--text", default="sentence")
    parser.add_argument("--text_pair")
    parser.add_argument("--label", default="label")
    parser.add_argument("--rows", type=int, default=10_000, help="of the file, from its start")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--updates", type=int, help="instead of --epochs")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--max_length", type=int, default=128)
    parser.add_argument("--order", choices=["padded", "grouped", "ftrun"], default="padded")
    parser.add_argument("--bf16", action="store_true", help="torch.autocast")
    parser.add_argument("--eval", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--events")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for seed in args.seeds:
        print(json.dumps(run(args, seed)), flush=True)
