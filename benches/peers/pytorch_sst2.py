"""What `pipelines/sst2.ftp` is compared with: the same fine-tuning in PyTorch and transformers.

    python benches/peers/pytorch_sst2.py --model all-MiniLM-L6-v2 --train sst2/train.tsv --validation sst2/dev.tsv --seeds 1 2 3

Prints one line of JSON per seed: accuracy on the validation rows, rows per second of training,
peak memory. `--order padded` (the default everybody runs) takes random batches and pads them,
`--order grouped` shuffles batches of similar length.
"""

import argparse
import csv
import json
import resource
import time

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers import get_linear_schedule_with_warmup


def read(path, limit):
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = rows[:limit] if limit else rows
    return [row["sentence"] for row in rows], [int(row["label"]) for row in rows]


def collate(ids, pick):
    """Right padding: input_ids and attention_mask, [batch, longest]."""
    longest = max(len(ids[i]) for i in pick)
    input_ids = torch.zeros(len(pick), longest, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for row, i in enumerate(pick):
        input_ids[row, : len(ids[i])] = torch.tensor(ids[i])
        attention_mask[row, : len(ids[i])] = 1
    return input_ids, attention_mask


def batches(ids, size, grouped):
    order = torch.randperm(len(ids)).tolist()
    if grouped:
        window = size * 50
        order = [
            i
            for start in range(0, len(order), window)
            for i in sorted(order[start : start + window], key=lambda j: -len(ids[j]))
        ]
    made = [order[start : start + size] for start in range(0, len(order), size)]
    return [made[i] for i in torch.randperm(len(made)).tolist()] if grouped else made


def run(args, seed):
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(
        args.model, num_labels=2, dtype=torch.float32
    )
    encode = lambda texts: tokenizer(texts, truncation=True, max_length=args.max_length)["input_ids"]
    train_texts, train_labels = read(args.train, args.rows)
    held_texts, held_labels = read(args.validation, None)
    train_ids, held_ids = encode(train_texts), encode(held_texts)

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
    per_epoch = (len(train_ids) + args.batch - 1) // args.batch
    total = max(1, round(args.epochs * per_epoch))
    schedule = get_linear_schedule_with_warmup(optimizer, -(-total * 6 // 100), total)

    model.train()
    seconds, rows, update = 0.0, 0, 0
    while update < total:
        for pick in batches(train_ids, args.batch, args.order == "grouped"):
            if update == total:
                break
            started = time.perf_counter()
            input_ids, attention_mask = collate(train_ids, pick)
            labels = torch.tensor([train_labels[i] for i in pick])
            loss = model(input_ids=input_ids, attention_mask=attention_mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if update >= 3:  # the first ones warm up
                seconds += time.perf_counter() - started
                rows += len(pick)
            update += 1

    model.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(held_ids), 64):
            pick = range(start, min(start + 64, len(held_ids)))
            input_ids, attention_mask = collate(held_ids, pick)
            predicted = model(input_ids=input_ids, attention_mask=attention_mask).logits.argmax(-1)
            right += sum(int(predicted[row]) == held_labels[i] for row, i in enumerate(pick))
    return {
        "seed": seed,
        "order": args.order,
        "accuracy": round(right / len(held_ids), 4),
        "rows_per_second": round(rows / seconds, 1),
        "updates": total,
        "last_loss": round(loss.item(), 4),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--validation", required=True)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--max_length", type=int, default=128)
    parser.add_argument("--order", choices=["padded", "grouped"], default="padded")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    args = parser.parse_args()
    for seed in args.seeds:
        print(json.dumps(run(args, seed)), flush=True)
