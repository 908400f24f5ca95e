"""Files of checkpoints: old ones are read, damaged and crafted ones refused; they are replaced whole or not at all."""

import io
import json
import os
import runpy
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import zipfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import FAST_COMPILE, make_param
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from symupdates import adagrad, adam, checkpoint, sgd
from symupdates.state import load, load_state_dict, named, reset, save, state_dict

posix = pytest.mark.skipif(os.name != "posix", reason="of POSIX")

# --- Files of the first version ---------------------------------------------------------------------------------------

GOLDEN = Path(__file__).parent / "golden" / "checkpoints"
CASES = runpy.run_path(GOLDEN / "generate.py")["CASES"]


def bytes_of(variable):
    """Of an array, whatever its order in memory; of a generator, what it draws next."""
    value = variable.get_value()
    return value.random(3).tobytes() + value.bytes(3) if isinstance(value, np.random.Generator) else value.tobytes()


@pytest.mark.parametrize("name", CASES)
def test_old_files_are_read_and_are_written_the_same(name, tmp_path):
    expected, updates = CASES[name](), CASES[name]()
    for variable in updates:
        value = variable.get_value()
        fresh = isinstance(value, np.random.Generator)
        variable.set_value(np.random.Generator(type(value.bit_generator)(9)) if fresh else np.zeros_like(value))
    load(GOLDEN / f"{name}.ckpt", updates)
    for got, want in zip(updates, expected, strict=True):
        assert bytes_of(got) == bytes_of(want), got
    if name == "groups":  # which have other names now
        return
    old = (GOLDEN / f"{name}.ckpt").read_bytes()
    save(tmp_path / "new", CASES[name]())
    # It had the time of saving, which is no part of the state.
    assert (tmp_path / "new").read_bytes() == old.replace(old[10:14], b"\0\0\x21\0")
    with np.load(tmp_path / "new", allow_pickle=False) as archive:
        assert archive.files == ["symupdates.json", *named(expected)]


# --- Files that are refused -------------------------------------------------------------------------------------------


def in_bytes(array, header=None):
    """An array as NumPy's format has it, under another header perhaps."""
    stream = io.BytesIO()
    npy.write_array(stream, np.asarray(array), allow_pickle=True)
    if header is None:
        return stream.getvalue()
    return npy.magic(1, 0) + len(header).to_bytes(2, "little") + header + np.asarray(array).tobytes()


def craft(file, arrays, compression=zipfile.ZIP_STORED, index=None):
    """A file with members as given: bytes, or arrays."""
    with zipfile.ZipFile(file, "w", compression) as archive:
        if index is None:
            index = json.dumps({"format": "symupdates 1", "names": list(arrays)})
        archive.writestr("symupdates.json", index)
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", array if isinstance(array, bytes) else in_bytes(array))


def assert_refused(file, updates, match="nothing was loaded", **how):
    """Refused by the documented error, with little memory, and nothing changed."""
    before = state_dict(updates)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=match):
            load(file, updates, **how)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()
    for name, array in state_dict(updates).items():
        assert array.tobytes() == before[name].tobytes()


def test_damaged_files_are_refused(tmp_path):
    """Cut at every length, a byte changed at every place: refused, or what was saved; never anything else."""
    p = make_param((3,), "float64", "p")
    updates = adagrad([pt.vector()], [p])
    save(tmp_path / "whole", updates)
    whole = (tmp_path / "whole").read_bytes()
    saved = state_dict(updates)
    for v in updates:
        v.set_value(v.get_value() + 1)
    changed = state_dict(updates)

    def attempt(data):
        damaged = tmp_path / "damaged"
        damaged.write_bytes(data)
        try:
            load(damaged, updates)
        except ValueError as error:
            assert "nothing was loaded" in str(error)
            outcome = changed
        else:
            outcome = saved
        for name, array in state_dict(updates).items():
            assert array.tobytes() == outcome[name].tobytes()
        load_state_dict(updates, changed)
        return outcome is changed

    assert all(attempt(whole[:length]) for length in range(len(whole)))
    refused = sum(attempt(bytes([*whole[:i], whole[i] ^ 0x55, *whole[i + 1 :]])) for i in range(len(whole)))
    assert refused > 0.5 * len(whole)  # the others changed what says nothing, such as dates and padding
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none", updates)


