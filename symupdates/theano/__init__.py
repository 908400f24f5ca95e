"""What legacy Theano code imports as Theano.

``import symupdates.theano as theano`` and ``import symupdates.theano.tensor as T`` serve a file that is being ported;
:func:`install` puts the same modules under the name ``theano``, so that code runs as it is, Lasagne's own included, and
``python -m symupdates.theano script.py`` does so for an unmodified script. Names that PyTensor renamed, dropped or
silently changed have Theano's meaning here; all others are PyTensor's.

====================  ============================================================================
module                what is there
====================  ============================================================================
``names``             what became of each name, as data
``modules``           Theano's modules by their paths, and where each name is looked for
``installation``      :func:`install`, :func:`uninstall` and :func:`run`
``parts.compiling``   ``theano``: function, In, Param, shared, scan, clone
``parts.config``      ``theano.config``
``parts.debugging``   ``theano.config.compute_test_value`` and ``theano.gof.op.get_test_value``
``parts.tensor``      ``theano.tensor``
``parts.logarithms``  ``theano.tensor.log``: of probabilities, from their logits
``parts.linalg``      ``theano.tensor.slinalg`` and ``theano.sandbox.linalg``
``parts.nnet``        ``theano.tensor.nnet``: softmax of rows, cross-entropies, activations
``parts.streams``     ``theano.sandbox.rng_mrg`` and ``theano.tensor.shared_randomstreams``
``conv_ops``          convolution and pooling as Ops of PyTensor, in the terms of PyTensor
``parts.conv``        ``theano.tensor.nnet.conv2d``, ``conv3d`` and ``.abstract_conv``
``parts.corr``        ``theano.tensor.nnet.corr`` and ``.corr3d``
``parts.upsampling``  bilinear upsampling, which is in ``theano.tensor.nnet.abstract_conv``
``parts.conv_old``    ``theano.tensor.nnet.conv``, ``.conv3d2d`` and ``theano.tensor.signal.conv``
``parts.pool``        ``theano.tensor.signal.pool`` and ``.downsample``
``parts.neighbours``  ``theano.tensor.nnet.neighbours``: windows of images as rows
``parts.dnn``         ``theano.gpuarray.dnn`` and ``theano.sandbox.cuda.dnn``: what Lasagne asks cuDNN for
``parts.gpu``         ``theano.sandbox.cuda``, ``theano.gpuarray``: that there is none
``parts.compat``      ``theano.compat``
``parts.testing``     ``theano.tests.unittest_tools``
====================  ============================================================================

What is of the GPU can be imported, and raises an error with advice when it is used. PyTensor's classes stay as they are
until :func:`install` gives variables what legacy code expects of them, such as to be true in a condition, ``if mask:``.
"""

from symupdates.theano.installation import install as install
from symupdates.theano.installation import run as run
from symupdates.theano.installation import uninstall as uninstall
from symupdates.theano.modules import MODULES, modules, register

globals().update({path: module for path, module in modules().items() if "." not in path})
register(__name__)
config = MODULES[""].config
__version__ = MODULES["version"].version


def __getattr__(name):
    return getattr(MODULES[""], name)
