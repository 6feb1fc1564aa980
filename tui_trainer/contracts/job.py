"""A job: what to train, on what, and how.

The same types validate a job file, the configuration and the new-run form. Each field's
`description` gives its unit and effect in one line, for help texts and the form.
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
SavedStep = Literal["best", "last"]
LoraStart = Literal["default", "gaussian", "pissa"]
Sharding = Literal["none", "fsdp"]
Task = Literal["causal-lm", "classification"]
Quantization = Literal["none", "nf4"]
Duplicates = Literal["keep", "drop"]
Balance = Literal["weight", "oversample", "none"]
Learn = Literal["answers", "all", "last"]
Augment = Literal["none", "synonym", "paraphrase", "back-translation"]

PositiveInt = Annotated[int, Meta(ge=1)]
Text = Annotated[str, Meta(min_length=1)]


class DataSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of training rows and how often its rows are used."""

    path: Annotated[Text, Meta(description="file, folder, pattern or data set, as in data.train")]
    weight: Annotated[
        float,
        Meta(
            gt=0,
            le=1000,
            description="factor on the source's rows: 2 uses each twice in an epoch, 0.5 a random "
            "half of them, 1.5 each once and a random half twice",
        ),
    ] = 1.0


class DataSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[data]` section: where the examples come from."""

    train: Annotated[
        Text | list[Text | DataSource],
        Meta(
            description="file, folder, pattern or hub:OWNER/NAME:CONFIG[SPLIT], or a list, also of "
            "{path, weight}"
        ),
    ]
    validation: Annotated[
        Text | list[Text] | None,
        Meta(description="validation file or list of files; exclusive with val_split"),
    ] = None
    val_split: Annotated[
        Annotated[float, Meta(gt=0, lt=1)] | None,
        Meta(description="share of the training rows (0..1) held out for validation"),
    ] = None
    test: Annotated[
        Text | list[Text] | None,
        Meta(description="file that the saved adapter is measured on once, at the end of the run"),
    ] = None
    columns: Annotated[
        dict[str, Text],
        Meta(description="the files' names of fields, by the known name: text = sentence"),
    ] = {}
    allow_dropped: Annotated[
        float,
        Meta(ge=0, le=1, description="largest share of rows (0..1) that may be left out"),
    ] = 0.05
    replay: Annotated[
        Text | list[Text] | None,
        Meta(description="file of earlier answers, mixed into every step to prevent forgetting"),
    ] = None
    replay_per_step: Annotated[
        int, Meta(ge=0, description="examples of data.replay added to every optimizer step")
    ] = 0
    retain: Annotated[
        Text | list[Text] | None,
        Meta(description="file of the base's own answers, whose predictions are to stay the same"),
    ] = None
    retain_per_step: Annotated[
        int, Meta(ge=0, description="examples of data.retain added to every optimizer step")
    ] = 0
    retain_weight: Annotated[
        float, Meta(ge=0, description="weight of the KL divergence from the base on data.retain")
    ] = 10.0
    null_space: Annotated[
        Text | list[Text] | None,
        Meta(description="file of the base's own answers, which the adapter hardly reads"),
    ] = None
    null_space_share: Annotated[
        float,
        Meta(ge=0, lt=1, description="share of input directions, strongest there, that it ignores"),
    ] = 0.6
    duplicates: Annotated[Duplicates, Meta(description="duplicate training rows: keep or drop")] = (
        "keep"
    )
    balance: Annotated[
        Balance, Meta(description="rare classes of a classification: weight, oversample or none")
    ] = "weight"
    augment: Annotated[
        Augment,
        Meta(description="add a rewritten copy of every training row, by a local model; slow"),
    ] = "none"
    augment_model: Annotated[
        Text | None,
        Meta(description="model that rewrites rows; default: the job's own model"),
    ] = None
    augment_language: Annotated[
        Text, Meta(description="language of the rows, for back-translation")
    ] = "English"
    max_length: Annotated[
        int, Meta(ge=8, description="most tokens per example; longer rows are cut at the end")
    ] = 512
    learn: Annotated[
        Learn,
        Meta(description="learned of conversations: all answers, the whole text, the last answer"),
    ] = "answers"
    cache: Annotated[
        bool, Meta(description="keep the tokenized data in the cache folder for the next run")
    ] = True
    workers: Annotated[
        int,
        Meta(ge=0, le=64, description="additional processes that tokenize the data"),
    ] = 0


class LoraSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[lora]` section: the shape of the adapter."""

    rank: Annotated[
        int, Meta(ge=1, description="rank of the update; higher: more capacity and memory")
    ] = 16
    alpha: Annotated[float, Meta(gt=0, description="the update is scaled by alpha / rank")] = 32
    dropout: Annotated[
        float, Meta(ge=0, lt=1, description="dropout of the adapter's inputs, share (0..1)")
    ] = 0.05
    target_modules: Annotated[
        Text | list[Text],
        Meta(description='"all-linear", or names of layers such as ["q_proj", "v_proj"]'),
    ] = "all-linear"
    start_from: Annotated[
        Text | None,
        Meta(description="folder of an adapter to continue; needs the same rank and targets"),
    ] = None
    rslora: Annotated[bool, Meta(description="scale by alpha / sqrt(rank), for high ranks")] = False
    dora: Annotated[
        bool, Meta(description="also learn the magnitude of each layer's weights; slower")
    ] = False
    init: Annotated[
        LoraStart,
        Meta(description="initial values: default, gaussian, or pissa (from the base's weights)"),
    ] = "default"
    rank_pattern: Annotated[
        dict[str, PositiveInt], Meta(description="rank by layer name or pattern")
    ] = {}
    alpha_pattern: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]],
        Meta(description="alpha by layer name or pattern"),
    ] = {}


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[training]` section: length, optimizer, schedule, evaluations and checkpoints."""

    max_steps: Annotated[
        PositiveInt | None, Meta(description="optimizer steps; overrides epochs")
    ] = None
    epochs: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="passes over the training data")
    ] = None
    batch_size: Annotated[int, Meta(ge=1, description="examples per forward pass")] = 8
    gradient_accumulation_steps: Annotated[
        int, Meta(ge=1, description="forward passes per optimizer step")
    ] = 1
    learning_rate: Annotated[
        float, Meta(gt=0, description="peak learning rate, reached after warmup")
    ] = 2e-4
    scheduler: Annotated[
        Scheduler, Meta(description="how the rate falls after warmup, such as cosine or linear")
    ] = "cosine"
    scheduler_cycles: Annotated[
        int, Meta(ge=1, description="cycles of cosine-restarts, each from the peak")
    ] = 2
    scheduler_power: Annotated[
        float, Meta(gt=0, description="exponent of the polynomial schedule; 1 is linear")
    ] = 2.0
    decay_share: Annotated[
        float, Meta(gt=0, le=1, description="share (0..1) of the steps, at the end, of wsd's decay")
    ] = 0.2
    warmup_steps: Annotated[
        int, Meta(ge=0, description="optimizer steps over which the rate rises from 0")
    ] = 10
    optimizer: Annotated[
        Optimizer, Meta(description="adamw, adam, sgd, rmsprop, adafactor or adamw-8bit")
    ] = "adamw"
    momentum: Annotated[
        float, Meta(ge=0, lt=1, description="momentum of sgd and rmsprop (0..1); 0: none")
    ] = 0.0
    nesterov: Annotated[
        bool, Meta(description="Nesterov momentum, for sgd with a momentum above 0")
    ] = False
    weight_decay: Annotated[
        float, Meta(ge=0, description="weight decay: decoupled with adamw, else an L2 penalty")
    ] = 0.0
    max_gradient_norm: Annotated[
        float, Meta(gt=0, description="gradients with a larger L2 norm are clipped to it")
    ] = 1.0
    eval_every: Annotated[
        int, Meta(ge=0, description="optimizer steps between evaluations; 0: only at the end")
    ] = 50
    checkpoint_every: Annotated[
        int, Meta(ge=0, description="optimizer steps between checkpoints; 0: only at the end")
    ] = 50
    keep_checkpoints: Annotated[
        int, Meta(ge=1, description="newest checkpoints kept on disk, besides the best")
    ] = 3
    precision: Annotated[
        Precision, Meta(description="arithmetic of the forward pass: fp32, bf16, or fp16 (CUDA)")
    ] = "fp32"
    processes: Annotated[
        int, Meta(ge=0, description="training processes, one per GPU; 0: as many as GPUs")
    ] = 1
    sharding: Annotated[
        Sharding, Meta(description="none: each process has the whole base; fsdp: a part of it")
    ] = "none"
    gradient_checkpointing: Annotated[
        bool, Meta(description="recompute activations: less memory, about 1.2 times the time")
    ] = False
    early_stopping_patience: Annotated[
        int, Meta(ge=0, description="evaluations without improvement until the run ends; 0: off")
    ] = 0
    early_stopping_min_delta: Annotated[
        float, Meta(ge=0, description="smallest change of the metric that is an improvement")
    ] = 0.0
    early_stopping_metric: Annotated[
        StoppingMetric | msgspec.UnsetType,
        Meta(description="former name of best_metric, which gets its value"),
    ] = msgspec.UNSET
    best_metric: Annotated[
        Text | None,
        Meta(
            description="metric of the best evaluation and of early stopping; default: val_loss, "
            "or val_f1_macro (classification); max:NAME or min:NAME sets the direction"
        ),
    ] = None
    save: Annotated[
        SavedStep, Meta(description="weights that the adapter gets: of the best or the last step")
    ] = "best"
    stop_when_learned: Annotated[
        int,
        Meta(ge=0, description="ends after so many steps in a row with every answer right; 0: off"),
    ] = 0
    seed: Annotated[
        int, Meta(ge=0, description="random seed of data order, dropout and initial weights")
    ] = 42

    def __post_init__(self) -> None:
        former = self.early_stopping_metric
        if former is msgspec.UNSET:
            return
        if self.best_metric not in (None, former):
            raise ValueError(
                "early_stopping_metric is the former name of best_metric, and both are set: "
                "delete early_stopping_metric"
            )
        msgspec.structs.force_setattr(self, "best_metric", former)
        msgspec.structs.force_setattr(self, "early_stopping_metric", msgspec.UNSET)


class SampleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[samples]` section: fixed prompts that are answered at each evaluation."""

    prompts: Annotated[
        list[Text],
        Meta(description="prompts that the model answers greedily at each evaluation"),
    ] = []
    max_new_tokens: Annotated[
        int, Meta(ge=1, le=4096, description="most tokens of an answer to a sample prompt")
    ] = 64


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training job: the content of a job file."""

    name: Annotated[Text, Meta(description="name of the run")] = "run"
    model: Annotated[Text, Meta(description='"builtin", a local folder, or a Hugging Face id')] = (
        "builtin"
    )
    trust_remote_code: Annotated[
        bool, Meta(description="execute Python code from the model's folder")
    ] = False
    quantization: Annotated[
        Quantization,
        Meta(description="of the frozen weights: none, or nf4 (4 bit, QLoRA; bitsandbytes)"),
    ] = "none"
    task: Annotated[Task, Meta(description="kind of training: causal-lm or classification")] = (
        "causal-lm"
    )
    data: DataSettings
    lora: LoraSettings = msgspec.field(default_factory=LoraSettings)
    training: TrainingSettings = msgspec.field(default_factory=TrainingSettings)
    samples: SampleSettings = msgspec.field(default_factory=SampleSettings)
    advisor: Annotated[
        AdvisorSettings | None,
        Meta(description="advisor settings of the run; default: those of the configuration"),
    ] = None
