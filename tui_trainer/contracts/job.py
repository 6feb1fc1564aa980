"""A job: what to train, on what, and how.

The same types validate a job file, the configuration and the new-run form. Each field's
`description` says its unit and its effect in one line, for help texts and the form.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tui_trainer.contracts.advice import AdvisorSettings

Scheduler = Literal[
    "constant",
    "linear",
    "cosine",
    "cosine-restarts",
    "polynomial",
    "wsd",
    "inverse-sqrt",
]
Optimizer = Literal["adamw", "adam", "sgd", "rmsprop", "adafactor", "adamw-8bit"]
Precision = Literal["fp32", "bf16", "fp16"]
StoppingMetric = Literal["val_loss", "val_accuracy", "val_f1_macro"]
LoraStart = Literal["default", "gaussian", "pissa"]
Sharding = Literal["none", "fsdp"]
Task = Literal["causal-lm", "classification"]
Quantization = Literal["none", "nf4"]
Duplicates = Literal["keep", "drop"]
Balance = Literal["weight", "oversample", "none"]
Augment = Literal["none", "synonym", "paraphrase", "back-translation"]

PositiveInt = Annotated[int, Meta(ge=1)]
Text = Annotated[str, Meta(min_length=1)]


class DataSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the examples come from."""

    train: Annotated[
        Text | list[Text],
        Meta(description="training file or files: .jsonl .json .csv .parquet"),
    ]
    validation: Annotated[
        Text | list[Text] | None,
        Meta(description="validation file or files; leave out to use val_split"),
    ] = None
    val_split: Annotated[
        Annotated[float, Meta(gt=0, lt=1)] | None,
        Meta(description="share of the training rows (0..1) held out for validation"),
    ] = None
    replay: Annotated[
        Text | list[Text] | None,
        Meta(description="earlier answers mixed into every step, so that they are kept"),
    ] = None
    replay_per_step: Annotated[
        int, Meta(ge=0, description="replayed examples added to every optimizer step")
    ] = 0
    retain: Annotated[
        Text | list[Text] | None,
        Meta(description="answers of the base itself that it is to keep predicting as it does"),
    ] = None
    retain_per_step: Annotated[
        int, Meta(ge=0, description="retained examples added to every optimizer step")
    ] = 0
    retain_weight: Annotated[
        float, Meta(ge=0, description="weight of the KL divergence from the base on them")
    ] = 10.0
    duplicates: Annotated[
        Duplicates, Meta(description="training rows that say the same again: keep or drop")
    ] = "keep"
    balance: Annotated[
        Balance, Meta(description="rare classes: weight, oversample or none; classification")
    ] = "weight"
    augment: Annotated[
        Augment,
        Meta(description="a second version of every training row, by a local model; costs time"),
    ] = "none"
    augment_model: Annotated[
        Text | None,
        Meta(description="the model that rewrites rows; left out, the job's own base"),
    ] = None
    augment_language: Annotated[
        Text, Meta(description="the rows' language, to which back-translation returns")
    ] = "English"
    max_length: Annotated[
        int, Meta(ge=8, description="tokens per example; longer rows are cut at the end")
    ] = 512
    cache: Annotated[
        bool, Meta(description="keep the tokens in the user's cache folder for the next run")
    ] = True
    workers: Annotated[
        int,
        Meta(ge=0, le=64, description="processes that tokenise many rows; 0 the run's own alone"),
    ] = 0


class LoraSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of the adapter."""

    rank: Annotated[int, Meta(ge=1, description="rank of the update; more learns more")] = 16
    alpha: Annotated[float, Meta(gt=0, description="scale of the update is alpha / rank")] = 32
    dropout: Annotated[
        float, Meta(ge=0, lt=1, description="share of adapter inputs dropped while training")
    ] = 0.05
    target_modules: Annotated[
        Text | list[Text],
        Meta(description='"all-linear", or names of layers such as ["q_proj", "v_proj"]'),
    ] = "all-linear"
    start_from: Annotated[
        Text | None,
        Meta(description="folder of an adapter to continue; same rank and targets"),
    ] = None
    rslora: Annotated[
        bool, Meta(description="scale by alpha / sqrt(rank), which suits high ranks")
    ] = False
    dora: Annotated[
        bool, Meta(description="learn each layer's magnitude apart from its direction; slower")
    ] = False
    init: Annotated[
        LoraStart, Meta(description="first values: default, gaussian, or pissa from the base")
    ] = "default"
    rank_pattern: Annotated[
        dict[str, PositiveInt], Meta(description="layer name or pattern -> its own rank")
    ] = {}
    alpha_pattern: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]],
        Meta(description="layer name or pattern -> its own alpha"),
    ] = {}


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long and how fast to train."""

    max_steps: Annotated[
        PositiveInt | None, Meta(description="optimizer steps; wins over epochs")
    ] = None
    epochs: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="passes over the data")
    ] = None
    batch_size: Annotated[int, Meta(ge=1, description="examples per forward pass")] = 8
    gradient_accumulation_steps: Annotated[
        int, Meta(ge=1, description="forward passes per optimizer step")
    ] = 1
    learning_rate: Annotated[float, Meta(gt=0, description="peak rate, after warmup")] = 2e-4
    scheduler: Annotated[
        Scheduler, Meta(description="how the rate falls after warmup, such as cosine or linear")
    ] = "cosine"
    scheduler_cycles: Annotated[
        int, Meta(ge=1, description="descents of cosine-restarts, each from the peak")
    ] = 2
    scheduler_power: Annotated[
        float, Meta(gt=0, description="exponent of the polynomial schedule; 1 is linear")
    ] = 2.0
    decay_share: Annotated[
        float, Meta(gt=0, le=1, description="last share of the steps in which wsd falls")
    ] = 0.2
    warmup_steps: Annotated[
        int, Meta(ge=0, description="optimizer steps over which the rate rises from 0")
    ] = 10
    optimizer: Annotated[
        Optimizer, Meta(description="adamw, adam, sgd, rmsprop, adafactor or adamw-8bit")
    ] = "adamw"
    momentum: Annotated[
        float, Meta(ge=0, lt=1, description="share of the last update kept, of sgd and rmsprop")
    ] = 0.0
    nesterov: Annotated[
        bool, Meta(description="sgd looks ahead along its momentum, which must not be 0")
    ] = False
    weight_decay: Annotated[
        float, Meta(ge=0, description="decay of the weights: decoupled with adamw, else L2")
    ] = 0.0
    max_gradient_norm: Annotated[
        float, Meta(gt=0, description="gradients with a larger L2 norm are scaled down to it")
    ] = 1.0
    eval_every: Annotated[
        int, Meta(ge=0, description="optimizer steps between evaluations; 0 only at the end")
    ] = 50
    checkpoint_every: Annotated[
        int, Meta(ge=0, description="optimizer steps between checkpoints; 0 only at the end")
    ] = 50
    keep_checkpoints: Annotated[
        int, Meta(ge=1, description="newest checkpoints kept on disk, besides the best")
    ] = 3
    precision: Annotated[
        Precision, Meta(description="arithmetic of the forward pass: fp32, bf16; fp16 on CUDA")
    ] = "fp32"
    processes: Annotated[
        int, Meta(ge=0, description="processes that share each step, one a GPU; 0 as many as GPUs")
    ] = 1
    sharding: Annotated[
        Sharding, Meta(description="fsdp: each process keeps a share of the base; none: all of it")
    ] = "none"
    gradient_checkpointing: Annotated[
        bool, Meta(description="keep less of the forward pass: less memory, about 1.2x the time")
    ] = False
    early_stopping_patience: Annotated[
        int, Meta(ge=0, description="evaluations without a better value before it ends; 0 never")
    ] = 0
    early_stopping_min_delta: Annotated[
        float, Meta(ge=0, description="how much better a value must be to count as better")
    ] = 0.0
    early_stopping_metric: Annotated[
        StoppingMetric,
        Meta(description="val_loss (lower is better), val_accuracy or val_f1_macro (higher)"),
    ] = "val_loss"
    stop_when_learned: Annotated[
        int,
        Meta(ge=0, description="steps in a row with every answer right after which it ends; 0 off"),
    ] = 0
    seed: Annotated[int, Meta(ge=0, description="fixes order, dropout and adapter start")] = 42


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training job, as in the job file."""

    name: Annotated[Text, Meta(description="names the run")] = "run"
    model: Annotated[Text, Meta(description='"builtin", a local folder, or a Hugging Face id')] = (
        "builtin"
    )
    trust_remote_code: Annotated[
        bool, Meta(description="run Python code that the model's folder brings along")
    ] = False
    quantization: Annotated[
        Quantization,
        Meta(description="frozen weights in memory: none, or nf4 (4 bits, QLoRA; bitsandbytes)"),
    ] = "none"
    task: Annotated[Task, Meta(description="what is learned: causal-lm or classification")] = (
        "causal-lm"
    )
    data: DataSettings
    lora: LoraSettings = msgspec.field(default_factory=LoraSettings)
    training: TrainingSettings = msgspec.field(default_factory=TrainingSettings)
    advisor: Annotated[
        AdvisorSettings | None,
        Meta(description="how the run is judged; left out as the configuration says"),
    ] = None