def changed_at(data, kind, place, value):
    """Data with bytes overwritten, taken out, put in, repeated, or cut off."""
    place %= len(data) + 1
    length = value % 64
    few = (value % 2**64).to_bytes(8, "little")[: 1 + value % 8]
    return {
        "overwrite": data[:place] + few + data[place + len(few) :],
        "all ones": data[:place] + b"\xff" * length + data[place + length :],
        "remove": data[:place] + data[place + length :],
        "insert": data[:place] + few + data[place:],
        "repeat": data[:place] + data[max(place - 8 * length, 0) :],
        "cut": data[:place],
        "append": data + data[place:],
    }[kind]


KINDS = ["overwrite", "all ones", "remove", "insert", "repeat", "cut", "append"]
CHANGES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2**16), st.integers(0, 2**64)), max_size=6)


def arrays_and_a_generator(seed):
    random = np.random.default_rng(seed)
    values = {"W": random.normal(size=(2, 3)), "größer/b": random.normal(size=3).astype("float32"), "rng": random}
    variables = [pytensor.shared(value, name=name) for name, value in values.items()]
    return dict(zip(variables, variables, strict=True))


@pytest.mark.ci
@settings(max_examples=200, deadline=timedelta(seconds=10))
@given(changes=CHANGES, strict=st.booleans())
def test_whatever_is_changed_in_a_file(changes, strict, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "fuzzed"
    updates = arrays_and_a_generator(0)
    save(file, updates)
    saved, data = state_dict(updates), file.read_bytes()
    for change in changes:
        data = changed_at(data, *change)
    file.write_bytes(data)
    updates = arrays_and_a_generator(1)
    before = state_dict(updates)
    unmatched = None
    with suppress(ValueError):
        unmatched = load(file, updates, strict=strict)
    for name, array in state_dict(updates).items():
        expected = before if unmatched is None or name in unmatched.missing else saved
        assert array.tobytes() == expected[name].tobytes()


def test_foreign_files_are_refused(tmp_path):
    p = make_param((3,), "float64", "p")
    updates = sgd([pt.vector()], [p])
    file = tmp_path / "foreign"
    with open(file, "wb") as stream:
        np.savez(stream, p=np.ones(3))
    assert_refused(file, updates, r"not a whole checkpoint.*symupdates\.json")
    craft(file, {}, index=json.dumps({"format": "symupdates 2", "names": []}))
    assert_refused(file, updates, "its format is 'symupdates 2'")
    craft(file, {"p": np.array([{}], dtype=object)})
    assert_refused(file, updates, r"not a whole checkpoint.*pickle")
    for index in (
        "",
        "[" * 100_000,
        '{"format": "symupdates 1", "names": ["q"]}',
        '{"names": ["p"]}',
        "null",
        "1" * 9999,
    ):
        craft(file, {"p": np.ones(3)}, index=index)
        assert_refused(file, updates, r"not a whole checkpoint.*symupdates\.json does not name what it has")
    craft(file, {"p": np.ones(3)})
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("more", "")
    assert_refused(file, updates, "does not name what it has")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(file, "w") as archive:
        archive.writestr("symupdates.json", json.dumps({"format": "symupdates 1", "names": ["p", "p"]}))
        archive.writestr("p.npy", in_bytes(np.ones(3)))
        archive.writestr("p.npy", in_bytes(np.ones(3)))
    assert_refused(file, updates, "two members of one name")


@pytest.mark.parametrize("strict", [True, False])
def test_compression_is_refused_before_it_is_undone(strict, tmp_path):
    """Of the array that is asked for, of one that is unknown, and of the list of names."""
    updates = sgd([pt.vector()], [make_param((3,), "float64", "p")])
    file = tmp_path / "bomb"
    bomb = in_bytes(np.zeros(4_000_000))
    for arrays in ({"p": bomb}, {"p": np.ones(3), "q": bomb}):
        craft(file, arrays, zipfile.ZIP_DEFLATED)
        assert file.stat().st_size < 100_000
        assert_refused(file, updates, "is compressed", strict=strict)
    craft(file, {"p": np.ones(3)}, zipfile.ZIP_DEFLATED, index=" " * 32_000_000)
    assert_refused(file, updates, "is compressed", strict=strict)


HEADERS = [
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976,), }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 0, 9223372036854775807), }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}, 1",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
    b"{'descr': '|V8', 'fortran_order': False, 'shape': (3,), }",
    b"{'descr': [('p', '<f8')], 'fortran_order': False, 'shape': (3,), }",
    b"{'descr': '<U1000000000', 'fortran_order': False, 'shape': (3,), }",
    b"{'descr': '<f8', 'fortran_order': 7, 'shape': (3,), }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': [3]}",
    b"{'descr': '<f8', 'fortran_order': False}",
    b"(" * 9000,
    b"-" * 9000 + b"1",
    b"9" * 9000,
    b"{" * 60_000,
    b"\xff\x00",
    b"",
]


