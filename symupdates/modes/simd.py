"""Loops over elements in C that the compiler vectorises, and that threads share."""

import os

from pytensor.graph.basic import Apply
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.graph.utils import MethodNotDefined
from pytensor.link.c.op import COp
from pytensor.scalar.basic import Composite, get_scalar_type
from pytensor.tensor.elemwise import Elemwise
from pytensor.utils import hash_from_code

from symupdates.modes.threads import checked

FAIL = "symupdates_fail"  # stands in the code of scalar operations that can raise an error
UNUSUAL = {"float16", "complex64", "complex128"}  # of which PyTensor's C has its own ways
POSIX = os.name == "posix"

# A thread is started in 20 to 40 microseconds, in which a loop such as Adam's passes over fifty thousand elements: one
# with fewer than these to do costs more than it saves.
ENOUGH = 2**17


class VectorizedLoops(GraphRewriter):
    """Puts a :class:`VectorizedLoop` in the place of each Elemwise.

    Parameters
    ----------
    threads : int, optional
        How many threads may share the loop over a large array; by default as many as the process may use when it runs.
    """

    def __init__(self, threads=None):
        self.threads = checked(threads)

    def apply(self, fgraph):
        for node in fgraph.toposort():
            if type(node.op) is Elemwise and can_be_vectorized(node):
                loop = VectorizedLoop(node.op, self.threads).make_node(*node.inputs)
                fgraph.replace_all(list(zip(node.outputs, loop.outputs, strict=True)), reason="vectorize loops")


def can_be_vectorized(node):
    """Whether it is a loop over one axis or more, of numbers that C has, and raises no errors of its own."""
    inputs, _, order = scalar_graph(node)
    if is_scalar(node.outputs[0]) or UNUSUAL & {v.type.dtype for n in order for v in (*inputs, *n.inputs, *n.outputs)}:
        return False
    try:
        return FAIL not in scalar_code(node, "")[0]
    except (NotImplementedError, MethodNotDefined):
        return False


