"""Matrices."""

import numpy as np

import oracles
from oracles.common import at, moved
from oracles.sampling import normals


def adafactor(
    p,
    grads,
    learning_rate=0.01,
    beta2_decay=-0.8,
    epsilon1=1e-30,
    epsilon2=1e-3,
    clip_threshold=1.0,
    relative_step=True,
    min_dim_size_to_factor=1,
):
    """Shazeer and Stern (2018), Adafactor, algorithms 4 and 5; of more than two axes, a matrix of the last two each.

    The paper's sums R and C over the n columns and m rows are yielded as means.
    """
    factored = p.ndim > 1 and min(p.shape[-2:]) >= min_dim_size_to_factor
    V = np.zeros_like(p)
    R, C = (np.zeros_like(p).sum(axis=axis, keepdims=True) if factored else None for axis in (-1, -2))
    for t, g in enumerate(grads, start=1):
        eta, exponent, eps1, eps2, d = (
            at(hyper, t - 1) for hyper in (learning_rate, beta2_decay, epsilon1, epsilon2, clip_threshold)
        )
        beta = 1 - float(t) ** exponent
        squares = g**2 + eps1
        if factored:
            R = beta * R + (1 - beta) * squares.sum(axis=-1, keepdims=True)
            C = beta * C + (1 - beta) * squares.sum(axis=-2, keepdims=True)
            V = R * C / R.sum(axis=-2, keepdims=True)
            state = {"r": R[..., 0] / p.shape[-1], "c": C[..., 0, :] / p.shape[-2]}
        else:
            V = beta * V + (1 - beta) * squares
            state = {"v": V}
        U = g / np.sqrt(V)
        U = U / max(1, np.sqrt(np.mean(U**2)) / d)
        rho = min(eta, t**-0.5) if relative_step else eta
        p = p - max(eps2, np.sqrt(np.mean(p**2))) * rho * U
        p = moved(p, (yield {"param": p, **state, "t": t}))


