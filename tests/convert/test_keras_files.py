"""Keras files: models in safe mode, weights by h5py alone, and files that are not what they should be."""

import json
import zipfile

import numpy as np
import pytest
from support import close, run_python, same_bits

import rnncore as rc
from rnncore import convert
from rnncore.io import DamagedFileError

keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")
layers = keras.layers


def a_model():
    return keras.Sequential([
        layers.Input((None, 3)),
        layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both"),
        layers.GRU(5, return_sequences=True, name="top"),
        layers.RNN([layers.GRUCell(2), layers.GRUCell(2)], name="stack"),
        layers.Dense(2),
    ])


@pytest.fixture
def saved(tmp_path):
    model = a_model()
    for w in model.weights:
        w.assign(np.random.default_rng(len(w.path)).normal(size=w.shape))
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    return tmp_path, model


def same(got, expected):
    assert [name for name, _ in got] == [name for name, _ in expected]
    for (_, a), (_, b) in zip(got, expected, strict=True):
        same_bits(a.state_dict(), b.state_dict())


def test_a_keras_file(saved):
    folder, model = saved
    same(convert.from_keras(folder / "model.keras"), convert.from_keras(model))
    same(convert.from_keras(str(folder / "model.keras")), convert.from_keras(model))


def test_a_file_with_a_lambda_is_refused(tmp_path):
    touched = tmp_path / "touched"
    model = keras.Sequential([layers.Input((None, 3)), layers.GRU(4, return_sequences=True),
                              layers.Lambda(lambda x, path=str(touched): (open(path, "w").close(), x)[1])])
    touched.unlink()                    # the function ran when the model was built
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"model.keras cannot be read in Keras's safe mode .*load it in Keras"):
        convert.from_keras(tmp_path / "model.keras")
    assert not touched.exists()


def test_a_process_that_allows_unsafe_files_does_not_change_that(tmp_path):
    model = keras.Sequential([layers.Input((None, 3)), layers.GRU(4), layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "model.keras")
    keras.config.enable_unsafe_deserialization()
    try:
        with pytest.raises(ValueError, match="safe mode"):
            convert.from_keras(tmp_path / "model.keras")
        keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)      # which Keras itself would read
    finally:
        keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", None)


def rewritten(path, change):
    """The file with its config changed."""
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    config = json.loads(content["config.json"])
    change(config)
    content["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, data in content.items():
            file.writestr(name, data)


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("builtins", "eval"), ("subprocess", "Popen"),
                                              ("keras.utils", "get_file")])
def test_functions_of_other_modules_are_not_called(saved, module, name):
    folder, _ = saved
    touched = folder / "touched"

    def change(config):
        config["config"]["layers"][1] = {"module": module, "class_name": name, "registered_name": name,
                                         "config": {"args": [f"touch {touched}"]}, "build_config": None}

    rewritten(folder / "model.keras", change)
    with pytest.raises(ValueError, match="safe mode"):
        convert.from_keras(folder / "model.keras")
    assert not touched.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"no zip"])
def test_damaged_files(content, tmp_path):
    for name in ("model.keras", "model.weights.h5"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"model.keras cannot be read"):
        convert.from_keras(tmp_path / "model.keras")
    with pytest.raises(DamagedFileError, match="not an HDF5 file"):
        convert.from_keras(tmp_path / "model.weights.h5", into=rc.GRU(3, 4))


def test_paths(tmp_path):
    with pytest.raises(ValueError, match=r"expected a .keras or a .weights.h5 file"):
        convert.from_keras(tmp_path / "model.h5")
    for name, into in (("missing.keras", None), ("missing.weights.h5", rc.GRU(3, 4))):
        with pytest.raises(FileNotFoundError, match="missing"):
            convert.from_keras(tmp_path / name, into=into)


# ---- weights ------------------------------------------------------------------------------------


def test_weights_into_the_layers_that_fit(saved):
    folder, model = saved
    path, expected = folder / "model.weights.h5", dict(convert.from_keras(model))
    for name, layer in (("both", rc.LSTM(3, 4, bidirectional=True, seed=0)), ("top", rc.GRU(8, 5, seed=0)),
                        ("stack", rc.GRU(5, 2, 2, seed=0))):
        assert convert.from_keras(path, into=layer) is layer
        same_bits(layer.state_dict(), expected[name].state_dict())


def test_weights_by_name(saved):
    folder, model = saved
    path, expected = folder / "model.weights.h5", dict(convert.from_keras(model))
    into = {"both": rc.LSTM(3, 4, bidirectional=True, seed=0), "layers/gru": rc.GRU(8, 5, seed=0)}
    assert convert.from_keras(path, into=into) is into
    same_bits(into["both"].state_dict(), expected["both"].state_dict())
    same_bits(into["layers/gru"].state_dict(), expected["top"].state_dict())