class VectorizedLoop(COp):
    """What an Elemwise computes, by C code of another form.

    PyTensor writes the loop into one large function, where gcc does not vectorise it if it has several results, and its
    constants as doubles, so that single precision is computed in double. Here the loop is a function of its own, with
    constants of their own dtype, and broadcast scalars are read once. So it runs over arrays that are contiguous, or
    have contiguous rows, and do not overlap; over others it goes by their strides. Threads share a large array.

    Parameters
    ----------
    elemwise : Elemwise
        What is computed, and what is overwritten.
    threads : int or None
        How many threads may share a large array; None for as many as the process may use when it runs.
    """

    __props__ = ("elemwise", "threads")

    def __init__(self, elemwise, threads):
        self.elemwise, self.threads = elemwise, threads
        self.destroy_map = elemwise.destroy_map

    def make_node(self, *inputs):
        node = self.elemwise.make_node(*inputs)
        return Apply(self, node.inputs, [v.type() for v in node.outputs])

    def __str__(self):
        return f"{type(self).__name__}{{{self.elemwise}}}"

    def prepare_node(self, *args, **kwargs):
        self.elemwise.prepare_node(*args, **kwargs)

    def perform(self, node, inputs, output_storage):
        self.elemwise.perform(node, inputs, output_storage)

    def c_headers(self, **kwargs):
        threads = ["<pthread.h>", "<sched.h>", "<unistd.h>"] if POSIX else []
        return [*self.elemwise.scalar_op.c_headers(**kwargs), "<math.h>", *threads]

    def c_header_dirs(self, **kwargs):
        return self.elemwise.scalar_op.c_header_dirs(**kwargs)

    def c_libraries(self, **kwargs):
        return self.elemwise.scalar_op.c_libraries(**kwargs)

    def c_lib_dirs(self, **kwargs):
        return self.elemwise.scalar_op.c_lib_dirs(**kwargs)

    def c_compile_args(self, **kwargs):
        # A choice between values is vectorised where nobody asks whether comparing them trapped.
        threads = ["-pthread"] if POSIX else []
        return [*self.elemwise.scalar_op.c_compile_args(**kwargs), "-fno-trapping-math", *threads]

    def c_support_code(self, **kwargs):
        return self.elemwise.scalar_op.c_support_code(**kwargs)

    def c_code_cache_version_apply(self, node):
        names = [[f"{letter}{i}" for i in range(len(of))] for letter, of in (("x", node.inputs), ("y", node.outputs))]
        code = [self.c_support_code(), self.c_support_code_apply(node, "loop"), self.c_code(node, "loop", *names, {})]
        return (hash_from_code("".join(code)),)

    def c_support_code_apply(self, node, name):
        operands = Operands(node)
        code, results, support = scalar_code(node, name)
        scalars = {f"x{i}": c_type(node.inputs[i]) for i in operands.scalars}
        arrays = [(f"p{k}", c_type(v), k in operands.written) for k, v in enumerate(operands.arrays)]
        parameters = "".join(f", {c} {x}" for x, c in scalars.items())
        stores = [(*arrays[k][:2], result) for k, result in zip(operands.results, results, strict=True)]

        def body(at):
            """One element: all is read before anything is written."""
            reads = [
                f"const {c_type(node.inputs[i])} x{i} = {at(f'p{k}', c_type(node.inputs[i]))};"
                for i, k in operands.of_input.items()
            ]
            writes = [f"{at(p, c)} = {result};" for p, c, result in stores]
            return "\n".join([*reads, code, *writes])

        return support + TEMPLATE % {
            "name": name,
            "number": len(arrays),
            "axes": node.outputs[0].type.ndim,
            "main": operands.results[0],
            "written": ", ".join(map(str, operands.written)),
            "sizes": ", ".join(f"sizeof({c})" for _, c, _ in arrays),
            "fields": " ".join(f"{c} {x};" for x, c in scalars.items()),
            "parameters": parameters,
            "scalars": "".join(f", job->{x}" for x in scalars),
            "pointers": "".join(f", {c if written else f'const {c}'} *__restrict__ {p}" for p, c, written in arrays),
            "shifted": "".join(f", ({c} *)job->data[{k}] + at" for k, (_, c, _) in enumerate(arrays)),
            "rows": "".join(f", ({c} *)data[{k}]" for k, (_, c, _) in enumerate(arrays)),
            "body": body(lambda p, c: f"{p}[i]"),
            "strided": body(lambda p, c: f"*({c} *){p}"),
            "chars": " ".join(f"char *{p} = data[{k}];" for k, (p, _, _) in enumerate(arrays)),
            "steps": " ".join(f"{p} += steps[{k}];" for k, (p, _, _) in enumerate(arrays)),
            "threads": f"{name}_usable()" if self.threads is None else self.threads,
            "block": 2**14,
            "enough": ENOUGH,
        }

    def c_code(self, node, name, inputs, outputs, sub):
        operands = Operands(node)
        axes = range(node.outputs[0].type.ndim)
        fail = sub.get("fail", "")
        lines = [f"npy_intp shape[{len(axes)}]; {name}_job job;"]
        for axis in axes:
            first, *others = [i for i in operands.of_input if not node.inputs[i].type.broadcastable[axis]] or [None]
            lines.append(f"shape[{axis}] = {1 if first is None else f'PyArray_DIM({inputs[first]}, {axis})'};")
            for i in others:
                lines.append(f"if (PyArray_DIM({inputs[i]}, {axis}) != shape[{axis}]) {{")
                lines.append(f"{name}_differ({first}, shape[{axis}], {i}, PyArray_DIM({inputs[i]}, {axis}), {axis});")
                lines.append(f"{fail} }}")
        for i in operands.scalars:
            lines.append(f"job.x{i} = *({c_type(node.inputs[i])} *)PyArray_DATA({inputs[i]});")
        arrays = [inputs[i] for i in operands.of_input]
        for o, y in enumerate(outputs):
            if o in self.destroy_map:
                x = inputs[self.destroy_map[o][0]]
                lines.append(f"Py_INCREF({x}); Py_XDECREF({y}); {y} = {x};")
            else:
                lines.append(f"if (!{y} || !PyArray_IS_C_CONTIGUOUS({y})")
                lines.append(f"|| !PyArray_CompareLists(PyArray_DIMS({y}), shape, {len(axes)})) {{ Py_XDECREF({y});")
                type_number = node.outputs[o].type.dtype_specs()[2]
                lines.append(f"{y} = (PyArrayObject *)PyArray_EMPTY({len(axes)}, shape, {type_number}, 0);")
                lines.append(f"if (!{y}) {{ {fail} }} }}")
                arrays.append(y)
        broadcast = [v.type.broadcastable for v in operands.arrays]
        for k, x in enumerate(arrays):
            lines.append(f"job.data[{k}] = (char *)PyArray_DATA({x});")
            for axis in axes:
                repeated = broadcast[k][axis] and not node.outputs[0].type.broadcastable[axis]
                lines.append(f"job.strides[{k}][{axis}] = {0 if repeated else f'PyArray_STRIDE({x}, {axis})'};")
        if any(pattern != node.outputs[0].type.broadcastable for pattern in broadcast):
            contiguous = "0"
        else:
            orders = (" && ".join(f"PyArray_IS_{order}_CONTIGUOUS({x})" for x in arrays) for order in "CF")
            contiguous = " || ".join(f"({order})" for order in orders)
        lines.append(f"{name}_run(&job, shape, {contiguous});")
        return "{" + "\n".join(lines) + "}"


