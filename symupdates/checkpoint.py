"""The file of a checkpoint: written whole or not at all, and believed only as far as it has been compared.

It is a ZIP archive of NumPy arrays, a member each, after a list of their names. Nothing in it is compressed or pickled,
and random generators are text.
"""

import json
import os
import re
import secrets
import stat
import zipfile
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

try:
    import fcntl
except ImportError:  # Windows, which does not remove a file that is open
    fcntl = None

FORMAT = "symupdates 1"
INDEX = "symupdates.json"
LONGEST = 2**16 - 1  # the bytes of a member's name, and more than the characters of a generator's state
CHUNK = 2**20  # bytes that are read at once
HEADER = 2**11  # more characters than the header of an array has, of as many dimensions as there can be


def index_of(names):
    return json.dumps({"format": FORMAT, "names": list(names)})


def member_of(name):
    return f"{name}.npy"


# --- Writing ----------------------------------------------------------------------------------------------------------


def write(file, names, arrays):
    """Write a checkpoint of these names, from pairs of a name and its array. The same arrays give the same bytes."""
    for name in names:
        check_name(name)
    with replacing(file) as stream, new_archive(stream) as archive:
        archive.writestr(zipfile.ZipInfo(INDEX), index_of(names))
        for name, array in arrays:
            with archive.open(member_of(name), "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)


def check_name(name):
    """Refuse a name that would be another one in the archive, or none."""
    member = member_of(name)
    try:
        fits = zipfile.ZipInfo(member).filename == member and len(member.encode()) <= LONGEST
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name[:80]!r} cannot be the name of an array in a checkpoint: it is too long, or has a character that a "
            "ZIP archive does not keep. Give the variable another name; nothing was written."
        )


@contextmanager
def new_archive(stream):
    archive = zipfile.ZipFile(stream, "w")
    try:
        yield archive
        archive.close()
    except BaseException:
        archive.fp = None  # given up; to close it would raise something else than what has happened
        raise


@contextmanager
def replacing(file):
    """A binary stream whose content takes the place of a file in a single step, once it is on the disk.

    A link stays, and what it stands for is replaced. The mode stays. What is no regular file is not replaced.
    """
    file = os.path.realpath(os.fsdecode(file))
    mode = mode_of(file)
    folder, name = os.path.split(file)
    prefix = f".{name[:48]}."  # of a name that has all the 255 bytes there are, there is room for a part
    remove_stale(folder, prefix)
    replaced = False
    while not replaced:
        temporary = os.path.join(folder, f"{prefix}{secrets.token_hex(4)}.tmp")
        try:
            with open(temporary, "xb", opener=partial(os.open, mode=0o666 if mode is None else mode)) as stream:
                if not locked(stream, temporary):
                    continue
                yield stream
                stream.flush()
                if mode is not None:
                    with suppress(OSError):  # what was created has no more rights than that
                        os.chmod(temporary, mode)
                os.fsync(stream.fileno())
                if not fcntl:
                    stream.close()
                os.replace(temporary, file)  # while it is locked
                replaced = True
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    sync(folder)


def mode_of(file):
    """The mode of a regular file, None if there is none yet."""
    try:
        mode = os.stat(file).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise OSError(f"{file} is no regular file, and is not replaced.")
    return stat.S_IMODE(mode)


def locked(stream, temporary):
    """Lock a temporary file, where there are locks; False if another process took it for stale just before."""
    if fcntl:
        with suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
    return os.fstat(stream.fileno()).st_nlink > 0 or os.path.exists(temporary)


def remove_stale(folder, prefix):
    """Remove the temporary files of processes that were killed: those that nobody has locked, or has open."""
    name_of_one = re.compile(rf"{re.escape(prefix)}[0-9a-f]{{8}}\.tmp")
    with suppress(OSError):
        for name in filter(name_of_one.fullmatch, os.listdir(folder)):
            path = os.path.join(folder, name)
            with suppress(OSError):
                if fcntl:
                    with open(path, "r+b") as stream:
                        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        os.unlink(path)
                else:
                    os.unlink(path)


def sync(folder):
    """Have the names in a folder on the disk, where it lets us; what is in place stays there in any case."""
    if os.name == "posix":
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


# --- Reading ----------------------------------------------------------------------------------------------------------


class Stored(NamedTuple):
    """An array of a state that is loaded: known by its dtype and shape before it is read.

    Attributes
    ----------
    dtype, shape
        As it says of itself.
    read
        A function that gives the array, a new one.
    verify
        A function that raises an error if it cannot be read.
    """

    dtype: np.dtype
    shape: tuple
    read: Callable
    verify: Callable = lambda: None


class Misfit(ValueError):
    """Why a variable cannot have a stored value, to be said after its name."""


