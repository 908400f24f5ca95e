"""The step: where a rule writes its mathematics, and what it becomes, an updates dict."""

from collections import OrderedDict
from functools import cache, partial

import pytensor.tensor as pt
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import graph_inputs, toposort
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.shape import SpecifyShape

from symupdates.core.checks import check_updates
from symupdates.core.hyper import GradientTag, RateTag, resolve
from symupdates.core.names import free_name, parameter_names
from symupdates.core.parameters import (
    check_loss,
    check_params,
    check_reaches,
    compute_grads,
    gradient_of,
    is_parameter,
    lookups_of,
    mark_as_parameters,
    only_whole,
    untrainable,
    whole_params,
)
from symupdates.core.places import AtRows, Lookups, Whole, whole, written
from symupdates.core.program import key_names, moved
from symupdates.core.replace import replaced
from symupdates.core.selectors import select
from symupdates.core.state import Call, StateTag, advance, closed, is_state, mark_as_stand_in, new_clock, new_state
from symupdates.core.types import astype, is_cast, largest_dtype, like, total

try:
    from pytensor.conditional import IfElse
except ImportError:  # PyTensor before 3.3
    from pytensor.ifelse import IfElse


def prepare(rule, loss_or_grads, params, **hyper):
    """Begin a rule: check its arguments, differentiate the loss, and resolve the hyper-parameters.

    Parameters
    ----------
    rule : str
        The rule's name, for the names of its state.
    loss_or_grads, params
        As in :func:`get_or_compute_grads`, with the errors described there.
    **hyper : number, NumPy scalar, 0-d array, scalar variable, or schedule
        The hyper-parameters, in the order in which the step is to give them. A schedule is a callable that takes the
        number of updates made, an int64 scalar variable (0 at the first update), and returns the value.

    Returns
    -------
    Step
        Iterates over ``(parameter, gradient, hyper-parameters)``.
    """
    params = check_params(params)
    grads = [gradient_of(p, g) for p, g in zip(params, compute_grads(loss_or_grads, params), strict=True)]
    mark_as_parameters(map(whole, params))
    places, grads = by_table(params, grads)
    for p, g in zip(places, grads, strict=True):
        g.tag.symupdates = GradientTag(p)
    return Step(rule, list(places), grads, hyper, places=places)


def prepare_of_values(rule, loss, params, **hyper):
    """Begin a rule that knows its loss by values: nothing is differentiated, and nothing need be differentiable.

    Parameters
    ----------
    rule, params, **hyper
        As for :func:`prepare`; rows of a table are refused.
    loss : scalar tensor variable
        The loss, of any real dtype.

    Returns
    -------
    Step
        Iterates over ``(parameter, parameter, hyper-parameters)``: there is no gradient.
    """
    params = whole_params(rule, params)
    check_loss("the loss", loss, differentiable=False)
    check_reaches(loss, params)
    mark_as_parameters(params)
    return Step(rule, params, params, hyper)


def by_table(params, grads):
    """Where each parameter is kept, and its gradient: all lookups in a table are one parameter, of all their rows."""
    of, tables = dict(zip(params, grads, strict=True)), lookups_of(params)
    places, summed = {}, []
    for p in params:
        several = tables.get(whole(p))
        if several is None:
            places[p] = Whole(p)
            summed.append(of[p])
        elif p is several[0]:
            lookups = Lookups(several)
            # Not the variable of the model itself, which a schedule may read by way of the loss.
            at_rows = lookups.flat(several).copy()
            places[at_rows] = AtRows(lookups.table, lookups, at_rows)
            summed.append(lookups.summed([of[q] for q in several]))
    return places, summed