@pytest.mark.filterwarnings("ignore:Reading `.npy`")
@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_headers_are_compared_before_an_array_is_made(header, tmp_path):
    updates = sgd([pt.vector()], [make_param((3,), "float64", "p")])
    craft(tmp_path / "crafted", {"p": in_bytes(np.ones(3), header)})
    assert_refused(tmp_path / "crafted", updates)


def test_more_crafted_arrays_are_refused(tmp_path):
    updates = sgd([pt.vector()], [make_param((3,), "float64", "p")])
    whole = in_bytes(np.ones(3))
    for crafted in (
        whole + b"\0",
        whole[:-1],
        whole[:9],
        b"",
        b"\x93NUMPY\x09" + whole[7:],
        b"\x93NUMPY\x02" + whole[7:],
    ):
        craft(tmp_path / "crafted", {"p": crafted})
        assert_refused(tmp_path / "crafted", updates, "not a whole checkpoint")


def patched(file, place, replacement):
    """Overwrite bytes of a file's directory, at that place of the entry of each member."""
    data = bytearray(file.read_bytes())
    at = data.find(b"PK\1\2")
    while at >= 0:
        data[at + place : at + place + len(replacement)] = replacement
        at = data.find(b"PK\1\2", at + 4)
    file.write_bytes(data)


@pytest.mark.parametrize("place, replacement", [
    (8, b"\1\0"),  # encrypted
    (10, b"\x08\0"),  # deflated, where it is not
    (24, b"\xff\xff\xff\x7f"),  # a size of 2 GiB
    (20, b"\xff\xff\xff\x7f\xff\xff\xff\x7f"),  # the same, stored
    (42, b"\xff\xff\xff\x7f"),  # behind the end
    (42, b"\0\0\0\0"),  # all at the beginning
])  # fmt: skip
def test_crafted_directories_are_refused(place, replacement, tmp_path):
    updates = sgd([pt.vector()], [make_param((3,), "float64", "p")])
    craft(tmp_path / "crafted", {"p": np.ones(3)})
    patched(tmp_path / "crafted", place, replacement)
    assert_refused(tmp_path / "crafted", updates, "not a whole checkpoint")


@pytest.mark.parametrize("offset", [2**40, 2**63 - 1, 2**64 - 1])
def test_members_that_are_nowhere_are_refused(offset, tmp_path):
    updates = sgd([pt.vector()], [make_param((3,), "float64", "p")])
    craft(tmp_path / "crafted", {"p": np.ones(3)})
    with zipfile.ZipFile(tmp_path / "crafted", "a") as archive:
        archive.getinfo("p.npy").header_offset = offset
        archive.comment = b"to have the directory written again"
    assert_refused(tmp_path / "crafted", updates, "not a whole checkpoint")


def test_a_disk_that_cannot_be_read(tmp_path, monkeypatch):
    """Is not the fault of the file."""

    def failing(*args):
        raise OSError(5, "Input/output error")

    save(tmp_path / "run", updates := vector())
    monkeypatch.setattr(zipfile.ZipFile, "infolist", failing)
    with pytest.raises(OSError, match="Input/output error"):
        load(tmp_path / "run", updates)


