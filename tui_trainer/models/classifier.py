"""A trained classifier: its base and adapter loaded for predictions."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors import SafetensorError
from safetensors.torch import load_file

from tui_trainer.contracts.errors import NoMemoryError, UserError, is_out_of_memory
from tui_trainer.models import base_model as bases
from tui_trainer.models import lora_train
from tui_trainer.models.base_identity import BaseIdentity, check_origin
from tui_trainer.store.adapters import adapter_files
from tui_trainer.text.formats import plural

# Limits of one forward pass: texts, and tokens with padding.
PASS_TEXTS = 64
PASS_TOKENS = 16_384


@dataclass(frozen=True)
class ClassProbabilities:
    """The probabilities of the classes of one text."""

    values: list[float]  # in the order of the labels; their sum is 1
    cut: bool  # whether the text's end was left out, as the base cannot read it


@dataclass(frozen=True)
class Classifier:
    """A loaded classifier."""

    model: Any  # of PEFT
    tokenizer: Any
    labels: list[str]  # names of the classes by index
    limit: int | None  # most tokens of a text; None if unknown

    def classify(
        self, texts: Sequence[str], between: Callable[[int], None] = lambda _: None
    ) -> list[ClassProbabilities]:
        """Return the probabilities for each text, in order. Texts of similar length are in one
        pass; `between` gets the number of finished texts after each."""
        if not texts:
            return []
        uncut: list[list[int]] = self.tokenizer(list(texts))["input_ids"]
        ids = uncut
        if self.limit is not None:
            ids = self.tokenizer(list(texts), truncation=True, max_length=self.limit)["input_ids"]
        found: list[ClassProbabilities | None] = [None] * len(texts)
        done = 0
        for rows in _passes([len(row) for row in ids]):
            values = self._within_memory([ids[row] for row in rows]).tolist()
            for row, probabilities in zip(rows, values, strict=True):
                found[row] = ClassProbabilities(probabilities, len(uncut[row]) > len(ids[row]))
            done += len(rows)
            between(done)
        return [item for item in found if item is not None]

    def _within_memory(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the same as `_probabilities`, in smaller passes where memory runs out."""
        try:
            return self._probabilities(rows)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(rows) == 1:
                raise NoMemoryError(
                    f"out of memory while a text of {plural(len(rows[0]), 'token')} is "
                    "classified: end other programs that need memory, or shorten the text"
                ) from error
        half = len(rows) // 2
        parts = self._within_memory(rows[:half]), self._within_memory(rows[half:])
        return torch.cat(parts)

    def _probabilities(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return a tensor of shape (rows, classes), fp32."""
        width = max(len(row) for row in rows)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
        seen = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        device = self.model.device
        with torch.inference_mode():
            outputs = self.model(input_ids=ids.to(device), attention_mask=seen.to(device))
        return torch.softmax(outputs.logits.float(), dim=-1).cpu()


def load_classifier(
    folder: Path,
    origin: BaseIdentity,
    labels: Sequence[str] = (),
    *,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    four_bit: bool = False,
    trust_remote_code: bool = False,
) -> Classifier:
    """Load the classifier whose adapter is in `folder`. Raises `UserError` for an adapter that is
    damaged or made for another base.

    labels: names of its classes where the folder does not have them, as a checkpoint's.
    dtype: type of the base's weights; None: fp32, or bf16 where memory runs out.
    four_bit: quantise the base, see `base_model.load_base`.
    """
    values, tensors = _read(folder)
    labels = adapter_files.labels(folder) or list(labels)
    if not labels:
        raise UserError(
            f"the classifier in {folder} does not name its classes: labels.json is missing; add "
            "the adapter that its run saved at its end"
        )
    check_origin(folder, adapter_files.read_info(folder), values, origin)
    tokenizer = bases.load_tokenizer(origin.model, trust_remote_code=trust_remote_code)
    target = device or bases.pick_device()
    types = (torch.float32, torch.bfloat16) if dtype is None else (dtype,)
    base = _load_base(origin, labels, target, types, four_bit, trust_remote_code)
    text_config = base.config.get_text_config()
    text_config.pad_token_id = tokenizer.pad_token_id  # where a decoder's last token is
    model = _attach(base, folder, tensors)
    limit = _limit(tokenizer, text_config)
    return Classifier(model.eval(), tokenizer, labels, limit)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the adapter's configuration and tensors. Raises `UserError`."""
    info = adapter_files.read_info(folder)
    wrong = adapter_files.problem(folder) if info else adapter_files.weights_problem(folder)
    if wrong:
        raise UserError(f"the adapter in {folder} cannot be used: {wrong}")
    try:
        tensors: dict[str, torch.Tensor] = load_file(folder / lora_train.WEIGHTS)
        config: dict[str, Any] = LoraConfig.from_pretrained(str(folder)).to_dict()
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise UserError(f"the adapter in {folder} cannot be read: {error}") from error
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor.float()).all()):
            raise UserError(
                f"the adapter in {folder} cannot be used: {name} contains values that are not "
                "finite numbers"
            )
    return config, tensors


def _load_base(
    origin: BaseIdentity,
    labels: Sequence[str],
    device: torch.device,
    types: Sequence[torch.dtype],
    four_bit: bool,
    trusted: bool,
) -> Any:
    """Return the base in the first of the `types` for which the memory suffices."""
    for dtype in types:
        try:
            return bases.load_base(
                origin.model,
                device,
                dtype,
                labels=labels,
                four_bit=four_bit,
                trust_remote_code=trusted,
                not_finite=origin.not_finite,
            )
        except Exception as error:
            if dtype is types[-1] or not (
                isinstance(error, NoMemoryError) or is_out_of_memory(error)
            ):
                raise
        gc.collect()  # after the handler, whose exception keeps the partly loaded base in memory
    raise AssertionError


def _attach(base: Any, folder: Path, tensors: dict[str, torch.Tensor]) -> Any:
    """Return the base with the adapter of `folder`. Raises `UserError` if it does not fit."""
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = False  # `load_weights` finds the adapter by what is trainable
    try:
        model: Any = get_peft_model(base, config)
    except (ValueError, TypeError) as error:
        raise UserError(f"the adapter in {folder} does not fit its base: {error}") from error
    for parameter in lora_train.trainable(model).values():
        parameter.data = parameter.data.float()
    try:
        lora_train.load_weights(model, tensors)
    except UserError as error:
        raise UserError(f"the adapter in {folder} cannot be used: {error}") from None
    if base.dtype is not torch.float32:  # the new head's inputs are in the base's type
        for parameter in lora_train.trainable(model).values():
            parameter.data = parameter.data.to(base.dtype)
    return model


def _limit(tokenizer: Any, config: Any) -> int | None:
    """Return the most tokens of a text: of the tokenizer or the base, whichever is smaller."""
    known = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    # Tokenizers without a limit name a number above 10^29.
    limits = [int(limit) for limit in known if limit and limit < 10**9]
    return min(limits) if limits else None


def _passes(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield groups of rows of similar length, so that little is padded."""
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True):
        widest = lengths[group[0]] if group else 0
        if group and (len(group) >= PASS_TEXTS or (len(group) + 1) * widest > PASS_TOKENS):
            yield group
            group = []
        group.append(row)
    if group:
        yield group