def extend(transform, updates, params=None, **hyper):
    """Begin a transform of an updates dict, which is copied and never changed.

    Parameters
    ----------
    transform : str
        The transform's name; without ``apply_``, it is part of the names of its state.
    updates : dict
        The updates to transform: shared variables and their next values.
    params : iterable of shared variables, str, or callable; optional
        The parameters to transform; or a regular expression that is searched for in their names, or a function that
        says of a parameter whether it is to be; by default, or by ``...``, all that the dict updates. These are the
        keys that a rule was ever given as parameters; in a dict without any, as one written by hand, all float keys
        that are no optimizer state. Of what the model moves itself, by a default update, it has to be said.
    **hyper
        As for :func:`prepare`.

    Returns
    -------
    Step
        Iterates over ``(parameter, next value so far, hyper-parameters)``; it already holds all updates.
    """
    check_updates(transform, updates)
    every, names = parameters_of(updates), key_names(updates)
    selector = ... if params is None else params
    selected = select(f"{transform}: params", selector, every, [names[p] for p in every])
    params = list(dict.fromkeys(map(whole, selected)))
    values = updates if all(p in updates for p in params) else moved(updates)
    absent = [name for name, p in zip(parameter_names(params), params, strict=True) if p not in values]
    if absent:
        raise ValueError(
            f"{transform}: {', '.join(absent)} not among the updates; give params that the dict updates, or none for "
            "all of them."
        )
    names = key_names(updates | values)
    return Step(transform, params, [like(p, values[p]) for p in params], hyper, updates, [names[p] for p in params])


def parameters_of(updates):
    """The parameters among the keys of an updates dict: those known to be, or if none is, all that could be."""
    own = [v for v in updates if isinstance(v, SharedVariable) and not is_state(v)]
    return [v for v in own if is_parameter(v)] or [v for v in own if untrainable(v) is None]