def test_what_is_unknown_is_not_read(tmp_path):
    """Names and headers are compared first, and what no variable is to have may be anything."""
    updates = sgd([pt.vector()], [p := make_param((3,), "float64", "p")])
    file = tmp_path / "run"
    craft(file, {"p": np.full(3, 7.0), "q": b"nothing that NumPy could read", "r": np.ones(3000)})
    data = file.read_bytes()
    file.write_bytes(data.replace(np.ones(3000).tobytes(), np.zeros(3000).tobytes()))  # not what its checksum says
    assert_refused(file, updates, "nothing was loaded: q is unknown; r is unknown")
    assert load(file, updates, strict=False).unknown == ["q", "r"]
    np.testing.assert_array_equal(p.get_value(), 7)
    other = sgd([pt.vector()], [make_param((4,), "float64", "r")])
    assert_refused(file, other, r"p is unknown; q is unknown; r has shape \(3000,\) instead of \(4,\)")
    same = sgd([pt.vector()], [make_param((3000,), "float64", "r")])
    assert_refused(file, same, "not a whole checkpoint.*Bad CRC-32", strict=False)


# --- Random generators ------------------------------------------------------------------------------------------------

BITS = {"PCG64": 64, "PCG64DXSM": 64, "MT19937": 32, "Philox": 64, "SFC64": 64}
SMALLER = [-1, 2**128, 0.5, "1", True, None, [1], {"a": 1}]  # what is no number that would fit
WRONG = {
    "pos": [625, 100_000_000, 2**31, 2**64, *SMALLER],
    "buffer_pos": [5, 100_000_000, 2**32, *SMALLER],
    "has_uint32": [2, *SMALLER],
    "uinteger": [2**32, *SMALLER],
    "inc": SMALLER,
    "state": SMALLER,
    "key": SMALLER,
    "counter": SMALLER,
    "buffer": SMALLER,
    "bit_generator": ["seed", "RandomState", "Generator", "os", "PCG63", 1, None],
}


def shared_generator(kind, seed=1):
    return pytensor.shared(np.random.Generator(getattr(np.random, kind)(seed)), name="rng")


def fields_of(state, *above):
    for key, value in state.items():
        yield (*above, key)
        if isinstance(value, dict) and "dtype" not in value:
            yield from fields_of(value, *above, key)


def state_with(rng, path, value):
    """The state as a checkpoint has it, as text, with another value in a field."""
    state = json.loads(state_dict({rng: rng})["rng"].item())
    place = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(state)


def assert_no_state(rng, text, tmp_path):
    """Refused from a file and from a dict, and the generator is what it was."""
    updates = {rng: rng}
    craft(tmp_path / "rng", {"rng": np.array(text)})
    assert_refused(tmp_path / "rng", updates, r"rng is not the state of a random generator")
    with pytest.raises(ValueError, match="rng is not the state of a random generator"):
        load_state_dict(updates, {"rng": np.array(text)})


@pytest.mark.parametrize("kind", BITS)
def test_every_field_of_a_generator_is_checked(kind, tmp_path):
    """A position outside of the array would be read there, by the next that draws: the end of the process."""
    rng = shared_generator(kind)
    state = json.loads(state_dict({rng: rng})["rng"].item())
    for path in fields_of(state):
        for value in WRONG[path[-1]]:
            assert_no_state(rng, state_with(rng, path, value), tmp_path)
        part = state
        for key in path:
            part = part[key]
        if isinstance(part, dict) and "dtype" in part:
            numbers = part["array"]
            for array in (
                numbers[1:],
                [*numbers, 1],
                [numbers],
                [-1, *numbers[1:]],
                [2 ** BITS[kind], *numbers[1:]],
                1,
            ):
                assert_no_state(rng, state_with(rng, (*path, "array"), array), tmp_path)
            for dtype in ("O", "<f8", "S1000000000", "no dtype", 8, None):
                assert_no_state(rng, state_with(rng, (*path, "dtype"), dtype), tmp_path)
        if isinstance(part, dict):
            assert_no_state(rng, state_with(rng, (*path, "more"), 1), tmp_path)
            assert_no_state(rng, state_with(rng, path, dict(list(part.items())[1:])), tmp_path)
    for other in BITS.keys() - {kind}:
        assert_no_state(rng, text_of(other), tmp_path)


def text_of(kind):
    rng = shared_generator(kind)
    return state_dict({rng: rng})["rng"].item()


