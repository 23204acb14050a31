"""Fine-tunes as a user of PyTorch and transformers would, with the settings of the pipelines, and
prints the result: what `docs/results.md` puts beside ours.

    OMP_NUM_THREADS=2 python finetune.py TASK --model MODELS/all-MiniLM-L6-v2 --data DATA --seed 1

TASK: mrpc, stsb, go_emotions, wnut17, squad. The loop is the one of transformers' example scripts
(AdamW, linear schedule with warmup, clipping, padded batches in a shuffled order); metrics are
scikit-learn's, scipy's, seqeval's and SQuAD's own. `agree.py` takes the tasks from here and compares
update by update.
"""

import argparse
import collections
import copy
import csv
import json
import re
import string
import time

import torch
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    get_linear_schedule_with_warmup,
)


def tsv(path, header=True):
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = [line.rstrip("\r\n").split("\t") for line in file]
    return rows[1:] if header else rows


class Pairs:
    """One number or class for a text or a pair of texts."""

    # What the outputs are called, where they have names.
    names = None

    def __init__(self, data, tokenizer, settings):
        self.data, self.tokenizer, self.settings = data, tokenizer, settings

    def encode(self, rows):
        first, second, labels = zip(*rows)
        second = None if second[0] is None else list(second)
        made = self.tokenizer(list(first), second, truncation=True, max_length=self.settings["max_length"])
        keys = list(made.keys())
        return [dict({key: made[key][at] for key in keys}, labels=labels[at]) for at in range(len(rows))]

    def collate(self, rows):
        labels = [row["labels"] for row in rows]
        inputs = [{key: value for key, value in row.items() if key != "labels"} for row in rows]
        batch = self.tokenizer.pad(inputs, return_tensors="pt")
        kind = torch.long if self.settings["kind"] == "classes" else torch.float
        batch["labels"] = torch.tensor(labels, dtype=kind)
        return batch

    def model(self, name):
        problem = {"classes": "single_label_classification", "values": "regression", "labels": "multi_label_classification"}
        return AutoModelForSequenceClassification.from_pretrained(
            name, num_labels=self.settings["outputs"], problem_type=problem[self.settings["kind"]]
        )


class Mrpc(Pairs):
    names = ["different", "paraphrase"]

    def rows(self, part):
        name = {"train": "train.tsv", "dev": "dev.tsv", "test": "msr_paraphrase_test.txt"}[part]
        rows = tsv(f"{self.data}/mrpc/{name}")
        return [(row[3], row[4], int(row[0])) for row in rows]

    def score(self, logits, rows):
        from sklearn.metrics import accuracy_score, f1_score

        predicted, truth = logits.argmax(-1).numpy(), [row["labels"] for row in rows]
        return {"accuracy": accuracy_score(truth, predicted), "f1_binary": f1_score(truth, predicted)}


class Stsb(Pairs):
    def rows(self, part):
        with open(f"{self.data}/stsb/{part}.csv", encoding="utf-8", newline="") as file:
            return [(row[0], row[1], float(row[2])) for row in csv.reader(file)]

    def score(self, logits, rows):
        from scipy.stats import pearsonr, spearmanr

        truth = [row["labels"] for row in rows]
        predicted = logits.squeeze(-1).numpy()
        return {"pearson": pearsonr(truth, predicted)[0], "spearman": spearmanr(truth, predicted)[0]}


class GoEmotions(Pairs):
    @property
    def names(self):
        with open(f"{self.data}/go_emotions/labels.txt", encoding="utf-8") as file:
            return file.read().split()

    def rows(self, part):
        def one(row):
            labels = [0.0] * 28
            for label in row[1].split(","):
                labels[int(label)] = 1.0
            return (row[0], None, labels)

        return [one(row) for row in tsv(f"{self.data}/go_emotions/{part}.tsv", header=False)]

    def score(self, logits, rows):
        from sklearn.metrics import f1_score

        truth = [row["labels"] for row in rows]
        predicted = (logits.sigmoid() >= 0.5).int().numpy()
        of = lambda average: f1_score(truth, predicted, average=average, zero_division=0)
        return {"f1_micro": of("micro"), "f1_macro": of("macro")}