# Amsel et al. (2025), The polar express, algorithm 1: for singular values from 0.001 on, with its safety factor.
POLAR_EXPRESS = [
    [a / 1.01, b / 1.01**3, c / 1.01**5]
    for a, b, c in [
        (8.28721201814563, -23.595886519098837, 17.300387312530933),
        (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
        (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
        (3.3184196573706015, -2.488488024314874, 0.51004894012372),
        (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
        (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
        (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    ]
] + [[1.875, -1.25, 0.375]]
QUINTICS = {"jordan": [[3.4445, -4.7750, 2.0315]], "polar_express": POLAR_EXPRESS}


def muon(
    p,
    grads,
    learning_rate=0.02,
    momentum=0.95,
    weight_decay=0.0,
    epsilon=1e-7,
    nesterov=True,
    ns_steps=5,
    consistent_rms=None,
    others=None,
    coefficients="jordan",
    kernels=False,
):
    """Jordan et al. (2024), Muon, in the form of their code: the momentum is an average.

    The iterations are carried out on the singular values. `others` is a partial of a rule, whose oracle does the rest.
    """
    if kernels and p.ndim > 2:
        units = p.shape[0]
        flat = [g.reshape(units, -1).T for g in grads]
        options = (learning_rate, momentum, weight_decay, epsilon, nesterov, ns_steps, consistent_rms)
        for state in muon(p.reshape(units, -1).T, flat, *options, coefficients=coefficients):
            yield {slot: x.T.reshape(p.shape) for slot, x in state.items()}
        return
    if p.ndim != 2:
        yield from getattr(oracles, others.func.__name__)(p, grads, **others.keywords)
        return
    rows, columns = p.shape
    m = np.zeros_like(p)
    for t, g in enumerate(grads):
        mu, eta = at(momentum, t), at(learning_rate, t)
        m = m + (1 - mu) * (g - m)
        u = g + mu * (m - g) if nesterov else m
        x = newton_schulz(u / (np.linalg.norm(u) + at(epsilon, t)), ns_steps, coefficients)
        factor = max(1, columns / rows) ** 0.5 if consistent_rms is None else consistent_rms * max(p.shape) ** 0.5
        p = (1 - eta * at(weight_decay, t)) * p - eta * factor * x
        p = moved(p, (yield {"param": p, "m": m}))


def newton_schulz(X, steps, coefficients):
    """The iterations of Muon, on the singular values."""
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    quintics = QUINTICS[coefficients] if isinstance(coefficients, str) else coefficients
    for i in range(steps):
        a, b, c = quintics[min(i, len(quintics) - 1)]
        s = a * s + b * s**3 + c * s**5
    return (U * s) @ Vt


def normuon(
    p,
    grads,
    learning_rate=1e-3,
    beta1=0.95,
    beta2=0.95,
    epsilon=1e-8,
    weight_decay=0.0,
    ns_steps=5,
    others=None,
    coefficients="jordan",
):
    """Li et al. (2025), NorMuon, algorithm 1, on W, which is the parameter transposed."""
    if p.ndim != 2:
        yield from getattr(oracles, others.func.__name__)(p, grads, **others.keywords)
        return
    W = p.T
    m, n = W.shape
    M, v = np.zeros_like(W), np.zeros(m)
    for t, G in enumerate(grads):
        eta, b1, b2, eps, lam = (at(a, t) for a in (learning_rate, beta1, beta2, epsilon, weight_decay))
        M = b1 * M + (1 - b1) * G.T
        o = newton_schulz(M / np.linalg.norm(M), ns_steps, coefficients)
        v = b2 * v + (1 - b2) * np.mean(o * o, axis=1)
        O_hat = o / (np.sqrt(v)[:, None] + eps)
        eta_hat = 0.2 * eta * np.sqrt(m * n) / np.linalg.norm(O_hat)
        W = W - eta * lam * W - eta_hat * O_hat
        W = moved(W.T, (yield {"param": W.T, "m": M.T, "v": v})).T


def adamuon(
    p,
    grads,
    learning_rate=1e-3,
    beta=0.95,
    epsilon=1e-8,
    weight_decay=0.0,
    ns_steps=5,
    others=None,
    coefficients="jordan",
):
    """Si, Zhang and Shen (2025), AdaMuon, algorithm 1; the momentum is an average."""
    if p.ndim != 2:
        yield from getattr(oracles, others.func.__name__)(p, grads, **others.keywords)
        return
    M, V = np.zeros_like(p), np.zeros_like(p)
    for t, G in enumerate(grads):
        eta, b, eps, lam = (at(a, t) for a in (learning_rate, beta, epsilon, weight_decay))
        M = b * M + (1 - b) * G
        S = np.sign(M)
        o = newton_schulz(S / np.linalg.norm(S), ns_steps, coefficients)
        V = b * V + (1 - b) * o * o
        O_hat = o / (np.sqrt(V) + eps)
        gamma = 0.2 * np.sqrt(p.size) / np.linalg.norm(O_hat)
        p = p - eta * (gamma * O_hat + lam * p)
        p = moved(p, (yield {"param": p, "m": M, "v": V}))


def unfolded(x, axis):
    """The matrix whose rows are the slices of an array along an axis."""
    return np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)


def folded(matrix, axis, shape):
    """The array of that shape, of whose slices the matrix has the rows."""
    rest = tuple(n for i, n in enumerate(shape) if i != axis)
    return np.moveaxis(matrix.reshape(len(matrix), *rest), 0, axis)


def inverse_root(A, power):
    """A to the power of ``-1 / power``, by Newton's coupled iteration in extended precision.

    Higham (2008), Functions of matrices, algorithm 7.14: X converges to the root while M, which is X to the power times
    A, converges to the identity.
    """
    identity = np.eye(len(A), dtype=np.longdouble)
    A = A.astype(np.longdouble)
    c = np.sqrt(np.sum(A**2)) / power
    X, M = identity * c ** (-1 / np.longdouble(power)), A / c
    for _ in range(200):
        T = ((power + 1) * identity - M) / power
        X, M = X @ T, np.linalg.matrix_power(T, power) @ M
        if np.abs(M - identity).max() < 1e-17:
            return X.astype(float)
    raise ArithmeticError("no convergence")


def shampoo(p, grads, learning_rate=0.1, epsilon=1e-4, every=1, max_size=1024, beta2=None, graft=None):
    """Gupta, Koren and Singer (2018), Shampoo, algorithm 2; for a matrix, algorithm 1.

    With moving averages, and the length of the step of another rule, whose partial `graft` is, as in Anil et al.
    (2020), Scalable second order optimization.

    ε is added to the sums where it is used, so that it can be a schedule; roots are computed at each `every`-th step,
    and for axes longer than `max_size` from the diagonals of the sums.
    """
    shape = p.shape or (1,)
    k = len(shape)
    H = [np.zeros((n, n), p.dtype) for n in shape]
    P = [None] * k
    given = list(grads)
    graft_steps = graft and getattr(oracles, graft.func.__name__)(p, given, **graft.keywords)
    for t, g in enumerate(given):
        eps = at(epsilon, t)
        b, w = (1.0, 1.0) if beta2 is None else (at(beta2, t), 1 - at(beta2, t))
        step = np.reshape(g, shape)
        state = {}
        for i, n in enumerate(shape):
            G = unfolded(np.reshape(g, shape), i)
            H[i] = b * H[i] + w * (G @ G.T)
            if p.shape and n <= max_size:
                if t % every == 0:
                    P[i] = inverse_root(H[i] + eps * np.eye(n), 2 * k)
                state |= {f"H{i}": H[i], f"P{i}": P[i]} if every > 1 else {f"H{i}": H[i]}
            else:
                diagonal = np.diag(H[i])
                P[i] = np.diag((diagonal + eps) ** (-1 / (2 * k)))
                state[f"H{i}"] = diagonal.reshape([n if j == i else 1 for j in range(p.ndim)])
            step = folded(P[i] @ unfolded(step, i), i, shape)
        if graft:
            d = (graft_steps.send(p) if t else next(graft_steps))["param"] - p
            step = step * np.linalg.norm(d) / max(np.linalg.norm(step), np.finfo(float).tiny)
        p = p - at(learning_rate, t) * np.reshape(step, p.shape)
        p = moved(p, (yield {"param": p, **state, "t": t + 1}))


def orthogonal_basis(S):
    """The basis that Gram and Schmidt make of the columns of a matrix, twice over for precision."""
    for _ in range(2):
        basis = []
        for column in S.T:
            for b in basis:
                column = column - (b @ column) * b
            basis.append(column / np.linalg.norm(column))
        S = np.transpose(basis)
    return S


def soap(p, grads, learning_rate=0.003, beta1=0.95, beta2=0.95, epsilon=1e-8, every=10, max_size=1024):
    """Vyas et al. (2024), SOAP, algorithms 3 and 4, with the bias corrections of `adam`.

    As in their program, the first gradient makes the bases only, and the vectors of a basis, with the elements of V
    that belong to them, are put in the order of their Rayleigh quotients before each iteration. The bases are unique up
    to the signs of their vectors, which the steps do not depend on. What is a vector, or has one row or column, or no
    axis that is short enough, gets Adam's steps.
    """
    shape = p.shape
    long = [i for i, n in enumerate(shape) if n > 1]
    axes = [i for i in long if shape[i] <= max_size]
    if len(long) < 2 or not axes:
        yield from oracles.adam(p, grads, learning_rate, beta1, beta2, epsilon)
        return
    M, V = np.zeros_like(p), np.zeros_like(p)
    L = {i: np.zeros((shape[i], shape[i]), p.dtype) for i in axes}
    Q = {}

    def in_basis(x, back=False):
        for i in Q:
            x = folded((Q[i] if back else Q[i].T) @ unfolded(x, i), i, shape)
        return x

    for t, g in enumerate(grads):
        eta, b1, b2, eps = (at(hyper, t) for hyper in (learning_rate, beta1, beta2, epsilon))
        if t > 0:
            M = b1 * M + (1 - b1) * g
            V = b2 * V + (1 - b2) * in_basis(g) ** 2
            N = in_basis(in_basis(M) / (np.sqrt(V) + eps), back=True)
            p = p - eta * (1 - b2**t) ** 0.5 / (1 - b1**t) * N
        for i in axes:
            G = unfolded(g, i)
            L[i] = b2 * L[i] + (1 - b2) * G @ G.T
            if t == 0:
                Q[i] = np.linalg.svd(G)[0]  # eigenvectors of L, that of the largest eigenvalue first
            elif t % every == 0:
                quotients = [q @ L[i] @ q for q in Q[i].T]
                order = sorted(range(len(quotients)), key=lambda j: quotients[j], reverse=True)
                V = np.take(V, order, axis=i)
                Q[i] = orthogonal_basis(L[i] @ Q[i][:, order])
        state = {f"H{i}": L[i] for i in axes} | {f"Q{i}": Q[i] for i in axes}
        p = moved(p, (yield {"param": p, "m": M, "v": V, **state, "t": t + 1}))


def estimated_norm(M):
    """Two steps of the power iteration, from the longest column."""
    size = np.abs(M).max()
    M = M / size
    x = M @ M[:, np.argmax(np.sum(M**2, axis=0))]
    return size * np.linalg.norm(M @ x) / np.linalg.norm(x)


def psgd_kron(
    p,
    grads,
    learning_rate=1e-3,
    beta=0.9,
    preconditioner_rate=0.1,
    damping=1e-9,
    clip_threshold=2.0,
    every=1,
    max_size=1024,
    seed=None,
    stream=0,
    place=None,
):
    """Li (2022), Black box Lie group preconditioners for SGD, the fit on triangular matrices, of a Kronecker product.

    Of scalars, vectors, and axes that are of length one or too long, the factor is diagonal. The noise that damps is
    that of the probe; the norm is the author's cheap bound from below.
    """
    shape = p.shape or (1,)
    diagonal = [len(p.shape) < 2 or not 1 < n <= max_size for n in shape]
    Q = [np.eye(n) for n in shape]
    m = np.zeros_like(p)
    for t, (g, (xi, rng)) in enumerate(zip(grads, normals(p, seed, stream, place), strict=False)):
        eta, b, mu, delta, d = (at(a, t) for a in (learning_rate, beta, preconditioner_rate, damping, clip_threshold))
        if t % every == 0:
            whole = kronecker(Q)
            A = (whole @ np.ravel(g + delta * xi)).reshape(shape)
            B = np.linalg.solve(whole.T, np.ravel(xi)).reshape(shape)
            fitted = []
            for i, q in enumerate(Q):
                S, U = (unfolded(x, i) @ unfolded(x, i).T for x in (A, B))
                if diagonal[i]:
                    S, U = np.diag(np.diag(S)), np.diag(np.diag(U))
                size = np.diag(S + U).max() if diagonal[i] else estimated_norm(S + U)
                fitted.append(q - mu / size * np.triu(S - U) @ q)
            largest = [np.abs(q).max() for q in fitted]
            Q = [q * np.prod(largest) ** (1 / len(Q)) / size for q, size in zip(fitted, largest, strict=True)]
        m = b * m + (1 - b) * g
        whole = kronecker(Q)
        u = (whole.T @ whole @ np.ravel(m) / (1 - b ** (t + 1))).reshape(p.shape)
        p = p - eta * u * min(1, d / np.sqrt(np.mean(u**2)))
        state = {"param": p, "m": m, "rng": rng, "t": t + 1}
        for i, q in enumerate(Q):
            along = [n if j == i else 1 for j, n in enumerate(p.shape)]
            state[f"Q{i}"] = np.diag(q).reshape(along) if diagonal[i] else q
        p = moved(p, (yield state))


def kronecker(matrices):
    product = np.eye(1)
    for matrix in matrices:
        product = np.kron(product, matrix)
    return product