@pytest.mark.parametrize("kind, path, values", [
    ("MT19937", ("state", "pos"), (0, 624)),
    ("Philox", ("buffer_pos",), (1, 4)),
])  # fmt: skip
def test_the_ends_of_the_range_are_in_it(kind, path, values, tmp_path):
    rng = shared_generator(kind)
    for value in values:
        craft(tmp_path / "rng", {"rng": np.array(state_with(rng, path, value))})
        load(tmp_path / "rng", {rng: rng})
        assert np.isfinite(rng.get_value().normal(size=2000)).all()


TEXTS = [
    "",
    "{}",
    "[]",
    "null",
    "NaN",
    '"PCG64"',
    "1" * 5000,
    "[" * 60_000,
    '{"state":' * 7000,
    '{"array": [1], "dtype": "O"}',
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_odd_text_is_no_state(text, tmp_path):
    assert_no_state(shared_generator("PCG64"), text, tmp_path)


def test_what_is_no_text_is_no_state(tmp_path):
    rng = shared_generator("PCG64")
    for array in (
        np.array([text_of("PCG64")]),
        np.array(text_of("PCG64").encode()),
        np.ones(3),
        np.array("x" * 3_000_000),
        in_bytes(np.array(b"\xff" * 8), b"{'descr': '<U2', 'fortran_order': False, 'shape': (), }"),  # no characters
        in_bytes(np.zeros(0), b"{'descr': '<U0', 'fortran_order': False, 'shape': (), }"),
    ):
        craft(tmp_path / "rng", {"rng": array})
        assert_refused(tmp_path / "rng", {rng: rng}, "rng is not the state of a random generator")


class Counting(np.random.PCG64):
    """A generator that NumPy does not have."""


def test_generators_that_are_not_numpys_are_refused(tmp_path):
    rng = pytensor.shared(np.random.Generator(Counting(1)), name="rng")
    with pytest.raises(TypeError, match="value of rng cannot be saved: it draws from Counting"):
        save(tmp_path / "rng", {rng: rng})
    assert not os.listdir(tmp_path)
    with pytest.raises(TypeError, match="value of rng cannot be saved: it draws from Counting"):
        load_state_dict({rng: rng}, {"rng": text_of("PCG64")})


# --- How a file is replaced -------------------------------------------------------------------------------------------


def vector(value=1, name="p"):
    return {(p := pytensor.shared(np.full(3, float(value)), name=name)): p}


def value_in(file):
    with np.load(file, allow_pickle=False) as archive:
        return archive["p"][0]


def test_files_are_plain_and_replaced_whole(tmp_path):
    p = make_param((3,), "float64", "a/../file")
    updates = adam([pt.vector()], [p])
    old = os.umask(0o022)
    try:
        save(str(tmp_path / "run"), updates)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o644
    with np.load(tmp_path / "run", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["a/../file"], p.get_value())
    whole = (tmp_path / "run").read_bytes()
    with pytest.raises(TypeError):
        save(tmp_path / "run", {**updates, pytensor.shared({}, name="thing"): 0})
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "missing" / "run", updates)
    assert (tmp_path / "run").read_bytes() == whole
    assert os.listdir(tmp_path) == ["run"]


@posix
def test_links_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "latest").symlink_to("real/run")
    (tmp_path / "newest").symlink_to("latest")
    save(tmp_path / "newest", vector(1))  # there is no file yet
    save(tmp_path / "latest", vector(2))
    assert os.readlink(tmp_path / "latest") == "real/run" and os.readlink(tmp_path / "newest") == "latest"
    assert value_in(tmp_path / "real" / "run") == 2
    assert not (tmp_path / "real" / "run").is_symlink()
    assert os.listdir(tmp_path / "real") == ["run"]
    load(tmp_path / "newest", updates := vector())
    assert next(iter(updates)).get_value()[0] == 2
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="symbolic link"):
        save(tmp_path / "round", vector())
    assert (tmp_path / "round").is_symlink()


