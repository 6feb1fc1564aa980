"""One reading of a model's folder: its hash, and what is wrong with its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.store import model_files, paths, tensor_files
from tui_trainer.store.runs import run_folder

Entry = tuple[str, list[int], bytes]  # type, shape, content


def write(file: Path, tensors: dict[str, Entry]) -> Path:
    """A safetensors file, by its specification."""
    header, content = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        offsets = [len(content), len(content) + len(data)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        content += data
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content)
    return file


def floats(*values: float) -> Entry:
    return "F32", [len(values)], np.array(values, dtype="<f4").tobytes()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    write(folder / "model.safetensors", {"a": floats(1.0, 2.0), "b": floats(3.0)})
    return folder


def shard(folder: Path, files: dict[str, dict[str, Entry]]) -> None:
    (folder / "model.safetensors").unlink()
    names: dict[str, str] = {}
    for file, tensors in files.items():
        write(folder / file, tensors)
        names |= dict.fromkeys(tensors, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def test_the_hash_is_that_of_the_files_contents(model: Path) -> None:
    """Adapters of earlier versions name their base by it."""
    files = [model / "config.json", model / "model.safetensors"]
    each = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    wanted = hashlib.sha256("".join(each).encode()).hexdigest()
    assert model_files.inspect(model) == model_files.ModelFiles(wanted)
    builtin = sorted(paths.builtin_model().glob("*.safetensors"))
    whole = run_folder.hash_files([paths.builtin_model() / "config.json", *builtin])[0]
    assert model_files.hash_model(paths.builtin_model()) == whole
    (model / "model.safetensors").write_bytes(files[1].read_bytes()[:-1])
    assert model_files.inspect(model).problem is not None
    assert model_files.hash_model(model) == run_folder.hash_files(files)[0]


PLAIN = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "C64": 8,
    "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
LARGEST = {
    "F64": "ffffffffffffef7f", "F32": "ffff7f7f", "F16": "ff7b", "BF16": "7f7f", "F8_E5M2": "7b",
    "F8_E4M3": "7e", "F8_E8M0": "fe", "C64": "ffff7f7fffff7fff",
}  # fmt: skip
NOT_FINITE = {
    "F64": ["000000000000f07f", "000000000000f0ff", "010000000000f8ff"],
    "F32": ["0000807f", "000080ff", "0100c0ff"],
    "C64": ["0000807f00000000", "000000000000c0ff"],
    "F16": ["007c", "00fc", "017e"],
    "BF16": ["807f", "80ff", "c1ff"],
    "F8_E5M2": ["7c", "fc", "7f"],
    "F8_E4M3": ["7f", "ff"],
    "F8_E8M0": ["ff"],
}


@pytest.mark.parametrize("dtype", list(PLAIN))
def test_values_that_are_not_finite_are_found_in_every_type(dtype: str, tmp_path: Path) -> None:
    width = PLAIN[dtype]
    fill = bytes.fromhex(LARGEST.get(dtype, "ff" * width))
    count = tensor_files.CHUNK // width + 5  # more than is read at once, and an odd rest
    for value in NOT_FINITE.get(dtype, []):
        for at in (0, count - 6, count - 5, count - 1):
            bad = bytearray(fill * count)
            bad[at * width : (at + 1) * width] = bytes.fromhex(value)
            tensors = {
                "odd": ("U8", [3], b"\xff" * 3),
                "bad": (dtype, [count], bytes(bad)),
                "empty": (dtype, [0], b""),
                "good": (dtype, [count], fill * count),
            }
            file = write(tmp_path / "x.safetensors", tensors)
            found = tensor_files.hash_and_check(file)
            assert found == (hashlib.sha256(file.read_bytes()).hexdigest(), ["bad"])
    good = write(tmp_path / "x.safetensors", {"good": (dtype, [count], fill * count)})
    assert tensor_files.hash_and_check(good)[1] == []


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-3])


def lie(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes().replace(b'"shape": [2]', b'"shape": [9]'))


def lose_a_shard(folder: Path) -> None:
    files = {f"model-{n}-of-3.safetensors": {f"t{n}": floats(1.0)} for n in (1, 2, 3)}
    shard(folder, files)
    (folder / "model-2-of-3.safetensors").unlink()


def lose_two_shards(folder: Path) -> None:
    lose_a_shard(folder)
    (folder / "model-3-of-3.safetensors").unlink()


def break_the_index(folder: Path) -> None:
    lose_a_shard(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": ["a"]}')


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def pointer(folder: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (folder / "model.safetensors").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (cut, "model.safetensors is incomplete: "),
        (lie, "model.safetensors is damaged: the size of a is wrong"),
        (lose_a_shard, "model-2-of-3.safetensors of the 3 files in .*index.json is missing"),
        (lose_two_shards, "model-2-of-3.safetensors and 1 more of the 3 files .* are missing"),
        (break_the_index, "model.safetensors.index.json is not a list of files by tensor"),
        (pickle_only, "its weights are in pytorch_model.bin, a pickle, which is not loaded"),
        (lambda folder: (folder / "model.safetensors").unlink(), "it has no model.safetensors"),
        (pointer, "model.safetensors is a Git LFS pointer, not the weights"),
    ],
)
def test_incomplete_files_are_named(
    spoil: Callable[[Path], None], expected: str, model: Path
) -> None:
    spoil(model)
    with pytest.raises(UserError, match=f"the model in .* cannot be used: .*{expected}.*"):
        model_files.inspect_whole(model)


def test_only_the_files_that_are_loaded_are_checked(model: Path) -> None:
    write(model / "other.safetensors", {"x": floats(float("nan"))})
    (model / "consolidated.safetensors").write_bytes(b"cut off")
    found = model_files.inspect_whole(model)
    assert found.not_finite == ()
    assert found.hash != model_files.hash_model(model.parent), "they still belong to the hash"
    shard(model, {"model-1-of-1.safetensors": {"y": floats(1.0, float("-inf"))}})
    assert model_files.inspect_whole(model).not_finite == ("y",)


def test_the_bytes_of_a_loaded_model_follow_its_precision(model: Path) -> None:
    half: Entry = ("BF16", [2], b"\0" * 4)
    packed: Entry = ("U8", [3], b"\0" * 3)
    write(model / "model.safetensors", {"a": floats(1.0, 2.0), "b": half, "c": packed})
    write(model / "consolidated.safetensors", {"a": floats(1.0)})
    assert model_files.loaded_bytes(model, 4) == 4 * 4 + 3
    assert model_files.loaded_bytes(model, 0.5) == 2 + 3
    (model / "model.safetensors").write_bytes(b"broken")
    assert model_files.loaded_bytes(model, 4) == 0
