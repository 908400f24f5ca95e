"""``theano.config``: PyTensor's configuration, with the flags that it dropped and old code reads."""

import os
import warnings
from contextlib import contextmanager

import pytensor
from pytensor import config as current

__all__ = ["change_flags", "config", "flags_from_environment"]

DROPPED = {
    "assert_no_cpu_op": "ignore",
    "compute_test_value": "off",
    "contexts": "",
    "device": "cpu",
    "dnn__conv__algo_bwd_data": "small",
    "dnn__conv__algo_bwd_filter": "small",
    "dnn__conv__algo_fwd": "small",
    "dnn__enabled": "False",
    "enable_initial_driver_test": False,
    "experimental__unpickle_gpu_on_cpu": False,
    "force_device": False,
    "gpuarray__preallocate": 0.0,
    "gpuarray__sched": "default",
    "init_gpu_device": "",
    "int_division": "int",
    "lib__amdlibm": False,
    "lib__cnmem": 0.0,
    "nvcc__fastmath": False,
    "nvcc__flags": "",
    "numpy__seterr_all": "ignore",
    "print_active_device": False,
    "print_test_value": False,
    "reoptimize_unpickled_function": False,
    "scan__allow_gc": False,
    "scan__allow_output_prealloc": True,
    "traceback__limit": 8,
    "warn__ignore_bug_before": "0.9",
    "warn__round": False,
    "warn__subtensor_merge_bug": False,
    "warn__sum_div_dimshuffle_bug": False,
}
"""The flags that PyTensor dropped, some of them late, with the values Theano had on a CPU."""

WITHOUT_EFFECT = DROPPED.keys() - set(
    "compute_test_value contexts device force_device init_gpu_device int_division".split()
)
"""Those that change no result, whatever they are set to."""

TAKEN = ("floatX", "mode", "exception_verbosity", "on_unused_input", "warn_float64", "compute_test_value")
"""The flags that are taken from the environment."""


class Flags:
    """Flags as attributes: PyTensor's, which are set in PyTensor, and dropped ones, which have no effect.

    But for ``compute_test_value``, which :mod:`~symupdates.theano.parts.debugging` serves. Nor have those that
    PyTensor fixes when it is imported, such as ``optimizer``: they stay as they are. A flag such as
    ``config.blas.ldflags`` is found by its path. ``device`` can only be ``"cpu"``.
    """

    def __init__(self, prefix=""):
        object.__setattr__(self, "_prefix", prefix)

    def __getattr__(self, name):
        flag = self._prefix + name
        if name.startswith("__"):
            raise AttributeError(name)
        if hasattr(current, flag):
            return getattr(current, flag)
        if flag in DROPPED:
            return DROPPED[flag]
        if any(known.startswith(f"{flag}__") for known in [*DROPPED, *dir(current)]):
            return Flags(f"{flag}__")
        raise AttributeError(f"neither Theano nor PyTensor has the flag {flag.replace('__', '.')}.")

    def __setattr__(self, name, value):
        flag = self._prefix + name
        if flag == "device" and value != "cpu":
            raise ValueError(
                f"theano.config.device is 'cpu' and cannot be {value!r}: PyTensor has no GPU arrays. Compile with "
                "mode='JAX' to run on a GPU."
            )
        if hasattr(current, flag):
            if getattr(vars(type(current)).get(flag), "mutable", True):
                setattr(current, flag, value)
        elif flag in DROPPED:
            DROPPED[flag] = value
        else:
            raise AttributeError(f"neither Theano nor PyTensor has the flag {flag.replace('__', '.')}.")

    def change_flags(self, *args, **kwargs):
        """Change flags for a function or a block, as a decorator or a context."""
        return change_flags(*args, **kwargs)


config = Flags()


@contextmanager
def change_flags(*args, **kwargs):
    """Change flags for a function or a block, as a decorator or a context; those that nothing has stay out of it."""
    flags = {name.replace(".", "__"): value for name, value in {**dict(*args), **kwargs}.items()}
    before = {name: DROPPED[name] for name in flags if name in DROPPED and not hasattr(current, name)}
    with pytensor.config.change_flags(**{name: value for name, value in flags.items() if hasattr(current, name)}):
        DROPPED.update({name: flags[name] for name in before})
        try:
            yield
        finally:
            DROPPED.update(before)


def flags_from_environment():
    """Set the flags that the environment has for Theano in ``THEANO_FLAGS``.

    Those that PyTensor cannot change once it is imported, or does not have, have no effect. A device other than the CPU
    is answered by a warning.
    """
    for setting in filter(None, os.environ.get("THEANO_FLAGS", "").split(",")):
        name, _, value = setting.strip().partition("=")
        flag = name.replace(".", "__")
        if flag == "device" and not value.startswith("cpu"):
            warnings.warn(
                f"THEANO_FLAGS asks for the device {value}: everything runs on the CPU. PyTensor has no GPU arrays; "
                "compile with mode='JAX' to run on a GPU.",
                stacklevel=3,
            )
        elif flag in TAKEN:
            setattr(config, flag, value)