class Step:
    """One training step in the making: what :func:`prepare` and :func:`extend` give a rule to write its math with.

    Iterating gives, for each parameter, ``(parameter, companion, hyper-parameters)``. The companion is the gradient (in
    a rule) or the next value so far (in a transform); the hyper-parameters come as a tuple of scalars, in the order
    they were given. All have the parameter's dtype. ``step[variable] = expression`` sets the next value of a parameter
    or state variable, ``step[variable]`` reads it.

    Attributes
    ----------
    rule : str
        The name under which state is kept: that of the rule or transform, and a number where a dict has several.
    call : Call
        What state and hyper-parameters belong to.
    params : list of shared variables
        All parameters. A rule that asks for them needs them whole, and is refused where one is rows of a table.
    hyper : callable
        The hyper-parameters, ``dtype -> tuple of scalars``.
    dtype : str
        The widest dtype of the parameters, for what is computed from all of them.
    t : int64 scalar
        The number of this update, 1 at the first.
    """

    def __init__(self, function, params, companions, hyper, updates=(), names=None, places=()):
        self._params = params
        self._places = {p: Whole(p) for p in params} | dict(places)
        self._at_rows = {p for p, place in self._places.items() if place.at_rows}
        self.dtype = largest_dtype(params)
        self._updates = OrderedDict(updates)
        self._values = dict(updates)
        rule = function.removeprefix("apply_")
        self.rule = free_name(rule, {v.tag.symupdates.rule for v in self._updates if is_state(v)})
        self.call = Call(rule, self.rule)
        self._companions = companions
        names = names or parameter_names([self._places[p].key for p in params])
        self._names = dict(zip(params, names, strict=True))
        self._taken = {v.name for v in self._updates} | set(self._names.values())
        self._clock = cache(partial(new_clock, self.call))
        self.hyper = resolve(function, hyper, self.call, self._clock)
        self._corrections = {}

    def __iter__(self):
        for p, companion in zip(self._params, self._companions, strict=True):
            yield p, companion, self.hyper(p.dtype)

    def __setitem__(self, variable, value):
        value, place = like(variable, value), self._place(variable)
        is_array = is_state(place.key) and variable.ndim > 0 and variable.dtype.startswith("float")
        if is_array and not (value is variable or is_cast(value) or written(variable, value)):
            # PyTensor's algebra looks through anything but this: (accu + g²) + ε would become a sum of three, of which
            # the accumulator's next value is no part, and XLA would copy the old one to read it twice.
            value = astype(value, variable.dtype)
        self._values[variable] = value
        self._refuse_unless_by_element(variable, value)
        self._updates[place.key] = place.written(value)

    def __getitem__(self, variable):
        return self._values[variable]

    def _place(self, variable):
        return self._places.get(variable) or Whole(variable)

    @property
    def params(self):
        self._refuse_rows(self._params, "it needs its parameters whole")
        return self._params

    @property
    def t(self):
        return self._clock() + 1

    def state(self, p, slot, initial=0.0, shape=(...,), dtype=None):
        """A new state variable.

        Parameters
        ----------
        p : shared variable
            The parameter it is kept for; None for what belongs to the rule as a whole.
        slot : str
            Its role; the variable is named ``<parameter>/<rule>/<slot>``, or ``<rule>/<slot>``.
        initial : float, array or shared variable
            Its initial value; an array is broadcast to the shape. Of a shared variable, such as the parameter, it is
            the value that one has, now and whenever state is reset.
        shape : tuple or callable
            Its shape, in which an Ellipsis stands for that of the parameter: ``(...,)`` by default, ``()`` for a
            scalar, ``(..., 10)`` for ten values for each element. Or a function of the parameter's shape, of whose
            elements some may be None.
        dtype : str, optional
            Its dtype; by default the parameter's, or the widest of all parameters.

        Returns
        -------
        tensor variable
            The shared variable. Where the parameter is rows of a table, the shared variable is for all of it, and what
            is returned are its rows.
        """
        name = f"{self.call.own_name}/{slot}" if p is None else f"{self._names[p]}/{self.rule}/{slot}"
        name = free_name(name, self._taken)
        dtype = dtype or (self if p is None else p).dtype
        if isinstance(initial, Variable):
            initial = self._place(initial).key
        place = self._place(p)
        if shape not in ((...,), ()):
            self._refuse_rows([p], f"its {slot} is not a number for each element")
        variable = new_state(name, StateTag(self.rule, slot, place.key, initial, shape, call=self.call), dtype)
        beside = place.beside(variable) if shape else Whole(variable)
        self._places[beside.variable] = beside
        if beside.at_rows:
            self._at_rows.add(beside.variable)
        return beside.variable

    def shape(self, p):
        """The shape that a parameter has now: in numbers, for a rule that depends on them."""
        self._refuse_rows([p], "it goes by the shape of the whole parameter")
        return p.get_value(borrow=True).shape

    def gradients_at(self, points):
        """The gradients where parameters have other values.

        Parameters
        ----------
        points : dict
            For parameters, the values they are to have, as expressions. All other inputs of the loss are the same, and
            what it draws of random generators too.

        Returns
        -------
        dict
            For each parameter the gradient there.
        """
        return dict(zip(self.params, self.at(points, self._companions), strict=True))

    def at(self, points, expressions):
        """Expressions where parameters have other values: a list. See :meth:`gradients_at`."""
        return replaced(expressions, {p: like(p, value) for p, value in points.items()})

    def rate(self, value):
        """Call a variable, which the next values are computed with, the rate at which the parameters move.

        What stands after the rule and goes by its rate, such as weight decay, takes it in place of the `learning_rate`.
        """
        value.tag.symupdates = RateTag(self.rule)
        return value

    def stand_in(self, p, slot):
        """State that stands in for the parameter wherever the model is evaluated, with the parameter's value at first.

        It is what a rule finds where that is not the parameter itself: an average, or the best point of a search.
        :func:`~symupdates.averages` gives it.
        """
        x = self.state(p, slot, initial=p)
        mark_as_stand_in(self._place(x).key)
        return x

    def count(self, slot):
        """A new count that belongs to the rule as a whole: an int64 scalar, 0 at first."""
        return self.state(None, slot, 0, (), "int64")

    def bias_correction(self, beta, t=None):
        r""":math:`1 - \beta^t`, what a moving average from zero has gathered of its weights after update `t`.

        `t` is that of the step, unless it is given: for an average that began later.

        In the dtype of `beta` and exact to it at any `t`, which a power of a float32 near one is not: it is
        computed as ``-expm1(t * log(beta))`` from the integer `t`.
        """
        if (beta, t) not in self._corrections:
            count = astype(self.t if t is None else t, beta.dtype)
            self._corrections[beta, t] = -pt.expm1(count * pt.log(beta))
        return self._corrections[beta, t]

    def total(self, tensors):
        """The sum of all elements of some tensors, such as one for each parameter, in the widest dtype of these."""
        return sum((total(astype(x, self.dtype)) for x in tensors), astype(pt.constant(0), self.dtype))

    def hold(self, is_open, model=()):
        """Let nothing of the parameters change unless `is_open`, a boolean scalar.

        Their values stand still, and so does all state that is kept for them, and what belongs to a rule as a whole,
        such as its count, unless something that goes on reads it. Random generators always advance: a gate that closed
        because of the numbers drawn would else meet the same numbers again.

        Parameters
        ----------
        is_open : boolean scalar variable
        model : dict
            Variables of the model, and their next values, that are to stand still too.
        """
        self._updates |= model
        updates = self._updates
        members = {None, *self.params}
        held = {v for v in updates if v in members or (is_state(v) and v.tag.symupdates.parameter in members)}
        held -= {v for v in held if is_state(v) and v.tag.symupdates.slot == "rng"}
        held.update(model)
        opens = cache(partial(pt.shape_padleft, is_open))
        moving = [v for v in updates if v not in held]
        while moving:
            read = set(graph_inputs([updates[v] for v in moving])) & held
            moving = [v for v in read if is_state(v) and v.tag.symupdates.parameter is None]
            held.difference_update(moving)
        for variable in updates:
            if variable in held and (rows := written(variable, updates[variable])):
                index, values = rows
                at_rows = variable[index]
                self[variable] = pt.set_subtensor(at_rows, pt.switch(opens(values.ndim), values, at_rows))
            elif variable in held:
                self[variable] = pt.switch(opens(variable.ndim), updates[variable], variable)

    def advance(self):
        """Let whatever updates dict reads the state that was set advance it: for transforms, which make no dict."""
        for variable, value in self._updates.items():
            advance(variable, value)

    def finish(self, params_first=False):
        """The updates dict: what was set, in that order, and last the state that advances by itself.

        All such state that the expressions read, and those of its own advance, is found: the dict is closed. What
        belongs to the rule as a whole comes after what belongs to the parameters, and counts come last; where there is
        nothing else, the dict is empty.

        Parameters
        ----------
        params_first : bool
            Put the entries of the parameters before those of the state.
        """
        self.call.end()
        updates = OrderedDict(sorted(self._updates.items(), key=lambda item: params_first and is_state(item[0])))
        tags = {v: v.tag.symupdates for v in updates if is_state(v)}
        of_rule = [v for v, tag in tags.items() if tag.parameter is None and tag.call is self.call]
        if len(of_rule) == len(updates):
            return OrderedDict()
        for variable in of_rule:
            updates.move_to_end(variable)
        return closed(updates, self._taken)

    def _refuse_unless_by_element(self, variable, value):
        """Refuse what a rule computes of rows, unless each element is computed of the same element."""
        at_rows = self._at_rows
        if not at_rows:
            return
        sources = at_rows.union(g for p, g in zip(self._params, self._companions, strict=True) if p in at_rows)
        reached = set(sources)
        for node in toposort([value], blockers=sources):
            if reached.isdisjoint(node.inputs):
                continue
            by_element = isinstance(node.op, Elemwise | SpecifyShape) or (
                isinstance(node.op, IfElse) and node.inputs[0] not in reached
            )
            if not by_element:
                self._refuse_rows(self._params, f"what it computes of one element depends on others (by {node.op})")
            reached.update(node.outputs)
        if value in reached and variable not in at_rows:
            self._refuse_rows(self._params, "it computes what is common to all rows of some")

    def _refuse_rows(self, params, reason):
        if of_rows := [self._names[p] for p in params if self._place(p).at_rows]:
            raise only_whole(self.rule, of_rows, reason)
