"""``theano.sandbox.cuda``, ``theano.gpuarray``: what code asks to find out that there is no GPU."""

__all__ = ["cuda_available", "cuda_enabled", "dnn_available", "dnn_present", "pygpu_activated"]

cuda_available = cuda_enabled = pygpu_activated = False


def dnn_available(*args):
    """Whether cuDNN can be used: it cannot."""
    return False


dnn_present = dnn_available
dnn_available.msg = "symupdates.theano runs on the CPU"