class Wnut17:
    def __init__(self, data, tokenizer, settings):
        self.data, self.tokenizer, self.settings = data, tokenizer, settings
        self.names = sorted({tag for _, tags in self.rows("train") + self.rows("test") for tag in tags})

    def rows(self, part):
        name = {"train": "wnut17train.conll", "test": "emerging.test.annotated"}[part]
        sentences, words, tags = [], [], []
        with open(f"{self.data}/wnut17/{name}", encoding="utf-8") as file:
            for line in list(file) + [""]:
                if line.strip():
                    word, tag = line.rstrip("\n").split("\t")[:2]
                    words.append(word)
                    tags.append(tag)
                elif words:
                    sentences.append((words, tags))
                    words, tags = [], []
        return sentences

    def encode(self, rows):
        made = self.tokenizer(
            [words for words, _ in rows], is_split_into_words=True, truncation=True, max_length=self.settings["max_length"]
        )
        encoded = []
        for at, (words, tags) in enumerate(rows):
            labels, seen = [], None
            for word in made.word_ids(at):
                labels.append(-100 if word is None or word == seen else self.names.index(tags[word]))
                seen = word
            row = {key: made[key][at] for key in made.keys()}
            encoded.append(dict(row, labels=labels, words=made.word_ids(at), tags=tags))
        return encoded

    def collate(self, rows):
        inputs = [{key: row[key] for key in ("input_ids", "attention_mask", "token_type_ids") if key in row} for row in rows]
        batch = self.tokenizer.pad(inputs, return_tensors="pt")
        width = batch["input_ids"].shape[1]
        batch["labels"] = torch.tensor([row["labels"] + [-100] * (width - len(row["labels"])) for row in rows])
        return batch

    def model(self, name):
        return AutoModelForTokenClassification.from_pretrained(name, num_labels=len(self.names))

    def score(self, logits, rows):
        from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score

        truth, predicted = [], []
        for one, row in zip(logits, rows):
            tags, seen = ["O"] * len(row["tags"]), None
            for at, word in enumerate(row["words"]):
                if word is not None and word != seen:
                    tags[word] = self.names[int(one[at].argmax())]
                seen = word
            truth.append(row["tags"])
            predicted.append(tags)
        measure = {"entity_f1": f1_score, "entity_precision": precision_score, "entity_recall": recall_score}
        return {name: of(truth, predicted) for name, of in measure.items()} | {"accuracy": accuracy_score(truth, predicted)}


