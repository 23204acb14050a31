"""What `compare.py` lets ftrun and PyTorch share, made in a process of its own.

    python benches/peers/prepare.py checkpoint --model all-MiniLM-L6-v2 --to FOLDER
    python benches/peers/prepare.py long --model all-MiniLM-L6-v2 --source sst2/train_sentences.tsv \
        --rows 256 --to FILE.tsv

`checkpoint`: the model with a drawn classifier for two classes and without any dropout, so that both
start from the same parameters and nothing random is left but the order of the rows.
`long`: texts of 300 to 512 tokens, each of sentences of one label, as a tsv of the same columns.
"""

import argparse
import csv
import json
import pathlib
import random
import shutil


def checkpoint(args):
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(args.seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        args.model, num_labels=2, dtype=torch.float32
    )
    model.save_pretrained(args.to)
    for file in pathlib.Path(args.model).iterdir():
        if not (pathlib.Path(args.to) / file.name).exists() and file.suffix in (".json", ".txt"):
            shutil.copyfile(file, pathlib.Path(args.to) / file.name)
    path = pathlib.Path(args.to) / "config.json"
    config = json.loads(path.read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config |= {"id2label": {"0": "0", "1": "1"}, "label2id": {"0": 0, "1": 1}}
    path.write_text(json.dumps(config, indent=2))


def long(args):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pathlib.Path(args.model) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    by_label = {"0": [], "1": []}
    with open(args.source, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            length = len(tokenizer.encode(row["sentence"], add_special_tokens=False).ids)
            by_label[row["label"]].append((row["sentence"], length))
    draw = random.Random(args.seed)
    with open(args.to, "w", encoding="utf-8") as file:
        print("sentence\tlabel", file=file)
        for _ in range(args.rows):
            label = draw.choice("01")
            wanted, length, text = draw.randint(300, 512), 2, []
            while length < wanted:
                sentence, tokens = draw.choice(by_label[label])
                text.append(sentence)
                length += tokens
            print(" ".join(text), label, sep="\t", file=file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["checkpoint", "long"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--source")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    {"checkpoint": checkpoint, "long": long}[args.what](args)