@posix
def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    before = {name: os.lstat(tmp_path / name) for name in os.listdir(tmp_path)}
    for name in before:
        with pytest.raises(OSError, match="is no regular file, and is not replaced"):
            save(tmp_path / name, vector())
    assert {name: os.lstat(tmp_path / name) for name in os.listdir(tmp_path)}.keys() == before.keys()
    assert all(os.path.samestat(os.lstat(tmp_path / name), before[name]) for name in before)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_the_mode_stays(mode, tmp_path, monkeypatch):
    """And nobody has more rights to what is being written."""
    file = tmp_path / "run"
    save(file, vector())
    file.chmod(mode)
    seen = []

    def locked(stream, temporary):
        seen.append(stat.S_IMODE(os.stat(temporary).st_mode))
        return True

    monkeypatch.setattr(checkpoint, "locked", locked)
    old = os.umask(0o022)
    try:
        save(file, vector(2))
    finally:
        os.umask(old)
    assert value_in(file) == 2
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert seen == [mode & ~0o022]


class Given:
    """A path of a kind of its own."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


def test_paths_of_every_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = str(tmp_path / "run")
    for i, path in enumerate((file, file.encode(), Path(file), Given(file), Given(file.encode()), "run", b"run")):
        save(path, vector(i))
        assert value_in(file) == i
        load(path, updates := vector())
        assert next(iter(updates)).get_value()[0] == i
    assert os.listdir(tmp_path) == ["run"]
    with open(file, "r+b") as stream:
        for function in (save, load):
            with pytest.raises(TypeError, match="PathLike"):
                function(stream.fileno(), vector())


@pytest.mark.parametrize(
    "name", ["x" * 255, "ü" * 127, "\N{GRINNING FACE}" * 63], ids=["ASCII", "two bytes", "four bytes"]
)
def test_long_names_of_files(name, tmp_path):
    save(tmp_path / name, vector())
    save(tmp_path / name, vector(2))
    load(tmp_path / name, updates := vector())
    assert next(iter(updates)).get_value()[0] == 2
    assert os.listdir(tmp_path) == [name]


@posix
@pytest.mark.parametrize("what", ["open", "fsync"])
def test_a_folder_that_cannot_be_synchronized(what, tmp_path, monkeypatch):
    """The file is in its place then, and it would be wrong to say anything else."""
    original = getattr(os, what)

    def failing(thing, *args, **kwargs):
        if stat.S_ISDIR(os.stat(thing).st_mode if os.path.exists(thing) else 0):
            raise OSError(22, "Invalid argument")
        return original(thing, *args, **kwargs)

    monkeypatch.setattr(os, what, failing)
    save(tmp_path / "run", vector(3))
    assert value_in(tmp_path / "run") == 3


def test_names_that_an_archive_cannot_have(tmp_path):
    file = tmp_path / "run"
    save(file, vector(3))
    whole = file.read_bytes()
    for name in ("p\0q", "\0", "p\ud800", "x" * 65_532, "ä" * 32_766):
        with pytest.raises(ValueError, match="cannot be the name of an array in a checkpoint"):
            save(file, vector(4) | vector(5, name))
    assert file.read_bytes() == whole
    assert os.listdir(tmp_path) == ["run"]
    longest = "x" * 65_531
    save(file, vector(6, longest))
    load(file, updates := vector(1, longest))
    assert next(iter(updates)).get_value()[0] == 6


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    p = make_param((3000,), "float64", "p")
    updates = sgd([pt.vector()], [p])
    save(tmp_path / "run", updates)
    whole = (tmp_path / "run").read_bytes()
    monkeypatch.setattr(checkpoint, "open", lambda path, mode, opener: open("/dev/full", "wb"), raising=False)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path / "run", updates)
    monkeypatch.undo()
    assert (tmp_path / "run").read_bytes() == whole
    assert os.listdir(tmp_path) == ["run"]
    load(tmp_path / "run", updates)


@posix
def test_temporary_files_that_nobody_writes_are_removed(tmp_path):
    import fcntl

    file = tmp_path / "run.[1]"  # which as a pattern of names would be another one
    stale = tmp_path / ".run.[1].0123abcd.tmp"
    others = [
        ".run.[1].tmp",
        ".run.[1].0123abcd.tmp~",
        ".run.1.0123abcd.tmp",
        ".run.[1].more.0123abcd.tmp",
        "run.[1].tmp",
    ]
    for path in (stale, *map(tmp_path.joinpath, others)):
        path.write_bytes(b"what a killed process had written")
    with open(stale, "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        save(file, vector())
        assert stale.exists()  # somebody writes it
    save(file, vector())
    assert sorted(os.listdir(tmp_path)) == sorted([*others, file.name])


@posix
def test_a_file_taken_for_stale_is_begun_anew(tmp_path, monkeypatch):
    import fcntl

    original, taken = fcntl.flock, []

    def flock(stream, operation):
        if not taken:
            taken.append(stream.name)
            os.unlink(stream.name)  # another process had been faster
        original(stream, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    save(tmp_path / "run", vector(2))
    assert value_in(tmp_path / "run") == 2
    assert os.listdir(tmp_path) == ["run"]
    assert taken


@pytest.mark.parametrize("locks", ["none", "failing"])
def test_without_locks(locks, tmp_path, monkeypatch):
    """On Windows, and on file systems that have none."""
    if locks == "none":
        monkeypatch.setattr(checkpoint, "fcntl", None)
    else:

        def flock(*args):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", flock)
    (tmp_path / ".run.0123abcd.tmp").write_bytes(b"")
    save(tmp_path / "run", vector(2))
    assert value_in(tmp_path / "run") == 2
    assert len(os.listdir(tmp_path)) == (1 if locks == "none" else 2)


def test_several_save_to_one_file(tmp_path, monkeypatch):
    """Each removes what is stale, and none what another writes."""
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: time.sleep(1e-4))
    file, errors = tmp_path / "run", []

    def many(value):
        try:
            for _ in range(40):
                save(file, updates := vector(value))
                load(file, updates)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=many, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(os, "fsync", sync)
    assert not errors
    assert os.listdir(tmp_path) == ["run"]


def test_no_more_memory_than_the_largest_array(tmp_path):
    """To save, and to load from a file or a dict; whatever the order in memory."""
    tracemalloc.start()
    try:
        values = [np.full((8, 2**17), float(i)) for i in range(4)] + [np.asfortranarray(np.ones((8, 2**17)))]
        variables = [pytensor.shared(x, name=f"p{i}", borrow=True) for i, x in enumerate(values)]
        size = values.pop().nbytes
        del values
        state = dict.fromkeys(["p0", "p1", "p2", "p3", "p4"], np.full((8, 2**17), 5.0))
        file = tmp_path / "run"
        for work, expected in [
            (lambda: save(file, variables), 3),
            (lambda: load(file, variables), 3),
            (lambda: load_state_dict(variables, state), 5),
        ]:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            work()
            assert tracemalloc.get_traced_memory()[1] - before < 1.4 * size
            assert variables[3].get_value(borrow=True)[7, -1] == expected
    finally:
        tracemalloc.stop()


# --- Interruptions ----------------------------------------------------------------------------------------------------

INTERRUPTED = """
    import os, sys
    import numpy as np, pytensor
    from symupdates.state import load, save
    os.fsync = lambda descriptor: None
    what, file = sys.argv[1:]
    variables = [pytensor.shared(np.zeros(3), name=name) for name in "pqr"]
    variables.append(pytensor.shared(np.random.default_rng(1), name="rng"))

    def fill(value):
        for variable in variables[:3]:
            variable.set_value(np.full(3, value))

    def found():
        return [float(variable.get_value()[0]) for variable in variables[:3]]

    def run(interruption):
        '''Save or load, with an interruption at one of the lines; the error, and whether there was that line.'''
        line = 0

        def trace(frame, event, argument):
            nonlocal line
            line += event == "line"
            if line == interruption and event == "line":
                raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            save(file, variables) if what == "save" else load(file, variables)
        except BaseException as error:
            return type(error), True
        finally:
            sys.settrace(None)
        return None, line >= interruption

    fill(2.0)
    save(file, variables)
    load(file, variables)
    interruption, more, errors = 1, True, []
    while more:
        if what == "save":
            fill(1.0)
            save(file, variables)
            fill(2.0)
        else:
            fill(1.0)
        error, more = run(interruption)
        errors.append(error)
        if what == "save":
            assert len(os.listdir(os.path.dirname(file))) == 1, interruption
            load(file, variables)
        assert found() in ([1.0] * 3, [2.0] * 3), (interruption, found())
        interruption += 11
    assert found() == [2.0] * 3
    # Those at lines of a __del__ are lost.
    assert errors.count(KeyboardInterrupt) > 0.9 * len(errors) > 100
    assert set(errors) == {KeyboardInterrupt, None}, set(errors)
