"""When iterates are stationary, and how well their average is known: diagnostics of Markov chains, of one chain."""

from __future__ import annotations

import numpy as np


def split_rhat(x):
    r"""The potential scale reduction of the two halves of a chain, as Gelman et al. (2013) have it.

    Parameters
    ----------
    x : array
        Iterates in rows, quantities in columns. If their number is odd, the one in the middle is left out.

    Returns
    -------
    array
        For each column :math:`\hat R`, one where it does not move.
    """
    halves = in_halves(x)
    within, total = variances(halves)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total == 0, 1.0, np.sqrt(total / within))


def effective_size(x):
    r"""The number of independent draws whose mean scatters as much as the mean of a chain: :math:`N/\tau`.

    The autocorrelations in :math:`\tau` are summed as long as those of two lags that follow each other are positive
    and fall, after Geyer (1992), and are those within the halves of the chain and between them, after Vehtari et al.
    (2021).

    Parameters
    ----------
    x : array
        As for :func:`split_rhat`, of at least eight rows.

    Returns
    -------
    array
        For each column the size, the number of rows where it does not move.
    """
    halves = in_halves(x)
    n = halves.shape[1]
    size = 2 * n
    within, total = variances(halves)
    spectrum = np.fft.rfft(halves - halves.mean(axis=1, keepdims=True), 2 * n, axis=1)
    covariance = np.fft.irfft(abs(spectrum) ** 2, axis=1)[:, :n].mean(axis=0) / n
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = 1 - (within - covariance) / total
    rho[0] = 1
    rho = rho[: n - n % 2]
    pairs = rho[0::2] + rho[1::2]
    counted = np.logical_and.accumulate(pairs > 0)
    counted[-1] = False
    last = np.take_along_axis(rho[0::2], counted.sum(axis=0)[None], axis=0)[0]
    tau = 2 * np.sum(np.minimum.accumulate(pairs) * counted, axis=0) - 1 + np.maximum(last, 0)
    return np.where(total == 0, size, size / np.maximum(tau, 1 / np.log10(size)))


def in_halves(x):
    n = len(x) // 2
    return np.stack([x[:n], x[-n:]])


def variances(halves):
    """The variance within the halves, and that of all, by the difference of their means too."""
    n = halves.shape[1]
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    return within, within * (n - 1) / n + halves.mean(axis=1).var(axis=0, ddof=1)


class Iterates:
    """A chain of vectors, of which the means of blocks of equal length are kept: up to so many, then of twice that.

    The mean of the blocks is that of all vectors in them, and so is its error, however long the chain.
    """

    def __init__(self, size, most=128):
        self.means, self.kept, self.length = np.empty((most, size)), 0, 1
        self.sum, self.summed = np.zeros(size), 0

    def add(self, x):
        self.sum += x
        self.summed += 1
        if self.summed < self.length:
            return
        if self.kept == len(self.means):
            self.kept //= 2
            self.means[: self.kept] = (self.means[0::2] + self.means[1::2]) / 2
            self.length *= 2
            return  # the block is half of one that is now twice as long
        self.means[self.kept] = self.sum / self.length
        self.kept += 1
        self.sum[:], self.summed = 0, 0

    def __len__(self):
        return self.kept * self.length + self.summed

    @property
    def blocks(self):
        return self.means[: self.kept]
