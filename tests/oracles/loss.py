"""Rules that take the loss.

They are given a loss a step in the place of gradients, and all parameters as one vector, whose state is one vector a
slot: ``rule(x, losses, **hyper)``. A loss has its value, gradient and Hessian in closed form.
"""

import numpy as np

from oracles.common import at, moved

SHAPES = ((3, 2), (2,), ())  # of the parameters
SIZES = tuple(int(np.prod(shape)) for shape in SHAPES)


class Loss:
    """The sum of log cosh(Ax - b), and c x⁴ / 4 - d x² / 2 of each coordinate x: with wells, and with saddles."""

    c = 0.5 + 0.25 * np.arange(9) % 1
    d = np.where(np.arange(9) % 3 == 1, 0.75, 0.0)

    def __init__(self, A, b):
        self.A, self.b = A, b

    def value(self, x):
        z = self.A @ x - self.b
        return np.sum(np.logaddexp(z, -z) - np.log(2)) + np.sum(self.c * x**4 / 4 - self.d * x**2 / 2)

    def gradient(self, x):
        return self.A.T @ np.tanh(self.A @ x - self.b) + self.c * x**3 - self.d * x

    def hessian(self, x):
        sech2 = 1 - np.tanh(self.A @ x - self.b) ** 2
        return self.A.T @ (sech2[:, None] * self.A) + np.diag(3 * self.c * x**2 - self.d)


def losses(steps, seed=0, same=False):
    """A sequence of losses: those of minibatches, or one and the same."""
    rng = np.random.default_rng(seed)
    A, b = rng.normal(0, 0.5, (6, 9)), rng.normal(0, 1, 6)
    for _ in range(steps):
        yield Loss(A, b) if same else Loss(A + rng.normal(0, 0.25, A.shape), b + rng.normal(0, 0.5, b.shape))


# --- Gradients elsewhere ----------------------------------------------------------------------------------------------


def sam(x, losses, rho=0.05, learning_rate=1e-3, momentum=0.0):
    """Foret et al. (2021), Sharpness-aware minimization, algorithm 1 with p = 2, on gradient descent with momentum."""
    v = np.zeros_like(x)
    for t, f in enumerate(losses):
        g = f.gradient(x)
        epsilon = at(rho, t) * g / np.sqrt(np.sum(g**2))
        v = momentum * v - learning_rate * f.gradient(x + epsilon)
        x = x + v
        x = moved(x, (yield {"param": x, "velocity": v}))


def asam(x, losses, rho=0.5, eta=0.01, learning_rate=1e-3, momentum=0.0):
    """Kwon et al. (2021), ASAM, algorithm 1 with p = 2 and T + ηI for T, as a matrix, on the same."""
    v = np.zeros_like(x)
    for t, f in enumerate(losses):
        T = np.diag(np.abs(x) + at(eta, t))
        g = f.gradient(x)
        epsilon = at(rho, t) * T @ T @ g / np.linalg.norm(T @ g)
        v = momentum * v - learning_rate * f.gradient(x + epsilon)
        x = x + v
        x = moved(x, (yield {"param": x, "velocity": v}))


def nag(x, losses, learning_rate=1e-3, momentum=0.9):
    """Sutskever et al. (2013), On the importance of initialization and momentum, equations 3 and 4."""
    v = np.zeros_like(x)
    for t, f in enumerate(losses):
        v = at(momentum, t) * v - at(learning_rate, t) * f.gradient(x + at(momentum, t) * v)
        x = x + v
        x = moved(x, (yield {"param": x, "velocity": v}))


def extragradient(x, losses, learning_rate=1e-3):
    """Korpelevich (1976), The extragradient method for finding saddle points, without a projection."""
    for t, f in enumerate(losses):
        x_bar = x - at(learning_rate, t) * f.gradient(x)
        x = x - at(learning_rate, t) * f.gradient(x_bar)
        x = moved(x, (yield {"param": x}))


# --- Values only ------------------------------------------------------------------------------------------------------


