"""Files: written in one step, exact, readable by other programs, refused when damaged."""

import contextlib
import hashlib
import json
import os
import struct

import numpy as np
import pytest
from crafted import deep, read
from safetensors.numpy import load_file, save_file
from support import same_bits

from rnncore.io import safetensors
from rnncore.io.safetensors import DamagedFileError, load_arrays, load_metadata, read_safetensors, save_arrays


@pytest.fixture
def arrays(rng):
    return {
        "w": rng.normal(size=(3, 4)),
        "strided": rng.normal(size=(6, 4)).astype(np.float32)[::2].T,
        "tokens": np.arange(5, dtype=np.int32),
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 3)),
    }


def test_loaded_arrays_and_metadata_equal_the_saved_ones(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    metadata = {"text": 'µ\n"', "list": [1, 2.5, None]}
    save_arrays(path, arrays, metadata)
    got, read = load_arrays(path)
    same_bits(dict(sorted(got.items())), dict(sorted(arrays.items())))
    assert read == metadata
    assert os.listdir(tmp_path) == [path.name]
    same_bits(load_file(path)["w"], arrays["w"])  # other programs can read the file


def test_a_foreign_file_is_read(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    save_file({"w": arrays["w"]}, path)
    got, metadata = load_arrays(path)
    same_bits(got["w"], arrays["w"])
    assert metadata is None


def test_every_damaged_byte_is_noticed(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    save_arrays(path, arrays, {"steps": 3})
    whole = path.read_bytes()
    believed = []
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with contextlib.suppress(DamagedFileError):
            believed.append(load_arrays(path))
    # With another name of our header entry it is a file of another program: no metadata, no checkpoint.
    assert all(metadata is None for _, metadata in believed)
    assert len(believed) <= len("rnncore.json")


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 60, -1])
def test_a_file_cut_short_is_refused(tmp_path, arrays, kept):
    path = tmp_path / "a.safetensors"
    save_arrays(path, arrays)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedFileError, match="is not a complete safetensors file"):
        load_arrays(path)


def test_files_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_text("not at all " * 100)
    with pytest.raises(DamagedFileError, match="is not a complete safetensors file"):
        load_arrays(path)
    with pytest.raises(FileNotFoundError):
        load_arrays(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        load_arrays(tmp_path)


def raw(path, header, body=b""):
    """Write a file with exactly this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


TYPES = {"BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1}


@pytest.mark.parametrize("kind", TYPES)
def test_types_that_numpy_lacks_are_named_with_the_way_out(tmp_path, kind):
    path = tmp_path / "a.safetensors"
    size = TYPES[kind] * 4
    raw(path, {"w.x": {"dtype": kind, "shape": [4], "data_offsets": [0, size]}}, bytes(size))
    told = rf"a\.safetensors: the tensor 'w\.x' is of type {kind}, .*convert it to float32 or float16"
    with pytest.raises(DamagedFileError, match=told):
        load_arrays(path)


def test_bfloat16_tensors_of_torch_are_refused_by_name(tmp_path):
    import torch
    from safetensors.torch import save_file as save_torch

    path = tmp_path / "a.safetensors"
    save_torch({"fine": torch.ones(2), "w": torch.ones(2, dtype=torch.bfloat16)}, path)
    with pytest.raises(DamagedFileError, match="the tensor 'w' is of type BF16"):
        load_arrays(path)
    save_torch({"w": torch.ones(2, dtype=torch.bfloat16).float()}, path)
    same_bits(load_arrays(path)[0]["w"], np.ones(2, np.float32))


def test_sixteen_bits_are_widened_to_the_same_values(tmp_path, rng):
    """All 65,536 patterns of both types, with torch's values of them."""
    import torch
    from safetensors.torch import save_file as save_torch

    path = tmp_path / "a.safetensors"
    bits = torch.from_numpy(np.arange(2**16, dtype=np.uint16).view(np.int16).reshape(64, 32, 32))
    given = {f"a.{kind}": bits.view(kind).clone() for kind in (torch.bfloat16, torch.float16)}
    given |= {"scalar": torch.tensor(1.5, dtype=torch.bfloat16), "none": torch.zeros((0, 3), dtype=torch.bfloat16)}
    for metadata in (None, {"format": "pt", "note": "µ"}):
        save_torch(given, path, metadata=metadata)
        got = read_safetensors(path)
        assert got.keys() == given.keys()
        for name, tensor in given.items():
            assert got[name].dtype == np.float32
            expected = tensor.float().numpy()
            np.testing.assert_array_equal(got[name], expected, strict=True)     # NaN equals NaN
            assert (np.signbit(got[name]) == np.signbit(expected)).all()


def test_other_types_are_read_as_they_are(tmp_path, rng, arrays):
    path = tmp_path / "a.safetensors"
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()} | {"flags": rng.random(5) < 0.5}
    for write in (lambda: save_file(arrays, path), lambda: save_arrays(path, arrays)):
        write()
        got = read_safetensors(path)
        same_bits(dict(sorted(got.items())), dict(sorted(arrays.items())))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="differs from its checksum"):
        read_safetensors(path)


@pytest.mark.parametrize("kind", TYPES)
def test_types_of_eight_bits_are_refused_by_name(tmp_path, kind):
    path = tmp_path / "a.safetensors"
    size = TYPES[kind] * 4
    raw(path, {"w.x": {"dtype": kind, "shape": [4], "data_offsets": [0, size]}}, bytes(size))
    if kind == "BF16":
        same_bits(read_safetensors(path)["w.x"], np.zeros(4, np.float32))
    else:
        with pytest.raises(DamagedFileError, match=rf"the tensor 'w\.x' is of type {kind}"):
            read_safetensors(path)


