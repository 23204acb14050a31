"""Makes the golden cases of these families and heads: tiny random models, no dropout, eager attention,
f32, and what PyTorch and transformers compute for them.

    python tests/golden/make.py tests/golden
"""

import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
    get_linear_schedule_with_warmup,
)

VOCABULARY, WIDTH, ROWS, CHOICES, STEPS = 64, 9, 3, 3, 8
SIZES = dict(
    vocab_size=VOCABULARY,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=24,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    pad_token_id=0,
)
# What a family calls its sizes, and what it has beside them.
FAMILIES = {
    "bert": {},
    "roberta": dict(pad_token_id=1, type_vocab_size=1),
    "xlm-roberta": dict(pad_token_id=1, type_vocab_size=1),
    "distilbert": dict(dim=16, n_layers=2, n_heads=2, hidden_dim=24, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0),
    "electra": dict(embedding_size=12, summary_last_dropout=0.0),
    "albert": dict(embedding_size=12, classifier_dropout_prob=0.0),
    "mpnet": dict(pad_token_id=1),
    "deberta-v2": dict(relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=4, norm_rel_ebd="layer_norm", pooler_dropout=0.0, pooler_hidden_size=16),
    "modernbert": dict(attention_dropout=0.0, embedding_dropout=0.0, mlp_dropout=0.0, classifier_dropout=0.0, local_attention=4, global_attn_every_n_layers=2, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3),
}
HEADS = {
    "choice": AutoModelForMultipleChoice,
    "tag": AutoModelForTokenClassification,
    "qa": AutoModelForQuestionAnswering,
    "mlm": AutoModelForMaskedLM,
}
CASES = [(family, "choice") for family in FAMILIES] + [
    ("xlm-roberta", "tag"),
    ("xlm-roberta", "qa"),
    ("electra", "qa"),
    ("albert", "qa"),
    ("albert", "mlm"),
    ("mpnet", "qa"),
    ("mpnet", "mlm"),
]


def inputs(family, head, config):
    generator = torch.Generator().manual_seed(7)
    pad = config.pad_token_id
    shape = (ROWS, CHOICES) if head == "choice" else (ROWS,)
    ids = torch.randint(4, VOCABULARY, (*shape, WIDTH), generator=generator)
    lengths = torch.randint(4, WIDTH + 1, shape, generator=generator)
    mask = (torch.arange(WIDTH) < lengths[..., None]).long()
    ids = torch.where(mask.bool(), ids, torch.full_like(ids, pad))
    made = {"input_ids": ids, "attention_mask": mask}
    if getattr(config, "type_vocab_size", 0) > 1 and family not in ("distilbert", "mpnet", "modernbert"):
        made["token_type_ids"] = (torch.arange(WIDTH) >= 3).long().expand_as(ids).contiguous() * mask
    if head == "choice":
        made["labels"] = torch.randint(0, CHOICES, (ROWS,), generator=generator)
    elif head == "qa":
        made["start_positions"] = torch.randint(0, 4, (ROWS,), generator=generator)
        made["end_positions"] = torch.randint(0, 4, (ROWS,), generator=generator)
    else:
        classes = config.num_labels if head == "tag" else VOCABULARY
        labels = torch.randint(0, classes, ids.shape, generator=generator)
        chosen = torch.rand(ids.shape, generator=generator) < (0.8 if head == "tag" else 0.4)
        chosen[:, 1] = True
        made["labels"] = torch.where(chosen & mask.bool(), labels, torch.full_like(labels, -100))
    return made


def case(family, head, folder):
    torch.manual_seed(5)
    known = AutoConfig.for_model(family)
    fields = {name: value for name, value in (SIZES | FAMILIES[family]).items() if hasattr(known, name)}
    config = AutoConfig.for_model(family, num_labels=2 if head == "qa" else 4, **fields)
    config._attn_implementation = "eager"
    model = HEADS[head].from_config(config, attn_implementation="eager").float().train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    folder.mkdir(exist_ok=True)
    model.save_pretrained(folder)
    batch = inputs(family, head, config)
    save_file({name: tensor.contiguous() for name, tensor in batch.items()}, folder / "inputs.safetensors")
    made = model(**batch)
    names = ["loss", "start_logits", "end_logits"] if head == "qa" else ["loss", "logits"]
    save_file({name: made[name].detach().contiguous() for name in names}, folder / "outputs.safetensors")
    made.loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    without = [name for name, p in model.named_parameters() if p.grad is None]
    save_file(gradients, folder / "grads.safetensors")
    (folder / "trajectory.json").write_text(json.dumps(trajectory(model, batch), indent=1))
    about = {
        "case": f"{family}-{head}",
        "class": type(model).__name__,
        "note": "tiny random model, dropout 0, attention eager",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "parameters_without_gradient": without,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    (folder / "case.json").write_text(json.dumps(about, indent=1))


def trajectory(model, batch):
    # As transformers tells them apart, by name.
    is_decayed = lambda name: "bias" not in name and "norm" not in name.lower()
    decayed = sorted(name for name, _ in model.named_parameters() if is_decayed(name))
    groups = [
        {"params": [p for name, p in model.named_parameters() if is_decayed(name)], "weight_decay": 0.01},
        {"params": [p for name, p in model.named_parameters() if not is_decayed(name)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    schedule = get_linear_schedule_with_warmup(optimizer, 2, STEPS)
    losses, norms, rates = [], [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        losses.append(loss.item())
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        final = float(model(**batch).loss)
    return {
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "schedule": "linear",
        "warmup_steps": 2,
        "steps": STEPS,
        "decayed_parameters": decayed,
        "loss": losses,
        "grad_norm": norms,
        "lr": rates,
        "final_loss": final,
        "final_param_l2": {name: float(p.double().norm()) for name, p in model.named_parameters()},
    }


if __name__ == "__main__":
    for family, head in CASES:
        case(family, head, pathlib.Path(sys.argv[1]) / f"{family}-{head}")