"""


@pytest.mark.parametrize("what", ["save", "load"])
def test_an_interruption_leaves_all_or_nothing(what, tmp_path):
    """Ctrl-C at a line of the code, at another, and so on, of Python's own modules too."""
    program = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), what, str(tmp_path / "run")]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Stop(Exception):
    """What the handler of a signal raises."""


@posix
@pytest.mark.parametrize("error", [KeyboardInterrupt, Stop])
def test_signals_wait_until_all_is_set(error, tmp_path, monkeypatch):
    values = [make_param((3,), "float64", name) for name in "abc"]
    save(tmp_path / "run", values)
    for p in values:
        p.set_value(np.zeros(3))
    read, interrupted = checkpoint.Checkpoint.read, []

    def interrupting(self, info, *header):
        if interrupted.count(info) < (3 if error is KeyboardInterrupt else 1):
            interrupted.append(info)
            signal.raise_signal(signal.SIGINT)
        return read(self, info, *header)

    def handler(*args):
        raise error

    monkeypatch.setattr(checkpoint.Checkpoint, "read", interrupting)
    old = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(error):
            load(tmp_path / "run", values)
    finally:
        signal.signal(signal.SIGINT, old)
    assert all(p.get_value().all() for p in values)
    assert len(set(interrupted)) == 3