@pytest.mark.parametrize("shape", [[1] * 70, [10**12], [2**62, 2**62, 0]])
def test_shapes_of_bfloat16_that_numpy_lacks_are_refused(tmp_path, shape):
    path = tmp_path / "a.safetensors"
    raw(path, {"w": {"dtype": "BF16", "shape": shape, "data_offsets": [0, 2]}}, bytes(2))
    with pytest.raises(DamagedFileError, match=str(path)):
        read_safetensors(path)


@pytest.mark.parametrize(
    "header",
    [
        {"w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
        {"w": {"dtype": "F32", "shape": [2**62, 2**62, 0], "data_offsets": [0, 0]}},
        {"w": {"dtype": "F32", "shape": [1] * 70, "data_offsets": [0, 4]}},
        {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"w": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}},
        {"w": 3},
        {"__metadata__": 3},
        [],
        b"\xff\xfe",
        b"[" * 10**5,
        {"__metadata__": {"rnncore.json": "{}", "rnncore.sha256": "0"}},
        {"__metadata__": {"rnncore.json": "{}"}},
    ],
)
def test_headers_that_do_not_fit_are_refused_without_allocation(tmp_path, header):
    path = tmp_path / "a.safetensors"
    raw(path, header, bytes(4) if b"data_offsets" in json.dumps(str(header)).encode() else b"")
    assert read(load_arrays, path, str(header)[:80], most=2**21) is None


def test_metadata_that_is_not_json_is_refused_despite_a_correct_checksum(tmp_path):
    path = tmp_path / "a.safetensors"
    for text in ("{", "[" * 10**5 + "]" * 10**5, "1" * 5000):
        digest = hashlib.sha256(text.encode()).hexdigest()
        raw(path, {"__metadata__": {"rnncore.json": text, "rnncore.sha256": digest}})
        for reader in (load_arrays, load_metadata):
            assert read(reader, path, text[:9]) is None


def test_metadata_is_read_without_the_arrays(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    save_arrays(path, arrays, {"steps": 3})
    assert load_metadata(path) == {"steps": 3}
    save_file({"w": arrays["w"]}, path)
    assert load_metadata(path) is None


@pytest.mark.parametrize("dtype", [">f4", ">i8", "<f8", "?", "f2", "c8", "u2"])
def test_arrays_of_any_byte_order_are_read_as_they_were_written(tmp_path, rng, dtype):
    path = tmp_path / "a.safetensors"
    values = (9 * rng.normal(size=(3, 2))).clip(0).astype(dtype)
    save_arrays(path, {"w": values})
    (got,) = load_arrays(path)[0].values()
    assert got.dtype == values.dtype.newbyteorder("=")
    np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize("values", [np.ones(2, "g"), np.ones(2, "c16"), np.array(["a"]), np.array([None])])
def test_arrays_that_cannot_be_written_are_refused_by_name(tmp_path, values):
    with pytest.raises(TypeError, match=f"arrays: got 'w' of {values.dtype}, expected numbers"):
        save_arrays(tmp_path / "a", {"w": values})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["__metadata__", "a\ud800", 3, None])
def test_names_that_the_format_cannot_hold_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"arrays: got the name .*, expected a string"):
        save_arrays(tmp_path / "a", {name: np.ones(2)})
    assert not list(tmp_path.iterdir())


def circle():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        (np.int64(3), TypeError),
        ({"a": {1, 2}}, TypeError),
        ({"a": 1, 2: 3}, TypeError),
        ({(1, 2): 3}, TypeError),
        (deep(100), ValueError),
        (deep(10**5), ValueError),
        (10**5000, ValueError),
        (circle(), ValueError),
    ],
    ids=["numpy", "set", "mixed keys", "tuple key", "deep", "deeper", "digits", "circle"],
)
def test_metadata_that_would_not_be_read_is_not_written(tmp_path, metadata, error):
    path = tmp_path / "a"
    save_arrays(path, {}, deep(99))
    before = path.read_bytes()
    message = r"metadata: got a value that a file cannot hold .*, expected a JSON value.*\.tolist"
    with pytest.raises(error, match=message):
        save_arrays(path, {}, metadata)
    assert path.read_bytes() == before
    assert load_arrays(path) == ({}, deep(99))


def test_headers_that_would_not_be_read_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors, "_LARGEST", 1000)
    path = tmp_path / "a"
    save_arrays(path, {}, "x" * 800)
    before = path.read_bytes()
    assert 900 < int.from_bytes(before[:8], "little") <= 1000
    with pytest.raises(ValueError, match="metadata: got 1,002 bytes of JSON, expected at most 1,000"):
        save_arrays(path, {}, "x" * 1000)
    with pytest.raises(ValueError, match=r"metadata: got .* bytes of JSON"):
        save_arrays(path, {}, '"' * 400)  # each quote is four bytes in the header
    assert path.read_bytes() == before


@pytest.mark.slow
def test_the_limit_of_a_header_is_that_of_the_reader(tmp_path):
    path, room = tmp_path / "a", 10**8 - 200
    save_arrays(path, {}, "x" * room)
    assert load_arrays(path) == ({}, "x" * room)
    with pytest.raises(ValueError, match="metadata: got 100,000,002 bytes of JSON"):
        save_arrays(path, {}, "x" * 10**8)
    with pytest.raises(ValueError, match="arrays, metadata: got a content that the format cannot hold"):
        save_arrays(path, {"x" * 10**8: np.ones(1)})
    assert load_arrays(path) == ({}, "x" * room)


def test_pipes_and_devices_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null"):
        with pytest.raises(DamagedFileError, match="is a device or a pipe"):
            load_arrays(path)
