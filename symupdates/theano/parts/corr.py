"""``theano.tensor.nnet.corr`` and ``.corr3d``: correlations, by the Ops that computed them on Theano's CPU."""

from symupdates.theano.parts.conv import AbstractConv, AbstractConv_gradInputs, AbstractConv_gradWeights

__all__ = [
    "BaseCorr3dMM",
    "BaseCorrMM",
    "Corr3dMM",
    "Corr3dMM_gradInputs",
    "Corr3dMM_gradWeights",
    "CorrMM",
    "CorrMM_gradInputs",
    "CorrMM_gradWeights",
]


class BaseCorrMM(AbstractConv):
    """What all have in common: the parameters, which are those of :class:`AbstractConv`; `openmp` is ignored."""

    def __init__(
        self, border_mode="valid", subsample=None, filter_dilation=None, num_groups=1, unshared=False, openmp=None
    ):
        super().__init__(None, None, border_mode, subsample, False, filter_dilation, num_groups, unshared)


class CorrMM(BaseCorrMM):
    """A correlation of a batch of images with filters."""


class CorrMM_gradWeights(BaseCorrMM, AbstractConv_gradWeights):
    """Its derivative by the filters, whose size need not be given where there are no strides and no half border."""

    def __call__(self, img, topgrad, shape=None):
        if shape is None:
            if self.op.border == "half" or max(self.op.strides) > 1:
                raise ValueError(
                    f"{type(self).__name__}: give the shape of the filters, with strides or a half border."
                )
            padding = self.op.padding((1,) * self.convdim)
            sizes = list(zip(img.shape[2:], topgrad.shape[2:], padding, strict=False))
            if self.op.border == "full":
                sizes = [top - n for n, top, _ in sizes]
            else:
                sizes = [n + before + after - top for n, top, (before, after) in sizes]
            shape = [n // d + 1 for n, d in zip(sizes, self.op.dilation, strict=True)]
        return super().__call__(img, topgrad, shape)


class CorrMM_gradInputs(BaseCorrMM, AbstractConv_gradInputs):
    """Its derivative by the images, whose size need not be given where there are no strides."""

    def __call__(self, kern, topgrad, shape=None):
        if shape is None:
            if max(self.op.strides) > 1:
                raise ValueError(f"{type(self).__name__}: give the shape of the images, with strides.")
            padding = self.op.padding([kern.shape[2 + i] for i in range(self.convdim)])
            sizes = zip(kern.shape[2:], topgrad.shape[2:], self.op.dilation, padding, strict=False)
            shape = [top + (k - 1) * d - before - after for k, top, d, (before, after) in sizes]
        return super().__call__(kern, topgrad, shape)


class BaseCorr3dMM(BaseCorrMM):
    """The same with three axes of places, and Theano's other order of the last parameters."""

    convdim = 3

    def __init__(self, border_mode="valid", subsample=None, filter_dilation=None, openmp=None, num_groups=1):
        super().__init__(border_mode, subsample, filter_dilation, num_groups)


class Corr3dMM(BaseCorr3dMM):
    """A correlation with three axes of places."""


class Corr3dMM_gradWeights(BaseCorr3dMM, CorrMM_gradWeights):
    __doc__ = CorrMM_gradWeights.__doc__


class Corr3dMM_gradInputs(BaseCorr3dMM, CorrMM_gradInputs):
    __doc__ = CorrMM_gradInputs.__doc__