def test_a_disk_that_fails_after_all_was_verified(tmp_path, monkeypatch):
    """Which values have been set is told, as there is no way back."""
    a, b, c = (pytensor.shared(np.full(20_000, 1.0), name=name) for name in "abc")
    file = tmp_path / "run"
    save(file, [a, b, c])
    for p in (a, b, c):
        p.set_value(np.zeros(20_000))
    verify = checkpoint.Checkpoint.verify

    def then_changed(self, info):
        verify(self, info)
        if info.filename == "c.npy":
            with open(file, "r+b") as stream:
                stream.seek(file.stat().st_size // 2)
                stream.write(b"other")

    monkeypatch.setattr(checkpoint.Checkpoint, "verify", then_changed)
    with pytest.raises(OSError, match="was changed while it was loaded") as caught:
        load(file, [a, b, c])
    assert caught.value.__notes__ == ["Loaded: a. Not loaded: b, c."]
    assert [p.get_value()[0] for p in (a, b, c)] == [1, 0, 0]


# Set it to 100 and more to be thorough: a start of the program takes a second or two.
KILLS = int(os.environ.get("SYMUPDATES_KILLS", 8))

TRAINING = """
    import sys
    import numpy as np, pytensor
    from symupdates import adam
    from symupdates.state import load, save
    p = pytensor.shared(np.zeros(20000), name="p")
    updates = adam([p + 1], [p], learning_rate=0.5)
    step = pytensor.function([], [], updates=updates, mode="FAST_COMPILE")
    load(sys.argv[1], updates)
    count = list(updates)[-1]
    while True:
        step()
        save(sys.argv[1], updates)
        print(count.get_value(), flush=True)
"""


@pytest.mark.ci
@pytest.mark.once
@posix
def test_a_killed_process_loses_nothing(tmp_path):
    """Killed at random moments while saving, over and over: each time it goes on from the last step that was saved."""
    file = tmp_path / "run"
    random = np.random.default_rng(0)
    program = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(TRAINING), str(file)]
    p = pytensor.shared(np.zeros(20000), name="p")
    updates = adam([p + 1], [p], learning_rate=0.5)
    count = list(updates)[-1]
    save(file, updates)
    reached = 0
    for _ in range(KILLS):
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            first = process.stdout.readline()
            time.sleep(random.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
            printed = [first, *process.stdout]
        load(file, updates)
        # A step is printed when it has been saved; at most one more was saved and not printed any more.
        saved = int(count.get_value())
        assert int(first) == reached + 1
        assert saved - int(printed[-1]) in (0, 1)
        reached = saved
    assert reached >= KILLS
    reset(updates)
    p.set_value(np.zeros(20000))
    step = pytensor.function([], [], updates=updates, mode=FAST_COMPILE)
    for _ in range(reached):
        step()
    expected = state_dict(updates)
    load(file, updates)
    for name, array in state_dict(updates).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    save(file, updates)
    assert os.listdir(tmp_path) == ["run"]  # what those that were killed had left is gone