class Squad:
    names = None

    def __init__(self, data, tokenizer, settings):
        self.data, self.tokenizer, self.settings = data, tokenizer, settings

    def rows(self, part):
        name = {"train": "train.json", "test": "dev.json"}[part]
        with open(f"{self.data}/squad_v2/{name}", encoding="utf-8") as file:
            articles = json.load(file)["data"]
        return [
            (question["id"], question["question"].lstrip(), paragraph["context"], question["answers"])
            for article in articles
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]

    def encode(self, rows):
        made = self.tokenizer(
            [row[1] for row in rows],
            [row[2] for row in rows],
            truncation="only_second",
            max_length=self.settings["max_length"],
            stride=self.settings["stride"],
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        encoded = []
        for at, example in enumerate(made["overflow_to_sample_mapping"]):
            identity, _, context, answers = rows[example]
            sequences, offsets = made.sequence_ids(at), made["offset_mapping"][at]
            spans = [span if part == 1 else None for span, part in zip(offsets, sequences)]
            start = end = 0
            if answers:
                first = answers[0]["answer_start"]
                last = first + len(answers[0]["text"])
                inside = [place for place, span in enumerate(spans) if span is not None]
                if spans[inside[0]][0] <= first and spans[inside[-1]][1] >= last:
                    start = max(place for place in inside if spans[place][0] <= first)
                    end = min(place for place in inside if spans[place][1] >= last)
            row = {key: made[key][at] for key in ("input_ids", "attention_mask", "token_type_ids") if key in made}
            encoded.append(dict(row, start=start, end=end, spans=spans, id=identity, context=context, answers=answers))
        return encoded

    def collate(self, rows):
        inputs = [{key: row[key] for key in ("input_ids", "attention_mask", "token_type_ids") if key in row} for row in rows]
        batch = self.tokenizer.pad(inputs, return_tensors="pt")
        batch["start_positions"] = torch.tensor([row["start"] for row in rows])
        batch["end_positions"] = torch.tensor([row["end"] for row in rows])
        return batch

    def model(self, name):
        return AutoModelForQuestionAnswering.from_pretrained(name)

    def score(self, logits, rows):
        best = collections.defaultdict(list)
        for (starts, ends), row in zip(logits, rows):
            best[row["id"]].append((starts, ends, row))
        exact, f1 = [], []
        for windows in best.values():
            null = min(float(starts[0] + ends[0]) for starts, ends, _ in windows)
            top, text = float("-inf"), ""
            for starts, ends, row in windows:
                spans = row["spans"]
                for start in starts[: len(spans)].topk(min(20, len(spans))).indices.tolist():
                    for end in ends[: len(spans)].topk(min(20, len(spans))).indices.tolist():
                        if spans[start] is None or spans[end] is None or not start <= end < start + 30:
                            continue
                        score = float(starts[start] + ends[end])
                        if score > top:
                            top, text = score, row["context"][spans[start][0] : spans[end][1]]
            if null > top:
                text = ""
            golds = [answer["text"] for answer in windows[0][2]["answers"]] or [""]
            exact.append(max(float(normal(gold) == normal(text)) for gold in golds))
            f1.append(max(overlap(gold, text) for gold in golds))
        return {"exact_match": sum(exact) / len(exact), "squad_f1": sum(f1) / len(f1)}


def normal(text):
    text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def overlap(gold, text):
    gold, text = normal(gold).split(), normal(text).split()
    if not gold or not text:
        return float(gold == text)
    same = sum((collections.Counter(gold) & collections.Counter(text)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(text), same / len(gold)
    return 2 * precision * recall / (precision + recall)


TASKS = {
    "mrpc": (Mrpc, dict(kind="classes", outputs=2, max_length=128, batch=16, rate=5e-5, epochs=3, best="accuracy")),
    "stsb": (Stsb, dict(kind="values", outputs=1, max_length=128, batch=32, rate=5e-5, epochs=3, best="spearman")),
    "go_emotions": (GoEmotions, dict(kind="labels", outputs=28, max_length=64, batch=32, rate=1e-4, epochs=2)),
    "wnut17": (Wnut17, dict(max_length=128, batch=16, rate=1e-4, epochs=5)),
    "squad": (Squad, dict(max_length=384, stride=128, batch=16, rate=1e-4, epochs=2)),
}


def optimizer_and_schedule(model, settings, updates):
    """AdamW without decay on biases and norms, and a linear schedule with 6 % warmup."""
    is_plain = lambda name: not any(word in name for word in ("bias", "LayerNorm"))
    plain = [p for name, p in model.named_parameters() if is_plain(name)]
    other = [p for name, p in model.named_parameters() if not is_plain(name)]
    groups = [{"params": plain, "weight_decay": 0.01}, {"params": other, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings["rate"])
    return optimizer, get_linear_schedule_with_warmup(optimizer, -(-6 * updates // 100), updates)


def loss_without_padding(model, batch):
    """transformers' loss of questions counts the tokens that fill a batch up among the places where an
    answer may be; this does not, and so is the same whatever a row is batched with."""
    made = model(**batch)
    if "start_positions" not in batch:
        return made.loss
    padding = batch["attention_mask"] == 0
    ends = [(made.start_logits, batch["start_positions"]), (made.end_logits, batch["end_positions"])]
    losses = [torch.nn.functional.cross_entropy(logits.masked_fill(padding, -1e30), at) for logits, at in ends]
    return sum(losses) / 2


def update(model, batch, optimizer, schedule, loss_of=lambda model, batch: model(**batch).loss):
    """One update; its loss."""
    loss = loss_of(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    return loss.item()


@torch.no_grad()
def scores(task, model, rows):
    model.eval()
    logits = []
    for at in range(0, len(rows), 32):
        made = model(**task.collate(rows[at : at + 32]))
        logits.extend(zip(made.start_logits, made.end_logits) if isinstance(task, Squad) else made.logits)
    model.train()
    scored = torch.stack(logits) if isinstance(task, Pairs) else logits
    return {name: round(float(value), 4) for name, value in task.score(scored, rows).items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    kind, settings = TASKS[args.task]
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    task = kind(args.data, tokenizer, settings)
    train, test = task.encode(task.rows("train")), task.encode(task.rows("test"))
    best = settings.get("best")
    dev = task.encode(task.rows("dev")) if best else None
    model = task.model(args.model)
    loader = DataLoader(train, batch_size=settings["batch"], shuffle=True, collate_fn=task.collate)
    optimizer, schedule = optimizer_and_schedule(model, settings, len(loader) * settings["epochs"])
    begun, kept = time.time(), (float("-inf"), None)
    model.train()
    for _ in range(settings["epochs"]):
        for batch in loader:
            update(model, batch, optimizer, schedule)
        if best:
            found = scores(task, model, dev)[best]
            if found > kept[0]:
                kept = found, copy.deepcopy(model.state_dict())
    seconds = time.time() - begun
    if best:
        model.load_state_dict(kept[1])
    made = scores(task, model, test)
    print(json.dumps({"task": args.task, "seed": args.seed, "train_seconds": round(seconds, 1), **made}), flush=True)


if __name__ == "__main__":
    main()
