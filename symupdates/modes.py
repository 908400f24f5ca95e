"""Compilation modes for training, to be given to ``pytensor.function(..., mode=...)``."""

from pytensor.compile.mode import Mode, get_mode
from pytensor.link.jax.linker import JAXLinker

__all__ = ["JAX_DONATED", "DonatingJAXLinker"]


class DonatingJAXLinker(JAXLinker):
    """PyTensor's linker for JAX, with the old values of all that is updated donated.

    XLA then writes the new values into the memory of the old ones, where it would else allocate, and fill, memory for
    all parameters and state at every call.
    """

    def fgraph_convert(self, fgraph, **kwargs):
        converted = super().fgraph_convert(fgraph, **kwargs)
        self.donated = tuple(sorted(set(fgraph.update_mapping.values()) - set(self.scalar_shape_inputs)))
        return converted

    def jit_compile(self, fn):
        import jax  # only when a function is compiled: JAX is optional

        static = self.scalar_shape_inputs
        jitted = jax.jit(fn, static_argnums=static, donate_argnums=self.donated)
        if not static:
            return jitted
        return lambda *args: jitted(*(int(x) if i in static else x for i, x in enumerate(args)))


JAX_DONATED = Mode(DonatingJAXLinker(), get_mode("JAX").provided_optimizer)
"""The mode ``"JAX"`` with donation: the same numbers, and a step at the speed of memory.

The arrays that a step has replaced are gone: values taken by ``get_value(borrow=True)`` before it raise an error when
they are read after. ``get_value()``, checkpoints and averages take copies and are not concerned. Two shared variables
must not hold one JAX array, as after ``b.set_value(a.get_value(borrow=True), borrow=True)``.
"""