def test_nothing_changes_unless_all_fits(saved):
    folder, _ = saved
    path = folder / "model.weights.h5"
    good, bad = rc.GRU(8, 5, seed=0), rc.GRU(3, 4, seed=0)
    before = good.state_dict()
    with pytest.raises(ValueError, match=r"for 'both', which does not fit: both has 2 cells"):
        convert.from_keras(path, into={"top": good, "both": bad})
    same_bits(good.state_dict(), before)
    with pytest.raises(KeyError, match=r"got 'missing', expected a recurrent layer of .*: both, top, stack"):
        convert.from_keras(path, into={"missing": good})
    with pytest.raises(ValueError, match=r"none fits in .*model.weights.h5, which has both, top, stack"):
        convert.from_keras(path, into=bad)
    with pytest.raises(ValueError, match="none fits"):       # another kind of reset has other biases
        convert.from_keras(path, into=rc.GRU(8, 5, reset_after=False))
    with pytest.raises(TypeError, match=r"^into: got None"):
        convert.from_keras(path)
    with pytest.raises(TypeError, match=r"^into: got str, expected a layer of rnncore, a dict of layers"):
        convert.from_keras(path, into="a")
    with pytest.raises(TypeError, match=r"^into: got GRU with a .keras file"):
        convert.from_keras(folder / "model.keras", into=good)


def test_two_that_fit_have_to_be_named(tmp_path):
    model = keras.Sequential([layers.Input((None, 4)), layers.GRU(4, return_sequences=True, name="a"),
                              layers.GRU(4, name="b")])
    model.save_weights(tmp_path / "w.weights.h5")
    layer = rc.GRU(4, 4, seed=0)
    with pytest.raises(ValueError, match=r"of which a and b fit in .*; give a dict of names and layers"):
        convert.from_keras(tmp_path / "w.weights.h5", into=layer)
    convert.from_keras(tmp_path / "w.weights.h5", into={"b": layer})
    same_bits(layer.state_dict(), convert.from_keras(model)[1].layer.state_dict())


def test_weights_of_one_layer_and_cells_beyond_ten(tmp_path):
    """The names of cells are numbered, and sorted as texts cell_10 would come before cell_2."""
    one = layers.RNN([layers.GRUCell(3) for _ in range(12)])
    one.build((None, None, 3))
    keras.saving.save_weights(one, tmp_path / "one.weights.h5")
    layer = convert.from_keras(tmp_path / "one.weights.h5", into=rc.GRU(3, 3, 12, seed=0))
    same_bits(layer.state_dict(), convert.from_keras(one).state_dict())


def test_into_a_keras_layer_and_into_a_keras_model(saved):
    folder, model = saved
    other = a_model()
    same(convert.from_keras(folder / "model.weights.h5", into=other), convert.from_keras(model))
    keras.saving.save_weights(model.layers[1], folder / "top.weights.h5")
    top = layers.GRU(5, return_sequences=True)
    top.build((None, None, 8))
    layer = convert.from_keras(folder / "top.weights.h5", into=top)
    same_bits(layer.state_dict(), convert.from_keras(model.layers[1]).state_dict())


def test_a_keras_layer_of_ours_gets_weights(tmp_path):
    theirs = keras.Sequential([layers.Input((None, 3)), layers.GRU(4, go_backwards=True)])
    theirs.save_weights(tmp_path / "w.weights.h5")
    ours = convert.KerasLayer(rc.GRU(3, 4, batch_first=True, seed=0), go_backwards=True)
    assert convert.from_keras(tmp_path / "w.weights.h5", into=ours) is ours
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    close(ours(x)[1][0], keras.ops.convert_to_numpy(theirs(x)), 1e-5)


def test_links_to_other_files_are_not_followed(saved):
    folder, _ = saved
    with h5py.File(folder / "secret.h5", "w") as secret:
        secret["kernel"] = np.zeros((8, 15), "float32")
    with h5py.File(folder / "model.weights.h5", "a") as file:
        del file["layers/gru/cell/vars"]
        file["layers/gru/cell/vars"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")
    with pytest.raises(DamagedFileError, match="is a link to another place"):
        convert.from_keras(folder / "model.weights.h5", into=rc.GRU(8, 5))


def test_arrays_in_other_files_are_not_read(saved):
    folder, _ = saved
    (folder / "secret.bin").write_bytes(bytes(8 * 15 * 4))
    with h5py.File(folder / "model.weights.h5", "a") as file:
        group = file["layers/gru/cell/vars"]
        del group["0"]
        group.create_dataset("0", (8, 15), "f4", external=[(str(folder / "secret.bin"), 0, 480)])
    with pytest.raises(DamagedFileError, match="something else than arrays of numbers in this file"):
        convert.from_keras(folder / "model.weights.h5", into=rc.GRU(8, 5))


def test_a_huge_array_is_refused_before_it_is_read(saved):
    folder, _ = saved
    with h5py.File(folder / "model.weights.h5", "a") as file:
        group = file["layers/gru/cell/vars"]
        del group["0"]
        group.create_dataset("0", (2**20, 2**20), "f4", chunks=(1024, 1024))     # of zeros, which take no room
    with pytest.raises(ValueError, match="none fits"):
        convert.from_keras(folder / "model.weights.h5", into=rc.GRU(8, 5))


@pytest.mark.parametrize("name", ["x", "0.5"])
def test_other_things_in_the_place_of_arrays(saved, name):
    folder, _ = saved
    with h5py.File(folder / "model.weights.h5", "a") as file:
        file["layers/gru/cell/vars"][name] = "text"
    with pytest.raises(DamagedFileError, match="something else"):
        convert.from_keras(folder / "model.weights.h5", into=rc.GRU(8, 5))


def test_weights_need_h5py_alone(saved):
    folder, _ = saved
    run_python(f"""
import sys
import rnncore as rc
from rnncore import convert
convert.from_keras({str(folder / 'model.weights.h5')!r}, into=rc.GRU(8, 5))
assert not {{"keras", "torch", "onnx"}} & set(sys.modules)
""")
