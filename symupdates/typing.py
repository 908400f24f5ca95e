"""Types: for annotations of your own code, for type checkers and editors. At run time nothing is checked by them.

A name that ends in ``Like`` is for what a function takes, as NumPy's ``ArrayLike``; its namesake without, for what one
returns::

    def smaller_steps(optimizer: OptimizerLike, scale: Hyper) -> Optimizer:
        return symupdates.chain(optimizer, symupdates.apply_scale(scale=scale))

A function that awaits data has two forms of call. With data it returns what it makes of them; without, according to its
kind, an :class:`Optimizer`, a :class:`GradientTransform`, an :class:`UpdateTransform` or a :class:`Projection`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any, NewType, ParamSpec, Protocol, TypeAlias, TypeVar, overload

import numpy as np
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

__all__ = [
    "Bounds",
    "GradientTransform",
    "Gradients",
    "GroupLike",
    "Hyper",
    "Loss",
    "LossOrGrads",
    "Number",
    "Optimizer",
    "OptimizerLike",
    "Parameter",
    "Parameters",
    "Projection",
    "ProjectionLike",
    "ProximalLike",
    "Rows",
    "ScheduleLike",
    "Seed",
    "Selection",
    "Selector",
    "StageLike",
    "StateLike",
    "UpdateTransform",
    "Updates",
    "UpdatesLike",
]

# --- Data -------------------------------------------------------------------------------------------------------------

Rows = NewType("Rows", TensorVariable)
"""What :func:`symupdates.rows` returns: at run time, a tensor variable."""

Parameter: TypeAlias = SharedVariable | Rows
"""What a rule trains."""

Parameters: TypeAlias = Iterable[Parameter]
"""The parameters: any iterable of shared variables and rows."""

Loss: TypeAlias = Variable
"""A scalar loss."""

LossOrGrads: TypeAlias = Variable | Sequence[Variable]
"""A scalar loss, or a list or tuple of the gradients, one for each parameter."""

Gradients: TypeAlias = Variable | Sequence[Variable]
"""A list or tuple of gradients. (One variable is none; but :func:`pytensor.grad` is annotated to return it.)"""

if TYPE_CHECKING:
    from collections import _odict_items, _odict_keys, _odict_values

    class Updates(OrderedDict[Any, Any]):
        """``OrderedDict[SharedVariable, TensorVariable]``, which goes where such a dict is asked for, and into
        :func:`pytensor.function` too, whose annotation ``dict[Variable, Variable]`` no dict of shared variables meets.
        """

        def __getitem__(self, key: Variable, /) -> TensorVariable: ...
        def __iter__(self) -> Iterator[SharedVariable]: ...
        def keys(self) -> _odict_keys[SharedVariable, TensorVariable]: ...
        def values(self) -> _odict_values[SharedVariable, TensorVariable]: ...
        def items(self) -> _odict_items[SharedVariable, TensorVariable]: ...

else:
    Updates = OrderedDict[SharedVariable, TensorVariable]
    """The next value of each shared variable: what a rule or a transform returns."""

UpdatesLike: TypeAlias = dict[SharedVariable, Any] | dict[TensorSharedVariable, Any] | dict[Variable, Any]
"""Shared variables and their next values, also as written by hand."""

StateLike: TypeAlias = UpdatesLike | Collection[SharedVariable] | Mapping[str, SharedVariable]
"""What is saved and loaded: all that an updates dict moves, some shared variables, or these by names of your own."""

# --- Arguments --------------------------------------------------------------------------------------------------------

Number: TypeAlias = float | np.number[Any] | Variable
"""A number, or a scalar variable."""

ScheduleLike: TypeAlias = Callable[[TensorVariable], Number]
"""A function of the number of updates made: of :mod:`symupdates.schedules`, or one of your own."""

Hyper: TypeAlias = Number | ScheduleLike
"""A hyper-parameter: a number, a scalar variable (shared, to be changed while training), or a schedule."""

Bounds: TypeAlias = tuple[Any, Any]
"""The least and the greatest value of each element: numbers, or arrays; None is no bound."""

Seed: TypeAlias = int | Sequence[int] | None
"""The seed of random numbers; None for others in every run."""

Selector: TypeAlias = Parameters | str | Callable[[TensorSharedVariable], bool] | EllipsisType
"""Some of the parameters: these; those of such a name; those of which a function says so; or, by ``...``, all, in a
group all the rest."""

Selection: TypeAlias = Selector | None
"""Some of the parameters of an updates dict; all by None."""

OptimizerLike: TypeAlias = Callable[[TensorVariable, list[SharedVariable]], UpdatesLike]
"""A rule, an :class:`Optimizer`, or a function of your own: from loss or gradients, and parameters, to a dict."""

GroupLike: TypeAlias = tuple[Selector, OptimizerLike | None]
"""A group of :func:`symupdates.partition`: which parameters, and what trains them; None for nothing."""

StageLike: TypeAlias = Callable[..., UpdatesLike] | Callable[..., Sequence[Variable]]
"""A stage of :func:`symupdates.chain`: a transform of gradients, a rule, or a transform of an updates dict."""

ProjectionLike: TypeAlias = Callable[[TensorVariable], Variable]
"""A :class:`Projection`, or a function of your own from a tensor to one of the same shape."""

ProximalLike: TypeAlias = Callable[[TensorVariable, TensorVariable], Variable]
"""A proximal operator of :mod:`symupdates.proximal`, or a function of your own of a tensor and a step size."""

# --- What is returned without data ------------------------------------------------------------------------------------


class Partial(Protocol):
    """A :func:`functools.partial` of a function, that waits for its data."""

    @property
    def func(self) -> Callable[..., Any]: ...
    @property
    def args(self) -> tuple[Any, ...]: ...
    @property
    def keywords(self) -> dict[str, Any]: ...


class Optimizer(Partial, Protocol):
    """What ``adam(learning_rate=0.01)`` and ``chain(...)`` return: from loss or gradients, and parameters, to a dict.

    It is a :func:`functools.partial`, whose arguments are in ``.keywords``; they may be given anew when it is called.
    """

    def __call__(self, loss_or_grads: LossOrGrads | None, params: Parameters, **changes: Any) -> Updates: ...


class GradientTransform(Partial, Protocol):
    """What ``clip_by_norm(max_norm=1.0)`` returns: from gradients to gradients; a partial, as :class:`Optimizer`."""

    def __call__(self, grads: Gradients | None, **changes: Any) -> list[TensorVariable]: ...


class UpdateTransform(Partial, Protocol):
    """What ``apply_ema(decay=0.99)`` returns: from a dict to a dict; a partial, as :class:`Optimizer`."""

    def __call__(self, updates: UpdatesLike, **changes: Any) -> Updates: ...


class Projection(Partial, Protocol):
    """What ``simplex(axis=1)`` returns: from a tensor to a tensor; a partial, as :class:`Optimizer`."""

    def __call__(self, x: Variable, **changes: Any) -> TensorVariable: ...


# --- Functions that await data ----------------------------------------------------------------------------------------

Given = TypeVar("Given", contravariant=True)
Others = ParamSpec("Others")

# Of data that are not there, None is the default at run time too; a function that took only its other arguments would
# take a loss for a learning rate. That None stands beside gradients as well is because pytensor.grad is annotated so.


class Function(Protocol):
    """What every function has."""

    __name__: str
    __qualname__: str
    __module__: str


class Rule(Function, Protocol[Given, Others]):
    """A function that awaits a loss or gradients, and parameters."""

    @overload
    def __call__(
        self, loss_or_grads: Given | None, params: Parameters, *args: Others.args, **kwargs: Others.kwargs
    ) -> Updates: ...
    @overload
    def __call__(
        self, loss_or_grads: None = None, params: None = None, *args: Others.args, **kwargs: Others.kwargs
    ) -> Optimizer: ...


class OfGradients(Function, Protocol[Others]):
    """A function that awaits gradients."""

    @overload
    def __call__(
        self, grads: Gradients | None, *args: Others.args, **kwargs: Others.kwargs
    ) -> list[TensorVariable]: ...
    @overload
    def __call__(self, grads: None = None, *args: Others.args, **kwargs: Others.kwargs) -> GradientTransform: ...


class OfUpdates(Function, Protocol[Others]):
    """A function that awaits an updates dict."""

    @overload
    def __call__(self, updates: UpdatesLike, *args: Others.args, **kwargs: Others.kwargs) -> Updates: ...
    @overload
    def __call__(self, updates: None = None, *args: Others.args, **kwargs: Others.kwargs) -> UpdateTransform: ...


class OfTensor(Function, Protocol[Others]):
    """A function that awaits a tensor."""

    @overload
    def __call__(self, x: Variable, *args: Others.args, **kwargs: Others.kwargs) -> TensorVariable: ...
    @overload
    def __call__(self, x: None = None, *args: Others.args, **kwargs: Others.kwargs) -> Projection: ...