def spsa(x, losses, perturbation=0.01, seed=None, learning_rate=1e-3, momentum=0.0):
    """Spall (1998), Implementation of the simultaneous perturbation algorithm, steps 2 to 4; then momentum."""
    v = np.zeros_like(x)
    for t, f in enumerate(losses):
        c, delta = at(perturbation, t), signs(seed, t)
        y_plus, y_minus = f.value(x + c * delta), f.value(x - c * delta)
        g_hat = (y_plus - y_minus) / (2 * c) * np.array([1 / delta_i for delta_i in delta])
        v = momentum * v - learning_rate * g_hat
        x = x + v
        x = moved(x, (yield {"param": x, "velocity": v, "rng": rng_after(seed, t + 1)}))


def mezo(x, losses, perturbation=1e-3, seed=None, learning_rate=1e-3, momentum=0.0):
    """Malladi et al. (2023), MeZO, algorithm 1: the parameters are moved there, to the other side and back."""
    v = np.zeros_like(x)
    for t, f in enumerate(losses):
        epsilon, z = at(perturbation, t), normals(seed, t)
        loss_plus = f.value(x := x + epsilon * z)
        loss_minus = f.value(x := x - 2 * epsilon * z)
        x = x + epsilon * z
        projected_grad = (loss_plus - loss_minus) / (2 * epsilon)
        v = momentum * v - learning_rate * projected_grad * z
        x = x + v
        x = moved(x, (yield {"param": x, "velocity": v, "rng": rng_after(seed, t + 1)}))


# --- Curvature --------------------------------------------------------------------------------------------------------


def barzilai_borwein(x, losses, learning_rate=1e-3, short=False):
    """Barzilai and Borwein (1988), Two-point step size gradient methods, equations 5 and 6."""
    last_x = last_g = None
    for t, f in enumerate(losses):
        g = f.gradient(x)
        alpha = at(learning_rate, t)
        if last_x is not None:
            dx, dg = x - last_x, g - last_g
            curvature = np.vdot(dx, dg)
            if curvature > 0:
                alpha = curvature / np.vdot(dg, dg) if short else np.vdot(dx, dx) / curvature
        last_x, last_g = x, g
        x = x - alpha * g
        x = moved(x, (yield {"param": x, "last_p": last_x, "last_g": last_g}))


def threefry(key, counter):
    """Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3: Threefry-2x32-20, in Python's integers."""
    ks = [*key, 0x1BD11BDA ^ key[0] ^ key[1]]
    x = [(counter[0] + ks[0]) % 2**32, (counter[1] + ks[1]) % 2**32]
    for d in range(20):
        r = (13, 15, 26, 6, 17, 29, 16, 24)[d % 8]
        x[0] = (x[0] + x[1]) % 2**32
        x[1] = ((x[1] << r | x[1] >> (32 - r)) % 2**32) ^ x[0]
        if d % 4 == 3:
            s = d // 4 + 1
            x = [(x[0] + ks[s % 3]) % 2**32, (x[1] + ks[(s + 1) % 3] + s) % 2**32]
    return x


def random_words(seed, t, sizes=SIZES):
    """What :mod:`symupdates.random` documents: the words of each element of all parameters at update t, from 0."""
    k0, k1 = (int(word) for word in np.random.SeedSequence(seed).generate_state(2))
    words = [threefry((k0, (k1 + i) % 2**32), (t, n)) for i, size in enumerate(sizes) for n in range(size)]
    return np.array(words, dtype="float64").T


def signs(seed, t, sizes=SIZES):
    return np.where(random_words(seed, t, sizes)[0] < 2**31, 1.0, -1.0)


def normals(seed, t, sizes=SIZES):
    u, v = (random_words(seed, t, sizes) + 0.5) / 2**32
    return np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)