class Operands:
    """Which inputs and outputs of a node are what.

    Attributes
    ----------
    scalars : list of int
        The inputs that have one element.
    of_input : dict
        The array of each other input.
    arrays : list
        The inputs and outputs that are arrays of their own.
    results : list of int
        The array that each output is written to.
    written : list of int
        These, in order.
    """

    def __init__(self, node):
        destroyed = node.op.destroy_map
        self.scalars = [i for i, v in enumerate(node.inputs) if is_scalar(v)]
        arrays = [i for i, v in enumerate(node.inputs) if not is_scalar(v)]
        self.of_input = {i: k for k, i in enumerate(arrays)}
        new = [o for o in range(len(node.outputs)) if o not in destroyed]
        self.arrays = [*(node.inputs[i] for i in self.of_input), *(node.outputs[o] for o in new)]
        self.results = [
            self.of_input[destroyed[o][0]] if o in destroyed else len(self.of_input) + new.index(o)
            for o in range(len(node.outputs))
        ]
        self.written = sorted(self.results)


def is_scalar(variable):
    return all(variable.type.broadcastable)


def c_type(variable):
    return variable.type.dtype_specs()[1]


def scalar_graph(node):
    """Inputs, outputs and nodes, in order, of what an Elemwise or a loop of ours does with one element."""
    scalar_op = getattr(node.op, "elemwise", node.op).scalar_op
    if isinstance(scalar_op, Composite):
        return scalar_op.fgraph.inputs, scalar_op.fgraph.outputs, scalar_op.fgraph.toposort()
    one = scalar_op.make_node(*(get_scalar_type(v.type.dtype)() for v in node.inputs))
    return one.inputs, one.outputs, [one]