class Checkpoint(Mapping):
    """What a file has stored, by name. Only the directory is read, and the header of an array that is asked for."""

    def __init__(self, stream):
        self.file = os.fsdecode(stream.name)
        with self.refusing():
            self.archive = zipfile.ZipFile(stream)
            self.members = self.checked_members(stream.seek(0, os.SEEK_END))

    @contextmanager
    def refusing(self):
        try:
            yield
        except OSError:
            raise
        except Exception as error:  # there is no end to what damaged archives make their readers raise
            raise ValueError(f"{self.file} is not a whole checkpoint, and nothing was loaded: {error}") from error

    def checked_members(self, size):
        """The members of the arrays by name, of an archive that can be one of ours."""
        members = {info.orig_filename: info for info in self.archive.infolist()}
        if len(members) < len(self.archive.infolist()):
            raise ValueError("it has two members of one name")
        for name, info in members.items():
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                raise ValueError(f"{name} is compressed, which no part of a checkpoint is")
            if not 0 <= info.header_offset <= size - info.file_size:
                raise ValueError(f"{name} is not where it should be")
        if INDEX not in members:
            raise ValueError(f"it has no {INDEX}")
        arrays = {name.removesuffix(".npy"): info for name, info in members.items() if name.endswith(".npy")}
        expected = index_of(arrays).encode()
        with self.archive.open(INDEX) as member:
            index = member.read(len(expected) + 1)
        if (found := re.match(rb'\{"format": "(symupdates \d+)"', index)) and found[1].decode() != FORMAT:
            raise ValueError(f"its format is {found[1].decode()!r}, not {FORMAT!r}")
        if index != expected or len(arrays) + 1 < len(members):
            raise ValueError(f"{INDEX} does not name what it has")
        return arrays

    def __iter__(self):
        return iter(self.members)

    def __len__(self):
        return len(self.members)

    def __getitem__(self, name):
        info = self.members[name]
        with self.refusing(), self.archive.open(info) as member:
            if npy.read_magic(member) != (1, 0):
                raise ValueError(f"{name} is in another version of NumPy's format")
            shape, in_fortran_order, dtype = npy.read_array_header_1_0(member, max_header_size=HEADER)
            start = member.tell()
            if dtype.hasobject:
                raise ValueError(f"{name} has objects, which are pickled")
            if info.file_size != start + prod(shape) * dtype.itemsize:
                raise ValueError(f"{name} does not have the size of its array")
        return Stored(
            dtype, shape, partial(self.read, info, start, shape, in_fortran_order, dtype), partial(self.verify, info)
        )

    def verify(self, info):
        """Read a member to the end, where its checksum is compared, and keep nothing of it."""
        with self.refusing(), self.archive.open(info) as member:
            while member.read(CHUNK):
                pass

    def read(self, info, start, shape, in_fortran_order, dtype):
        array = np.empty(shape[::-1] if in_fortran_order else shape, dtype)
        content = memoryview(array.reshape(-1).view(np.uint8))
        try:
            with self.archive.open(info) as member:
                member.read(start)
                for i in range(0, len(content), CHUNK):
                    member.readinto(content[i : i + CHUNK])
        except (EOFError, zipfile.BadZipFile) as error:
            raise OSError(f"{self.file} was changed while it was loaded: {error}") from error
        return array.T if in_fortran_order else array


# --- Random generators ------------------------------------------------------------------------------------------------

BIT_GENERATORS = np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64
LARGEST = {  # what may stand in the fields of their states; some of them are places in an array, and are not looked at
    "state": 2**128 - 1,
    "inc": 2**128 - 1,
    "has_uint32": 1,
    "uinteger": 2**32 - 1,
    "pos": 624,
    "buffer_pos": 4,
}


def bit_generator_of(variable):
    bit_generator = variable.get_value(borrow=True).bit_generator
    if type(bit_generator) not in BIT_GENERATORS:
        known = ", ".join(kind.__name__ for kind in BIT_GENERATORS)
        raise TypeError(
            f"the value of {variable} cannot be saved: it draws from {type(bit_generator).__name__}, which is none of "
            f"NumPy's ({known})."
        )
    return bit_generator


def generator_text(variable):
    """The state of the generator that a variable holds, as JSON."""
    return json.dumps(bit_generator_of(variable).state, default=encode)


def stored_generator(variable, stored):
    """The generator of a stored text, after refusing what is no state of the class that the variable holds."""
    bit_generator = bit_generator_of(variable)
    if stored.dtype.kind != "U" or stored.shape or stored.dtype.itemsize > 4 * LONGEST:
        raise Misfit(f"is not the state of a random generator (it has dtype {stored.dtype} and shape {stored.shape})")
    stored.verify()
    try:
        text = stored.read().item()
        check_state(json.loads(text), json.loads(generator_text(variable)))
        bit_generator = type(bit_generator)()
        bit_generator.state = json.loads(text, object_hook=decode)
    except (ValueError, RecursionError) as error:
        raise Misfit(f"is not the state of a random generator ({error})") from error
    return np.random.Generator(bit_generator)


def check_state(value, like, field="it", largest=None):
    """Refuse what cannot stand where a state has `like`: JSON, compared field by field."""
    if isinstance(like, dict):
        if not isinstance(value, dict) or value.keys() != like.keys():
            raise ValueError(f"{field} must have {', '.join(like)}, and nothing else")
        largest = np.iinfo(like["dtype"]).max if "dtype" in like else None
        for key in like:
            check_state(value[key], like[key], key, LARGEST.get(key, largest))
    elif isinstance(like, list):
        if not isinstance(value, list) or len(value) != len(like):
            raise ValueError(f"{field} must have {len(like)} numbers")
        for number in value:
            check_state(number, like[0], field, largest)
    elif isinstance(like, str):
        if value != like:
            raise ValueError(f"{field} must be {like!r}, not {value!r:.40}")
    elif type(value) is not int or not 0 <= value <= largest:
        raise ValueError(f"{field} must be a whole number of 0 to {largest}")


def encode(array):
    return {"array": np.asarray(array).tolist(), "dtype": np.asarray(array).dtype.str}


def decode(value):
    return np.array(value["array"], dtype=value["dtype"]) if value.keys() == {"array", "dtype"} else value