def adahessian(x, losses, learning_rate=0.15, beta1=0.9, beta2=0.999, epsilon=1e-4, hessian_power=1.0, seed=None):
    """Yao et al. (2021), AdaHessian, algorithm 1, without spatial averaging; ε, not in the paper, as in its program."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t, f in enumerate(losses, start=1):
        eta, b1, b2, eps, k = (at(a, t - 1) for a in (learning_rate, beta1, beta2, epsilon, hessian_power))
        z = signs(seed, t - 1)
        m = b1 * m + (1 - b1) * f.gradient(x)
        v = b2 * v + (1 - b2) * (z * (f.hessian(x) @ z)) ** 2
        D_bar = np.sqrt(v / (1 - b2**t))
        x = x - eta * m / (1 - b1**t) / (D_bar**k + eps)
        x = moved(x, (yield {"param": x, "m": m, "v": v, "t": t, "rng": rng_after(seed, t)}))


def rng_after(seed, t):
    return np.array([*np.random.SeedSequence(seed).generate_state(2), t])


def sophia_h(x, losses, learning_rate=1e-3, beta1=0.96, beta2=0.99, gamma=0.01, epsilon=1e-12, every=10, seed=None):
    """Liu et al. (2024), Sophia, algorithm 3 with the estimator of algorithm 1, of random signs; no weight decay."""
    m, h = np.zeros_like(x), np.zeros_like(x)
    for t, f in enumerate(losses, start=1):
        eta, b1, b2, gamma_t, eps = (at(a, t - 1) for a in (learning_rate, beta1, beta2, gamma, epsilon))
        m = b1 * m + (1 - b1) * f.gradient(x)
        if t % every == 1 % every:
            u = signs(seed, t - 1)
            h = b2 * h + (1 - b2) * u * (f.hessian(x) @ u)
        x = x - eta * np.clip(m / np.maximum(gamma_t * h, eps), -1, 1)
        x = moved(x, (yield {"param": x, "m": m, "h": h, "t": t, "rng": rng_after(seed, t)}))


def sophia_g(x, losses, learning_rate=1e-3, beta1=0.96, beta2=0.99, gamma=0.05, epsilon=1e-12, every=10, seed=None):
    """Liu et al. (2024), Sophia, algorithm 3 with the estimator of algorithm 2; no weight decay.

    The model has two classes, with the logits z and -z for each example of z = Ax - b: the gradient of an example's
    loss is (p - [the first is drawn]) times that of 2z, where p is the probability of the first.
    """
    m, h = np.zeros_like(x), np.zeros_like(x)
    for t, f in enumerate(losses, start=1):
        eta, b1, b2, gamma_t, eps = (at(a, t - 1) for a in (learning_rate, beta1, beta2, gamma, epsilon))
        m = b1 * m + (1 - b1) * f.gradient(x)
        if t % every == 1 % every:
            z = f.A @ x - f.b
            B = len(z)
            u = (random_words(seed, t - 1, [2 * B])[0] + 0.5) / 2**32
            first, second = np.reshape(-np.log(-np.log1p(-u)), (B, 2)).T
            p = 1 / (1 + np.exp(-2 * z))
            g_hat = sum(2 * (p[i] - (z[i] + first[i] > -z[i] + second[i])) * f.A[i] for i in range(B)) / B
            h = b2 * h + (1 - b2) * B * g_hat**2
        x = x - eta * np.clip(m / np.maximum(gamma_t * h, eps), -1, 1)
        x = moved(x, (yield {"param": x, "m": m, "h": h, "t": t, "rng": rng_after(seed, t)}))


def esgd(x, losses, learning_rate=0.01, damping=1e-4, every=20, seed=None):
    """Dauphin, de Vries and Bengio (2015), Equilibrated adaptive learning rates, algorithm 1, with D now and then."""
    D, i = np.zeros_like(x), 0
    for t, f in enumerate(losses):
        g = f.gradient(x)
        if t % every == 0:
            D = D + (f.hessian(x) @ normals(seed, t)) ** 2
            i += 1
        x = x - at(learning_rate, t) * g / (np.sqrt(D / i) + at(damping, t))
        x = moved(x, (yield {"param": x, "d": D, "t": t + 1, "rng": rng_after(seed, t + 1)}))


def ivon(
    x,
    losses,
    learning_rate=0.1,
    effective_sample_size=1.0,
    beta1=0.9,
    beta2=0.99999,
    weight_decay=1e-4,
    clip_radius=np.inf,
    initial_hessian=1.0,
    samples=1,
    seed=None,
):
    """Shen et al. (2024), Variational learning is effective, algorithm 1, with several samples and clipped steps."""
    g, h = np.zeros_like(x), np.full_like(x, initial_hessian)
    for t, f in enumerate(losses, start=1):
        eta, size, b1, b2, delta, radius = (
            at(a, t - 1) for a in (learning_rate, effective_sample_size, beta1, beta2, weight_decay, clip_radius)
        )
        variance = 1 / (size * (h + delta))
        xi = normals(seed, t - 1, SIZES * samples).reshape(samples, -1)
        thetas = x + xi * np.sqrt(variance)
        gradients = np.array([f.gradient(theta) for theta in thetas])
        g_hat, h_hat = np.mean(gradients, axis=0), np.mean(gradients * (thetas - x) / variance, axis=0)
        g = b1 * g + (1 - b1) * g_hat
        h = b2 * h + (1 - b2) * h_hat + (1 - b2) ** 2 / 2 * (h - h_hat) ** 2 / (h + delta)
        step = (g / (1 - b1**t) + delta * x) / (h + delta)
        x = x - eta * (initial_hessian + delta) * np.clip(step, -radius, radius)
        x = moved(x, (yield {"param": x, "m": g, "h": h, "t": t, "rng": rng_after(seed, t)}))


# --- The loss over the gradient ---------------------------------------------------------------------------------------


def momo(x, losses, learning_rate=1.0, beta=0.9, minimum=0.0):
    """Schaipp et al. (2024), MoMo, algorithm 1."""
    for t, f in enumerate(losses):
        b, alpha = at(beta, t), at(learning_rate, t)
        g, value = f.gradient(x), f.value(x)
        if t == 0:
            f_bar, d, gamma = value, g, g @ x
        else:
            f_bar = (1 - b) * value + b * f_bar
            gamma = (1 - b) * (g @ x) + b * gamma
            d = (1 - b) * g + b * d
        h = f_bar + d @ x - gamma
        x = x - min(alpha, max(h - at(minimum, t), 0) / (d @ d)) * d
        x = moved(x, (yield {"param": x, "d": d, "loss": f_bar, "gamma": gamma, "t": t + 1}))


def momo_adam(x, losses, learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-8, minimum=0.0):
    """Schaipp et al. (2024), MoMo, algorithm 2, with the preconditioner as a matrix."""
    f_bar, gamma, d, v = 0.0, 0.0, np.zeros_like(x), np.zeros_like(x)
    for t, f in enumerate(losses, start=1):
        alpha, b1, b2, eps, least = (at(a, t - 1) for a in (learning_rate, beta1, beta2, epsilon, minimum))
        g = f.gradient(x)
        d = (1 - b1) * g + b1 * d
        v = b2 * v + (1 - b2) * g * g
        D = np.diag(eps + np.sqrt(v / (1 - b2**t)))
        f_bar = (1 - b1) * f.value(x) + b1 * f_bar
        gamma = (1 - b1) * (g @ x) + b1 * gamma
        h = f_bar + d @ x - gamma
        u = np.linalg.solve(D, d)
        x = x - min(alpha / (1 - b1**t), max(h - (1 - b1**t) * least, 0) / (d @ u)) * u
        x = moved(x, (yield {"param": x, "d": d, "v": v, "loss": f_bar, "gamma": gamma, "t": t}))


# --- Quasi-Newton -----------------------------------------------------------------------------------------------------


def inverse_hessian(pairs, n):
    """Nocedal and Wright (2006), Numerical optimization, equations 7.19 and 7.20, as a matrix."""
    H = np.eye(n)
    if pairs:
        s, y = pairs[-1]
        H = H * (s @ y) / (y @ y)
    for s, y in pairs:
        V = np.eye(n) - np.outer(y, s) / (y @ s)
        H = V.T @ H @ V + np.outer(s, s) / (y @ s)
    return H


def cubic_minimum(lo, hi):
    """Equation 3.59, between the ends (a, φ, φ'); not within a tenth of the bracket from either."""
    (a0, f0, g0), (a1, f1, g1) = lo, hi
    d1 = g0 + g1 - 3 * (f0 - f1) / (a0 - a1)
    radicand = d1**2 - g0 * g1
    d2 = np.sign(a1 - a0) * np.sqrt(max(radicand, 0))
    a = a1 - (a1 - a0) * (g1 + d2 - d1) / (g1 - g0 + 2 * d2)
    near, far = sorted((a0 + 0.1 * (a1 - a0), a0 + 0.9 * (a1 - a0)))
    return min(max(a, near), far)


def wolfe_search(phi, slope, a, most=np.inf):
    """Algorithm 3.5, which goes on as 3.6: yields trials, and ends at the strong Wolfe conditions.

    It is sent φ and φ' at the trial, c1 and c2. It yields the trial, and the ends of the bracket, which are the same
    while there is none. No trial is larger than `most`, where it ends if φ still falls.
    """
    lo = hi = (0.0, phi, slope)
    while True:
        phi_a, slope_a, c1, c2 = yield a, lo, hi
        if phi_a > phi + c1 * a * slope or phi_a >= lo[1]:
            hi = (a, phi_a, slope_a)
        elif abs(slope_a) <= -c2 * slope or (a >= most and slope_a <= 0):
            return
        elif hi[0] == lo[0]:
            hi = lo if slope_a >= 0 else (a, phi_a, slope_a)
            lo = (a, phi_a, slope_a)
        else:
            if slope_a * (hi[0] - lo[0]) >= 0:
                hi = lo
            lo = (a, phi_a, slope_a)
        a = min(4 * a, most) if hi[0] == lo[0] else cubic_minimum(lo, hi)


def lbfgs(x, losses, learning_rate=1.0, c1=1e-4, c2=0.9, memory=10, max_trials=20):
    """Nocedal and Wright (2006), algorithm 7.5 with these; a search does not take as many trials as would end it."""
    pairs, position, trials = [], x, 0
    g = d = search = None
    for t, f in enumerate(losses):
        g_x = f.gradient(x)
        if t:
            trials += 1
            assert trials < max_trials
            try:
                a, lo, hi = search.send((f.value(x), g_x @ d, at(c1, t), at(c2, t)))
            except StopIteration:
                pairs = [*pairs, (x - position, g_x - g)][-memory:]
                trials = 0
        if trials == 0:
            position, g = x, g_x
            d = -inverse_hessian(pairs, len(x)) @ g
            a = at(learning_rate, t) * (1 if pairs else min(1, 1 / np.linalg.norm(g)))
            phi, slope = f.value(x), g @ d
            search = wolfe_search(phi, slope, a)
            a, lo, hi = next(search)
        x = position + a * d
        rows = np.zeros((2, memory, len(x)))
        if pairs:
            rows[:, -len(pairs) :] = np.moveaxis(np.array(pairs), 1, 0)
        state = {"s": rows[0], "y": rows[1], "x": position, "g": g, "d": d, "trials": trials, "evaluations": t + 1}
        x = moved(x, (yield {"param": x, "search": np.array([a, phi, slope, *lo, *hi]), **state}))


def nonlinear_cg(x, losses, learning_rate=1.0, c1=1e-4, c2=0.4, method="hestenes_stiefel", max_trials=20):
    """Nocedal and Wright (2006), algorithm 5.4, with β by equation 5.45, 5.46 or 5.49; the first trial by 3.60."""
    g = d = phi = search = None
    position, trials = x, 0
    for t, f in enumerate(losses):
        g_x = f.gradient(x)
        arrived = t == 0
        if t:
            trials += 1
            assert trials < max_trials
            try:
                a, lo, hi = search.send((f.value(x), g_x @ d, at(c1, t), at(c2, t)))
            except StopIteration:
                arrived, trials = True, 0
        if arrived:
            first = min(1, 1 / np.linalg.norm(g_x))
            if t:
                y = g_x - g
                beta = {
                    "polak_ribiere": max(g_x @ y / (g @ g), 0),
                    "hestenes_stiefel": g_x @ y / (y @ d),
                    "dai_yuan": g_x @ g_x / (y @ d),
                }[method]
                assert g_x @ (beta * d - g_x) < 0
                d = beta * d - g_x
                first = 2 * (f.value(x) - phi) / (g_x @ d)
            else:
                d = -g_x
            position, g = x, g_x
            a, phi, slope = at(learning_rate, t) * first, f.value(x), g @ d
            search = wolfe_search(phi, slope, a)
            a, lo, hi = next(search)
        x = position + a * d
        state = {"x": position, "g": g, "d": d, "trials": trials, "evaluations": t + 1}
        x = moved(x, (yield {"param": x, "search": np.array([a, phi, slope, *lo, *hi]), **state}))


# --- Linear systems in the curvature ----------------------------------------------------------------------------------


def best_of_krylov(A, b, dimension):
    """What conjugate gradients find, by what it is: the minimum of xᵀAx/2 - bᵀx over the span of b, Ab, A²b, ..."""
    Q = np.zeros((len(b), 0))
    v = b
    for _ in range(dimension):
        for _ in range(2):  # Gram and Schmidt, twice is enough
            v = v - Q @ (Q.T @ v)
        Q = np.column_stack([Q, v / np.linalg.norm(v)])
        v = A @ Q[:, -1]
    return Q @ np.linalg.solve(Q.T @ A @ Q, Q.T @ b)


def gauss_newton(x, losses, learning_rate=1.0, damping=1e-3, iterations=10):
    """Schraudolph (2002), Fast curvature matrix-vector products, section 3: J = A, and the Hessian of log cosh."""
    for t, f in enumerate(losses):
        H_z = np.diag(1 / np.cosh(f.A @ x - f.b) ** 2)
        G = f.A.T @ H_z @ f.A + at(damping, t) * np.eye(len(x))
        x = x - at(learning_rate, t) * best_of_krylov(G, f.gradient(x), iterations)
        x = moved(x, (yield {"param": x}))


def levenberg_marquardt(x, losses, damping=1e-3, iterations=10):
    """Madsen, Nielsen and Tingleff (2004), Methods for non-linear least squares problems, algorithm 3.16."""
    mu, nu = 1.0, 2.0
    for t, f in enumerate(losses):
        G = f.A.T @ np.diag(1 / np.cosh(f.A @ x - f.b) ** 2) @ f.A
        g = f.gradient(x)
        h = -best_of_krylov(G + at(damping, t) * mu * np.eye(len(x)), g, iterations)
        gain = (f.value(x) - f.value(x + h)) / -(g @ h + h @ G @ h / 2)
        if gain > 0:
            x, mu, nu = x + h, mu * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0
        else:
            mu, nu = mu * nu, 2 * nu
        x = moved(x, (yield {"param": x, "mu": mu, "nu": nu}))


def natural_gradient(x, losses, learning_rate=1.0, damping=1e-3, iterations=10):
    """Amari (1998), Natural gradient works efficiently, for coins with the log odds Ax - b: of variance p(1 - p)."""
    for t, f in enumerate(losses):
        p = 1 / (1 + np.exp(f.b - f.A @ x))
        F = sum(pi * (1 - pi) * np.outer(a, a) for pi, a in zip(p, f.A, strict=True))
        x = x - at(learning_rate, t) * best_of_krylov(F + at(damping, t) * np.eye(len(x)), f.gradient(x), iterations)
        x = moved(x, (yield {"param": x}))