def scalar_code(node, name):
    """The code for one element, of inputs x0, x1, …; the names of its results; and what has to stand before it."""
    inputs, outputs, order = scalar_graph(node)
    names = {v: f"x{i}" for i, v in enumerate(inputs)}
    lines, support = [], []
    for j, inner in enumerate(order):
        for v in inner.inputs:
            if v not in names:  # a constant: in its own dtype, where PyTensor's is a double
                names[v] = f"(({c_type(v)}){v.type.c_literal(v.data)})"
        for v in inner.outputs:
            names[v] = f"t{len(names)}"
            lines.append(f"{c_type(v)} {names[v]};")
        into, from_ = ([names[v] for v in variables] for variables in (inner.outputs, inner.inputs))
        lines.append(inner.op.c_code(inner, f"{name}_{j}", from_, into, {"fail": FAIL, "id": f"{name}_{j}"}))
        support.append(inner.op.c_support_code_apply(inner, f"{name}_{j}"))
    return "\n".join(lines), [names[v] for v in outputs], "\n".join(support)


TEMPLATE = """
// The NaN in PyTensor's code for maximum and minimum is a double, and would make all of them doubles.
#define nan(text) NAN

static __attribute__((noinline)) void %(name)s_block(npy_intp n%(parameters)s%(pointers)s) {
    for (npy_intp i = 0; i < n; ++i) {
        %(body)s
    }
}

static void %(name)s_strided(npy_intp n%(parameters)s, char **data, const npy_intp *steps) {
    %(chars)s
    for (npy_intp i = 0; i < n; ++i) {
        %(strided)s
        %(steps)s
    }
}

#undef nan

static const npy_intp %(name)s_sizes[] = {%(sizes)s};

struct %(name)s_job {
    char *data[%(number)d];
    npy_intp strides[%(number)d][%(axes)d];
    %(fields)s
};

// The k-th block of contiguous arrays: whoever computes it, by the same instructions.
static void %(name)s_take(const %(name)s_job *job, npy_intp size, npy_intp k) {
    npy_intp at = k * %(block)d;
    %(name)s_block(size - at < %(block)d ? size - at : %(block)d%(scalars)s%(shifted)s);
}

#ifdef _POSIX_THREADS
// Threads are started for one loop: a pool of OpenMP's would make a process that is forked later wait for ever. Each
// takes the next block until there is none, so that nobody waits for a thread that the system has not yet let run.
struct %(name)s_work {
    %(name)s_job job;
    npy_intp size, blocks, next, done, users;
};

static void %(name)s_leave(%(name)s_work *work) {
    if (__atomic_sub_fetch(&work->users, 1, __ATOMIC_ACQ_REL) == 0) free(work);
}

static void %(name)s_share(%(name)s_work *work) {
    npy_intp k;
    while ((k = __atomic_fetch_add(&work->next, 1, __ATOMIC_RELAXED)) < work->blocks) {
        %(name)s_take(&work->job, work->size, k);
        __atomic_fetch_add(&work->done, 1, __ATOMIC_RELEASE);
    }
}

static void *%(name)s_thread(void *work) {
    %(name)s_share((%(name)s_work *)work);
    %(name)s_leave((%(name)s_work *)work);
    return NULL;
}

static npy_intp %(name)s_usable() {
#ifdef CPU_COUNT
    cpu_set_t usable;
    if (sched_getaffinity(0, sizeof(usable), &usable) == 0) return CPU_COUNT(&usable);
#endif
    return sysconf(_SC_NPROCESSORS_ONLN);
}

static bool %(name)s_in_threads(const %(name)s_job *job, npy_intp size, npy_intp blocks) {
    npy_intp threads = size / %(enough)d, most = threads > 1 ? %(threads)s : 1;
    if (threads > most) threads = most;
    if (threads < 2) return false;
    %(name)s_work *work = (%(name)s_work *)malloc(sizeof(%(name)s_work));
    if (!work) return false;
    work->job = *job;
    work->size = size, work->blocks = blocks, work->next = work->done = 0, work->users = threads;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (npy_intp k = 1; k < threads; ++k) {
        pthread_t thread;
        if (pthread_create(&thread, &detached, %(name)s_thread, work)) %(name)s_leave(work);
    }
    pthread_attr_destroy(&detached);
    %(name)s_share(work);
    while (__atomic_load_n(&work->done, __ATOMIC_ACQUIRE) < blocks) sched_yield();
    %(name)s_leave(work);
    return true;
}
#else
static bool %(name)s_in_threads(const %(name)s_job *job, npy_intp size, npy_intp blocks) { return false; }
#endif

static void %(name)s_over_blocks(const %(name)s_job *job, npy_intp size) {
    npy_intp blocks = (size + %(block)d - 1) / %(block)d;
    if (!%(name)s_in_threads(job, size, blocks))
        for (npy_intp k = 0; k < blocks; ++k) %(name)s_take(job, size, k);
}

// Row by row, along the axis of the smallest stride.
static void %(name)s_over_axes(const %(name)s_job *job, const npy_intp *shape, bool apart) {
    int order[%(axes)d];
    npy_intp by_axis[%(axes)d], at[%(axes)d] = {0}, steps[%(number)d];
    char *data[%(number)d];
    for (int a = 0; a < %(axes)d; ++a) {
        npy_intp stride = shape[a] == 1 ? NPY_MAX_INTP : llabs(job->strides[%(main)d][a]);
        int b = a;
        for (; b > 0 && by_axis[order[b - 1]] >= stride; --b) order[b] = order[b - 1];
        order[b] = a;
        by_axis[a] = stride;
    }
    bool dense = apart;
    for (int k = 0; k < %(number)d; ++k) {
        data[k] = job->data[k];
        steps[k] = job->strides[k][order[0]];
        dense = dense && steps[k] == %(name)s_sizes[k];
    }
    for (int a = 0; a < %(axes)d;) {
        if (dense) %(name)s_block(shape[order[0]]%(scalars)s%(rows)s);
        else %(name)s_strided(shape[order[0]]%(scalars)s, data, steps);
        for (a = 1; a < %(axes)d; ++a) {
            int axis = order[a];
            bool further = ++at[a] < shape[axis];
            if (!further) at[a] = 0;
            for (int k = 0; k < %(number)d; ++k)
                data[k] += job->strides[k][axis] * (further ? 1 : 1 - shape[axis]);
            if (further) break;
        }
    }
}

// Whether nothing that is written lies in the memory of another array.
static bool %(name)s_apart(const %(name)s_job *job, const npy_intp *shape) {
    const int written[] = {%(written)s};
    char *low[%(number)d], *high[%(number)d];
    for (int k = 0; k < %(number)d; ++k) {
        low[k] = high[k] = job->data[k];
        for (int a = 0; a < %(axes)d; ++a)
            (job->strides[k][a] < 0 ? low : high)[k] += job->strides[k][a] * (shape[a] - 1);
        high[k] += %(name)s_sizes[k];
    }
    for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); ++i)
        for (int k = 0, w = written[i]; k < %(number)d; ++k)
            if (k != w && low[w] < high[k] && low[k] < high[w]) return false;
    return true;
}

static void %(name)s_run(const %(name)s_job *job, const npy_intp *shape, bool contiguous) {
    npy_intp size = PyArray_MultiplyList(shape, %(axes)d);
    if (size == 0) return;
    bool apart = %(name)s_apart(job, shape);
    if (contiguous && apart) %(name)s_over_blocks(job, size);
    else %(name)s_over_axes(job, shape, apart);
}

static void %(name)s_differ(int i, npy_intp n, int j, npy_intp m, int axis) {
    PyErr_Format(PyExc_ValueError, n == 1 || m == 1
        ? "Runtime broadcasting not allowed. One input had a distinct dimension length of 1, but was not marked as "
          "broadcastable: (input[%%i].shape[%%i] = %%zd, input[%%i].shape[%%i] = %%zd). If broadcasting was intended, "
          "use `specify_broadcastable` on the relevant input."
        : "Input dimension mismatch: (input[%%i].shape[%%i] = %%zd, input[%%i].shape[%%i] = %%zd)",
        i, axis, (Py_ssize_t)n, j, axis, (Py_ssize_t)m);
}
"""
