"""The linker of JAX_DONATED."""

from pytensor.link.jax.linker import JAXLinker
from pytensor.tensor.math import Prod, Sum


class DonatingJAXLinker(JAXLinker):
    """PyTensor's linker for JAX, with the old values of all that is updated donated, and sums of their own dtype.

    XLA then writes the new values into the memory of the old ones, where it would else allocate, and fill, memory for
    all parameters and state at every call. PyTensor's linker gives a sum the dtype it accumulates in, double for single
    precision, without accumulating in it; all that is computed from the sum, such as the gradients behind a softmax,
    would be of double precision.
    """

    def make_all(self, *args, **kwargs):
        for node in list(self.fgraph.apply_nodes):
            if isinstance(node.op, Sum | Prod) and node.op.acc_dtype != node.outputs[0].dtype:
                in_own_dtype = node.op.clone(acc_dtype=node.outputs[0].dtype)
                self.fgraph.replace(node.outputs[0], in_own_dtype(*node.inputs), reason="accumulate in its own dtype")
        return super().make_all(*args, **kwargs)

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
